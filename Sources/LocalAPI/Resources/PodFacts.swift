package import KubernetesCore

/// What controllers, ranks and tables ask about a pod's document.
package enum PodFacts {
  package static func phase(_ pod: JSONValue) -> String { pod[path: ["status", "phase"]]?.stringValue ?? "" }

  package static func isDeleting(_ pod: JSONValue) -> Bool { pod[path: ["metadata", "deletionTimestamp"]] != nil }

  /// Whether a controller counts the pod: neither finished nor about to go.
  package static func isActive(_ pod: JSONValue) -> Bool {
    !isDeleting(pod) && phase(pod) != "Succeeded" && phase(pod) != "Failed"
  }

  /// The node that the pod is bound to; empty for none.
  package static func node(_ pod: JSONValue) -> String { pod[path: ["spec", "nodeName"]]?.stringValue ?? "" }

  package static func isReady(_ pod: JSONValue) -> Bool {
    TableColumns.condition("Ready", of: pod)?["status"]?.stringValue == "True"
  }

  /// Since when the pod is ready; nil when it isn't.
  package static func readyTime(_ pod: JSONValue) -> Timestamp? {
    guard isReady(pod), let text = TableColumns.condition("Ready", of: pod)?["lastTransitionTime"]?.stringValue else {
      return nil
    }
    return try? Timestamp(rfc3339: text)
  }

  package static func creationTime(_ object: JSONValue) -> Timestamp? {
    object[path: ["metadata", "creationTimestamp"]]?.stringValue.flatMap { try? Timestamp(rfc3339: $0) }
  }

  /// When the pod counts as available, ready for `minReadySeconds`; nil while it isn't ready.
  package static func availableTime(_ pod: JSONValue, minReadySeconds: Int64) -> Timestamp? {
    guard isReady(pod) else { return nil }
    if minReadySeconds <= 0 { return Timestamp(nanosecondsSinceEpoch: .min) }
    return readyTime(pod).map { $0 + .seconds(minReadySeconds) }
  }

  static func containerStatuses(_ pod: JSONValue) -> [JSONValue] {
    pod[path: ["status", "containerStatuses"]]?.arrayValue ?? []
  }

  /// The statuses of init containers that go on beside the others.
  static func sidecarStatuses(_ pod: JSONValue) -> [JSONValue] {
    let inits = pod[path: ["spec", "initContainers"]]?.arrayValue ?? []
    let sidecars = inits.filter { $0["restartPolicy"] == "Always" }.compactMap { $0["name"] }
    return (pod[path: ["status", "initContainerStatuses"]]?.arrayValue ?? []).filter { status in
      status["name"].map(sidecars.contains) ?? false
    }
  }

  /// All restarts of the containers that go on.
  static func restarts(_ pod: JSONValue) -> Int64 {
    (containerStatuses(pod) + sidecarStatuses(pod)).reduce(0) { $0 + ($1["restartCount"]?.intValue ?? 0) }
  }

  /// The pod's state in the word that `kubectl get pods` shows.
  static func statusText(_ pod: JSONValue) -> String {
    var text = pod[path: ["status", "reason"]]?.stringValue ?? phase(pod)
    if let initText = initText(pod) { text = initText } else { text = runningText(pod, otherwise: text) }
    guard isDeleting(pod) else { return text }
    return pod[path: ["status", "reason"]] == "NodeLost" ? "Unknown" : "Terminating"
  }

  /// What holds the pod back before its containers start; nil when nothing does.
  private static func initText(_ pod: JSONValue) -> String? {
    let inits = pod[path: ["status", "initContainerStatuses"]]?.arrayValue ?? []
    let sidecars = Set(sidecarStatuses(pod).compactMap { $0["name"] })
    let count = pod[path: ["spec", "initContainers"]]?.arrayValue?.count ?? inits.count
    for (index, status) in inits.enumerated() {
      let terminated = status[path: ["state", "terminated"]]
      if terminated?["exitCode"] == 0 { continue }
      if let name = status["name"], sidecars.contains(name), status["started"] == true { continue }
      let reason = (terminated ?? status[path: ["state", "waiting"]])?["reason"]?.stringValue ?? ""
      if !reason.isEmpty, reason != "PodInitializing" { return "Init:\(reason)" }
      if let code = terminated?["exitCode"]?.intValue { return "Init:ExitCode:\(code)" }
      return "Init:\(index)/\(count)"
    }
    return nil
  }

  private static func runningText(_ pod: JSONValue, otherwise: String) -> String {
    var text = otherwise
    var hasRunning = false
    for status in containerStatuses(pod).reversed() {
      if let reason = status[path: ["state", "waiting", "reason"]]?.stringValue, !reason.isEmpty {
        text = reason
      } else if let terminated = status[path: ["state", "terminated"]] {
        let reason = terminated["reason"]?.stringValue ?? ""
        text = reason.isEmpty ? "ExitCode:\(terminated["exitCode"]?.intValue ?? 0)" : reason
      } else if status["ready"] == true, status[path: ["state", "running"]] != nil {
        hasRunning = true
      }
    }
    if text == "Completed", hasRunning { text = isReady(pod) ? "Running" : "NotReady" }
    return text
  }
}
