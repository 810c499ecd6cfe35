import KubernetesCore
import KubernetesRuntime

/// Applies objects to a cluster as `kubectl apply --server-side` does.
struct Applier: Sendable {
  private let client: APIClient
  private let discovery: Discovery
  private let fieldManager: String

  init(client: APIClient, fieldManager: String) {
    self.client = client
    discovery = Discovery(client: client)
    self.fieldManager = fieldManager
  }

  /// Applies an object and gives what it is called, such as `Deployment default/reviewers`.
  @discardableResult
  func apply(_ object: JSONValue) async throws -> String {
    guard let version = object["apiVersion"]?.stringValue, let kind = object["kind"]?.stringValue,
      let name = object["metadata"]?["name"]?.stringValue, !name.isEmpty
    else { throw LocalModeError("an object needs apiVersion, kind and metadata.name") }
    let (resource, isNamespaced) = try await discovery.resource(apiVersion: version, kind: kind)
    let namespace = object["metadata"]?["namespace"]?.stringValue ?? "default"
    let folder = isNamespaced ? "\(resource.basePath)/namespaces/\(namespace)" : resource.basePath
    _ = try await client.raw(
      APIRequest(
        method: .patch, path: "\(folder)/\(resource.resource)/\(name)",
        query: [.init("fieldManager", fieldManager), .init("force", "true")],
        headers: [.init("Content-Type", "application/apply-patch+yaml"), .init("Accept", "application/json")],
        body: object.text, priority: .write))
    return isNamespaced ? "\(kind) \(namespace)/\(name)" : "\(kind) \(name)"
  }
}

/// Why local mode can't start or go on.
struct LocalModeError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
