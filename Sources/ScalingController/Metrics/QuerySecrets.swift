package import KubernetesCore
package import KubernetesRuntime
import Synchronization

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Reads the Secrets that queries name, keeping each for a minute.
///
/// The controller needs the verb `get` on those Secrets; docs/prometheus.md shows a Role that allows no more.
package final class QuerySecrets: Sendable {
  private struct Entry {
    var data: [String: [UInt8]]
    var readAt: MonotonicTime
  }

  private struct SecretObject: Decodable {
    var data: [String: String]?
  }

  /// How long a Secret is trusted without being read again.
  private static let lifetime = Duration.seconds(60)

  private let client: APIClient
  private let entries = Mutex<[ObjectKey: Entry]>([:])

  /// Makes a reader.
  package init(client: APIClient) { self.client = client }

  /// The bytes under `key` of a Secret.
  package func value(_ key: String, of secret: ObjectKey) async throws -> [UInt8] {
    let data = try await data(of: secret)
    guard let value = data[key] else {
      let keys = data.keys.sorted().joined(separator: ", ")
      throw KubernetesError(
        .misconfigured, "Secret \(secret) has no key \"\(key)\"; its keys are \(keys.isEmpty ? "none" : keys)")
    }
    return value
  }

  /// The text under `key` of a Secret, without white space around it (a newline at the end is a common mistake).
  package func text(_ key: String, of secret: ObjectKey) async throws -> String {
    let bytes = try await value(key, of: secret)
    guard var text = String(validating: bytes, as: UTF8.self).map({ $0[...] }) else {
      throw KubernetesError(.misconfigured, "key \"\(key)\" of Secret \(secret) is not text")
    }
    while text.last?.isWhitespace == true { text = text.dropLast() }
    while text.first?.isWhitespace == true { text = text.dropFirst() }
    guard !text.contains(where: \.isNewline) else {
      throw KubernetesError(.misconfigured, "key \"\(key)\" of Secret \(secret) has several lines")
    }
    return String(text)
  }

  /// Forgets a Secret: what it holds was refused.
  package func forget(_ secret: ObjectKey) { entries.withLock { $0[secret] = nil } }

  private func data(of secret: ObjectKey) async throws -> [String: [UInt8]] {
    let now = client.time.monotonicNow
    if let entry = entries.withLock({ $0[secret] }), now - entry.readAt < Self.lifetime { return entry.data }
    let path =
      "/api/v1/namespaces/\(try APIRequest.segment(secret.namespace))/secrets/\(try APIRequest.segment(secret.name))"
    let object: SecretObject
    do {
      object = try await client.send(APIRequest(path: path, timeout: metricsTimeout), as: SecretObject.self)
    } catch let error as KubernetesError where error.code == .forbidden {
      throw KubernetesError(
        .misconfigured,
        "Secret \(secret) may not be read: \(error.message) Allow the controller to get it by a Role in that namespace."
      )
    }
    let data = (object.data ?? [:]).compactMapValues { Data(base64Encoded: $0).map { [UInt8]($0) } }
    entries.withLock { entries in
      entries = entries.filter { now - $0.value.readAt < Self.lifetime }
      entries[secret] = Entry(data: data, readAt: now)
    }
    return data
  }
}
