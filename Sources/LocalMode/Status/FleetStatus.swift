import KubernetesCore

/// What a SwarmAutoscaler's status says of one fleet, for people who watch it.
struct FleetStatus: Hashable, Sendable {
  /// NAMESPACE/NAME.
  var name: String
  /// Workers that the target counts now.
  var current: Int64
  /// Workers that were decided.
  var desired: Int64
  /// The bounds of the spec, as they stand in the status.
  var bounds: ClosedRange<Int64>?
  /// What held the count, by the status' own word; nil: nothing did.
  var limitedBy: String?
  /// The reading of each metric, such as `backlog: 24/2, API: 22%/85-95%`.
  var targets: String?

  /// The status of an object; nil when it has none yet.
  init?(_ object: JSONValue) {
    guard let metadata = object["metadata"], let name = metadata["name"]?.stringValue, let status = object["status"]
    else { return nil }
    self.name = "\(metadata["namespace"]?.stringValue ?? "default")/\(name)"
    current = status["currentReplicas"]?.intValue ?? 0
    desired = status["desiredReplicas"]?.intValue ?? current
    if let least = status["minReplicas"]?.intValue, let most = status["maxReplicas"]?.intValue, least <= most {
      bounds = least...most
    }
    limitedBy = status["limitedBy"]?.stringValue
    targets = status["targets"]?.stringValue
  }

  /// The status in a few words: how many workers, how many are to be, what holds them.
  var line: String {
    let reason = limitedBy.map { ", limited by \($0)" } ?? ""
    return current == desired ? "\(current) workers\(reason)" : "\(current) workers, \(desired) decided\(reason)"
  }
}

/// What an APIBudget's status says, for people who watch it.
struct BudgetStatus: Hashable, Sendable {
  /// NAMESPACE/NAME.
  var name: String
  /// The use of each dimension, such as `requests 15%, input 0%, output 10%`.
  var summary: String
  /// Requests that wait for a grant.
  var waiting: Int64
  /// The wait that 95 of 100 requests stay below, in milliseconds.
  var waitP95: Int64?
  /// Answers 429 since the coordinator began, of every kind.
  var rejections: Int64

  /// The status of an object; nil when it has none yet.
  init?(_ object: JSONValue) {
    guard let metadata = object["metadata"], let name = metadata["name"]?.stringValue, let status = object["status"],
      let summary = status["summary"]?.stringValue
    else { return nil }
    self.name = "\(metadata["namespace"]?.stringValue ?? "default")/\(name)"
    self.summary = summary
    waitP95 = status["queueWaitP95Milliseconds"]?.intValue
    waiting =
      (status["dimensions"]?.arrayValue ?? [])
      .first { $0["name"]?.stringValue == "RequestsPerMinute" }?["waiting"]?.stringValue.flatMap { Int64($0) } ?? 0
    let kinds = status["rejections"]
    rejections = ["rate", "ramp", "spend"].reduce(0) { $0 + (kinds?[$1]?.intValue ?? 0) }
  }
}
