package import KubernetesCore

/// What a container used.
package struct MeasuredUsage: Hashable, Sendable {
  /// CPU, in billionths of a core.
  package var nanocores: Int64
  /// Memory (the working set), in bytes.
  package var memoryBytes: Int64

  /// States a usage.
  package init(nanocores: Int64, memoryBytes: Int64) {
    self.nanocores = nanocores
    self.memoryBytes = memoryBytes
  }

  var json: JSONValue { ["cpu": .string("\(nanocores)n"), "memory": .string("\(memoryBytes / 1024)Ki")] }
}

/// What a pod used, as `metrics.k8s.io` tells it.
package struct MeasuredPod: Hashable, Sendable {
  /// The pod's namespace.
  package var namespace: String
  /// The pod's name.
  package var name: String
  /// The end of the time that was measured.
  package var timestamp: Timestamp
  /// The length of that time.
  package var window: Duration
  /// The containers by name.
  package var containers: [String: MeasuredUsage]

  /// States a pod's usage.
  package init(
    namespace: String, name: String, timestamp: Timestamp, window: Duration, containers: [String: MeasuredUsage]
  ) {
    self.namespace = namespace
    self.name = name
    self.timestamp = timestamp
    self.window = window
    self.containers = containers
  }

  /// The document without its type and labels.
  package var json: JSONValue {
    [
      "metadata": ["name": .string(name), "namespace": .string(namespace)], "timestamp": .string(timestamp.rfc3339),
      "window": .string(measuredWindow(window)),
      "containers": .array(
        containers.sorted { $0.key < $1.key }.map { ["name": .string($0.key), "usage": $0.value.json] }),
    ]
  }
}

/// What a node used.
package struct MeasuredNode: Hashable, Sendable {
  /// The node's name.
  package var name: String
  /// The end of the time that was measured.
  package var timestamp: Timestamp
  /// The length of that time.
  package var window: Duration
  /// What all of it used.
  package var usage: MeasuredUsage

  /// States a node's usage.
  package init(name: String, timestamp: Timestamp, window: Duration, usage: MeasuredUsage) {
    self.name = name
    self.timestamp = timestamp
    self.window = window
    self.usage = usage
  }

  /// The document without its type and labels.
  package var json: JSONValue {
    [
      "metadata": ["name": .string(name)], "timestamp": .string(timestamp.rfc3339),
      "window": .string(measuredWindow(window)), "usage": usage.json,
    ]
  }
}

/// One series of a metric from outside, as `external.metrics.k8s.io` tells it.
package struct MeasuredExternal: Hashable, Sendable {
  /// What the series is about, such as `queue: reviewers`.
  package var labels: [String: String]
  /// The value, in thousandths.
  package var milliValue: Int64

  /// States a value.
  package init(labels: [String: String], milliValue: Int64) {
    self.labels = labels
    self.milliValue = milliValue
  }
}

/// A duration as Go writes it, to the millisecond.
private func measuredWindow(_ window: Duration) -> String {
  let milliseconds = max(window.nanosecondsClamped, 0) / 1_000_000
  let rest = milliseconds % 1_000
  if rest == 0 { return "\(milliseconds / 1_000)s" }
  var digits = String(rest)
  digits = String(repeating: "0", count: 3 - digits.count) + digits
  while digits.hasSuffix("0") { digits.removeLast() }
  return "\(milliseconds / 1_000).\(digits)s"
}
