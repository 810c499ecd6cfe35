package import KubernetesCore

/// A pod as the API server has it, and what the node reads from it.
package struct NodePod: WatchedObject, Decodable {
  package static let resource = GroupVersionResource(group: "", version: "v1", resource: "pods")

  /// What to run.
  package let manifest: PodManifest
  package let resourceVersion: String
  /// The status as it was last seen.
  package let status: JSONValue
  /// How long the pod gets to end, once its deletion was asked for.
  package let deletionGrace: Duration?

  package var key: ObjectKey { manifest.key }
  package var uid: String { manifest.uid }

  package init(from decoder: any Decoder) throws {
    let json = try JSONValue(from: decoder)
    guard let pod = NodePod(json: json) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "a pod has no name or uid"))
    }
    self = pod
  }

  /// Reads a pod; nil when it has no name or identity.
  package init?(json: JSONValue) {
    guard let manifest = PodManifest(json: json) else { return nil }
    self.manifest = manifest
    resourceVersion = json.text("metadata", "resourceVersion") ?? ""
    status = json["status"] ?? [:]
    let grace = json[path: ["metadata", "deletionGracePeriodSeconds"]]?.intValue
    deletionGrace =
      json.text("metadata", "deletionTimestamp") == nil
      ? nil : grace.map { .seconds(max(0, $0)) } ?? manifest.gracePeriod
  }

  /// Whether the pod has ended, well or not.
  var isOver: Bool { status["phase"]?.stringValue == "Succeeded" || status["phase"]?.stringValue == "Failed" }

  /// What an earlier life of the node reported of the containers.
  var inherited: [String: InheritedContainer] {
    var found: [String: InheritedContainer] = [:]
    for container in status.list("initContainerStatuses") + status.list("containerStatuses") {
      guard let name = container.text("name") else { continue }
      let end = ContainerTermination(json: container[path: ["state", "terminated"]])
      let last = ContainerTermination(json: container[path: ["lastState", "terminated"]])
      let isRunning = container[path: ["state", "running"]] != nil
      found[name] = InheritedContainer(
        restartCount: Int(container["restartCount"]?.intValue ?? 0), hadStarted: isRunning || end != nil || last != nil,
        termination: isRunning ? nil : end ?? last)
    }
    return found
  }
}
