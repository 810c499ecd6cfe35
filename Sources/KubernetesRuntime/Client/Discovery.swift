package import KubernetesCore

/// Where the objects of a kind with a scale subresource are served.
package struct ScalableResource: Hashable, Sendable {
  /// Group, version and plural name.
  package var resource: GroupVersionResource
  /// The kind, such as `Deployment`.
  package var kind: String
  /// Whether the objects live in a namespace.
  package var isNamespaced: Bool
  /// The `group/version` of the scale, such as `autoscaling/v1`.
  package var scaleAPIVersion: String
}

/// Why a target's kind can't be scaled, in words for the person who named it.
package enum DiscoveryFailure: Error, Hashable, Sendable, CustomStringConvertible {
  /// The text isn't `version` or `group/version`.
  case malformedAPIVersion(String)
  /// The server doesn't serve the group and version, or the server behind it is down.
  case groupUnavailable(apiVersion: String, reason: String)
  /// The group and version have no such kind; `near` names those that could have been meant.
  case unknownKind(apiVersion: String, kind: String, near: [String])
  /// The kind exists and has no scale subresource.
  case noScale(apiVersion: String, kind: String)

  package var description: String {
    switch self {
    case .malformedAPIVersion(let text):
      "\"\(text)\" is no apiVersion; write a version such as v1 or a group and version such as apps/v1."
    case .groupUnavailable(let apiVersion, let reason):
      "The API \(apiVersion) is not available: \(reason)"
    case .unknownKind(let apiVersion, let kind, let near):
      near.isEmpty
        ? "\(apiVersion) has no kind \(kind); check the spelling, and that its definition (CRD) is installed."
        : "\(apiVersion) has no kind \(kind); did you mean \(near.joined(separator: " or "))?"
    case .noScale(let apiVersion, let kind):
      "\(kind) in \(apiVersion) has no scale subresource; for a custom resource add subresources.scale to its CRD."
    }
  }
}

/// Finds out where kinds are served, and remembers it.
///
/// What was found is kept for good. What wasn't found is looked up again, at most once per `missInterval` and group
/// version, so that a CRD installed later is seen and a misspelt one doesn't cost a request per reconcile.
package actor Discovery {
  private struct Entry {
    var result: Result<APIResourceList, DiscoveryFailure>
    var readAt: MonotonicTime
  }

  private let client: APIClient
  private let missInterval: Duration
  private let maximumEntries: Int
  private var cache: [String: Entry] = [:]

  /// Makes a discovery over `client`.
  package init(client: APIClient, missInterval: Duration = .seconds(30), maximumEntries: Int = 256) {
    self.client = client
    self.missInterval = missInterval
    self.maximumEntries = maximumEntries
  }

  /// Finds the resource for a target's `apiVersion` and `kind`; throws ``DiscoveryFailure``, or `KubernetesError` when
  /// the server couldn't be asked.
  package func scalableResource(apiVersion: String, kind: String) async throws -> ScalableResource {
    let found = try await resource(apiVersion: apiVersion, kind: kind)
    let isScale = { (resource: APIResourceList.Resource) in resource.name == "\(found.resource.resource)/scale" }
    var list = try await resources(of: apiVersion, mayBeOlderThanMissInterval: true)
    if !list.resources.contains(where: isScale) {
      list = try await resources(of: apiVersion, mayBeOlderThanMissInterval: false)
    }
    guard let scale = list.resources.first(where: isScale) else {
      throw DiscoveryFailure.noScale(apiVersion: apiVersion, kind: kind)
    }
    let version = scale.version ?? ""
    let group = scale.group ?? ""
    return ScalableResource(
      resource: found.resource, kind: kind, isNamespaced: found.isNamespaced,
      scaleAPIVersion: version.isEmpty ? "autoscaling/v1" : group.isEmpty ? version : "\(group)/\(version)")
  }

  /// Finds the resource of any kind, with or without scale.
  package func resource(
    apiVersion: String, kind: String
  ) async throws -> (resource: GroupVersionResource, isNamespaced: Bool) {
    var list = try await resources(of: apiVersion, mayBeOlderThanMissInterval: true)
    if list.resource(kind: kind) == nil {
      list = try await resources(of: apiVersion, mayBeOlderThanMissInterval: false)
    }
    guard let found = list.resource(kind: kind) else {
      throw DiscoveryFailure.unknownKind(
        apiVersion: apiVersion, kind: kind, near: Self.nearMatches(of: kind, in: list.resources))
    }
    let (group, version) = try Self.split(apiVersion)
    return (GroupVersionResource(group: group, version: version, resource: found.name), found.namespaced)
  }

  /// Forgets everything, as after a change of cluster.
  package func invalidate() { cache = [:] }

  private func resources(
    of apiVersion: String, mayBeOlderThanMissInterval: Bool
  ) async throws -> APIResourceList {
    let now = client.time.monotonicNow
    if let entry = cache[apiVersion] {
      let isFresh = now - entry.readAt < missInterval
      switch entry.result {
      case .success(let list) where mayBeOlderThanMissInterval || isFresh: return list
      case .failure(let failure) where isFresh: throw failure
      default: break
      }
    }
    let (group, version) = try Self.split(apiVersion)
    let path = group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"
    let result: Result<APIResourceList, DiscoveryFailure>
    do {
      let request = APIRequest(path: path, headers: [APIRequest.HeaderField("Accept", "application/json")])
      result = .success(try await client.send(request, as: APIResourceList.self))
    } catch let error as KubernetesError where error.code == .notFound {
      result = .failure(
        .groupUnavailable(
          apiVersion: apiVersion,
          reason: "the server doesn't serve it; check the spelling, and that its definition (CRD) is installed."))
    } catch let error as KubernetesError where error.code == .serverFailure {
      result = .failure(.groupUnavailable(apiVersion: apiVersion, reason: error.message))
    }
    if cache.count >= maximumEntries, cache[apiVersion] == nil { cache = [:] }
    cache[apiVersion] = Entry(result: result, readAt: now)
    return try result.get()
  }

  private static func split(_ apiVersion: String) throws -> (group: String, version: String) {
    let parts = apiVersion.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard (1...2).contains(parts.count),
      parts.allSatisfy({ part in
        !part.isEmpty && !part.hasPrefix(".")
          && part.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x2E
          }
      })
    else { throw DiscoveryFailure.malformedAPIVersion(String(apiVersion.prefix(128))) }
    return parts.count == 1 ? ("", parts[0]) : (parts[0], parts[1])
  }

  /// The kinds that differ from `kind` in case, number or up to two letters; at most three, the nearest first.
  private static func nearMatches(of kind: String, in resources: [APIResourceList.Resource]) -> [String] {
    let wanted = kind.lowercased()
    var distances: [String: Int] = [:]
    for resource in resources where !resource.name.contains("/") {
      let names = [resource.kind.lowercased(), resource.name, resource.singularName]
      guard let least = names.map({ editDistance($0, wanted) }).min(), least <= 2 else { continue }
      distances[resource.kind] = min(least, distances[resource.kind] ?? least)
    }
    return distances.sorted { ($0.value, $0.key) < ($1.value, $1.key) }.prefix(3).map(\.key)
  }

  /// The Levenshtein distance of two short texts, byte by byte.
  private static func editDistance(_ one: String, _ other: String) -> Int {
    let (one, other) = (Array(one.utf8.prefix(64)), Array(other.utf8.prefix(64)))
    var row = Array(0...other.count)
    for (i, left) in one.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, right) in other.enumerated() {
        let substituted = diagonal + (left == right ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[other.count]
  }
}
