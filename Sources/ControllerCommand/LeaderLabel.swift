package import KubernetesCore
package import KubernetesRuntime
package import Logging
import Observability
package import ScalingController

/// Marks the leader's pod by a label, so that a Service can lead to it alone: only the leader knows numbers that others may have.
package struct LeaderLabel: LeaderTask {
  /// The label; its value is the name of the Lease, so that two installations in one namespace keep out of each other's way.
  package static let name = "swarmscale.dev/leader"

  private static let pods = GroupVersionResource(group: "", version: "v1", resource: "pods")
  private static let fieldManager = "swarmscale-controller"

  private let pod: ObjectKey
  private let value: String
  private let client: APIClient
  private let time: any TimeSource
  private let logger: Logger

  /// Makes a task for the controller's own `pod`; `value` is the name of the Lease.
  package init(pod: ObjectKey, value: String, client: APIClient, time: any TimeSource, logger: Logger) {
    self.pod = pod
    self.value = value
    self.client = client
    self.time = time
    self.logger = logger
  }

  package func lead(_ leadership: Leadership) async throws {
    var failures = 0
    while true {
      do {
        try await mark()
        failures = 0
      } catch let error as CancellationError {
        throw error
      } catch {
        try Task.checkCancellation()
        failures += 1
        if failures == 1 {
          logger.warning(
            "the leader's pod can't be labelled, so that no Service leads to it; it is tried again",
            metadata: ["pod": "\(pod)", LogKey.error: "\(error)"])
        }
      }
      // Somebody may have taken it off again, and a leader of before may only just have come back.
      try await time.sleep(for: failures > 0 ? .seconds(5) : .seconds(60))
    }
  }

  /// Takes the label off every other pod, then gives it to this one.
  package func mark() async throws {
    let options = ListOptions(labelSelector: try Selector("\(Self.name)=\(value)"))
    let list = try await client.send(
      .list(Self.pods, namespace: pod.namespace, options), as: JSONValue.self)
    let labelled = (list["items"]?.arrayValue ?? []).compactMap { $0[path: ["metadata", "name"]]?.stringValue }
    for name in labelled where name != pod.name {
      do {
        try await set(.null, on: ObjectKey(namespace: pod.namespace, name: name))
      } catch let error as KubernetesError where error.code == .notFound {}
    }
    if !labelled.contains(pod.name) { try await set(.string(value), on: pod) }
  }

  private func set(_ value: JSONValue, on pod: ObjectKey) async throws {
    let patch: JSONValue = ["metadata": ["labels": [Self.name: value]]]
    _ = try await client.raw(
      .patch(
        Self.pods, pod, nil, .merge(try KubernetesJSON.encode(patch)), WriteOptions(fieldManager: Self.fieldManager)))
  }
}
