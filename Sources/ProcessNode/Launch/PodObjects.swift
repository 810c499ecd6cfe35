import KubernetesCore
import KubernetesRuntime

/// Reads what pods refer to: ConfigMaps, Secrets and tokens.
struct PodObjects: Sendable {
  let client: APIClient

  /// The values of the objects that exist, by reference.
  func values(_ references: [DataReference], namespace: String) async throws -> [DataReference: [String: [UInt8]]] {
    var found: [DataReference: [String: [UInt8]]] = [:]
    for reference in references where found[reference] == nil {
      let resource = GroupVersionResource(
        group: "", version: "v1", resource: reference.isSecret ? "secrets" : "configmaps")
      do {
        let request = try APIRequest.get(resource, ObjectKey(namespace: namespace, name: reference.name))
        let object = try JSONValue(parsing: await client.raw(request).body)
        found[reference] = Self.values(of: object, isSecret: reference.isSecret)
      } catch let error as KubernetesError where error.code == .notFound {
        continue
      }
    }
    return found
  }

  /// The texts of the objects that exist: bytes that aren't UTF-8 are mended, as environments hold text.
  func texts(_ references: [DataReference], namespace: String) async throws -> [DataReference: [String: String]] {
    try await values(references, namespace: namespace).mapValues { values in
      values.mapValues { String(decoding: $0, as: UTF8.self) }
    }
  }

  private static func values(of object: JSONValue, isSecret: Bool) -> [String: [UInt8]] {
    var values: [String: [UInt8]] = [:]
    for (key, value) in object["data"]?.objectValue ?? [:] {
      guard let text = value.stringValue else { continue }
      values[key] = isSecret ? Base64.decode(text) ?? [] : Array(text.utf8)
    }
    for (key, value) in object["binaryData"]?.objectValue ?? [:] where !isSecret {
      values[key] = value.stringValue.flatMap(Base64.decode) ?? []
    }
    return values
  }

  /// A new token of a pod's account, bound to the pod, and when it expires.
  func token(
    for pod: PodManifest, audience: String?, expirationSeconds: Int64
  ) async throws -> (token: String, expires: Timestamp?) {
    var spec: JSONValue = [
      "expirationSeconds": .int(max(600, expirationSeconds)),
      "boundObjectRef": [
        "apiVersion": "v1", "kind": "Pod", "name": .string(pod.key.name), "uid": .string(pod.uid),
      ],
    ]
    spec["audiences"] = audience.map { [.string($0)] } ?? []
    let body: JSONValue = ["apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec]
    let account = ObjectKey(namespace: pod.key.namespace, name: pod.serviceAccountName)
    let accounts = GroupVersionResource(group: "", version: "v1", resource: "serviceaccounts")
    let request = APIRequest(
      method: .post, path: try APIRequest.objectPath(accounts, account) + "/token",
      headers: [.init("Accept", "application/json"), .init("Content-Type", "application/json")], body: body.text)
    let answer = try JSONValue(parsing: await client.raw(request).body)
    guard let token = answer[path: ["status", "token"]]?.stringValue else {
      throw KubernetesError(.malformedResponse, "The answer to a token request for \(account) has no token.")
    }
    let expires = answer[path: ["status", "expirationTimestamp"]]?.stringValue
    return (token, expires.flatMap { try? Timestamp(rfc3339: $0) })
  }
}

/// Base 64 as Kubernetes writes bytes in JSON.
enum Base64 {
  static func decode(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    var (bits, count): (UInt32, Int) = (0, 0)
    for character in text.utf8 where character != UInt8(ascii: "=") && character != UInt8(ascii: "\n") {
      let value: UInt8
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
      case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
      case UInt8(ascii: "+"): value = 62
      case UInt8(ascii: "/"): value = 63
      default: return nil
      }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return bytes
  }
}
