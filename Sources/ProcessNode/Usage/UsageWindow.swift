package import KubernetesCore

/// The readings of one container's run within the last moments, and the rate between them. Pure.
package struct UsageWindow: Hashable, Sendable {
  /// One reading.
  package struct Sample: Hashable, Sendable {
    /// When, in monotonic time.
    package var at: MonotonicTime
    /// When, in civil time.
    package var wall: Timestamp
    /// CPU time in nanoseconds since the run's start.
    package var cpuNanoseconds: UInt64
    /// Memory in bytes.
    package var memoryBytes: UInt64

    /// Makes a reading.
    package init(at: MonotonicTime, wall: Timestamp, cpuNanoseconds: UInt64, memoryBytes: UInt64) {
      self.at = at
      self.wall = wall
      self.cpuNanoseconds = cpuNanoseconds
      self.memoryBytes = memoryBytes
    }
  }

  /// The time that a rate is the average of, as of metrics-server's default resolution.
  package static let length = Duration.seconds(15)

  private var samples: [Sample] = []

  /// Makes a window without readings.
  package init() {}

  /// Adds a reading; one with less CPU time than the last belongs to another run and begins anew.
  package mutating func add(_ sample: Sample) {
    if let last = samples.last, sample.cpuNanoseconds < last.cpuNanoseconds || sample.at <= last.at { samples = [] }
    samples.append(sample)
    while samples.count > 2, sample.at - samples[1].at >= Self.length { samples.removeFirst() }
  }

  /// CPU in billionths of a core over the window, memory at its end; nil before the second reading.
  package var usage: (cpuNanocores: Int64, memoryBytes: Int64, window: Duration, timestamp: Timestamp)? {
    guard samples.count > 1, let first = samples.first, let last = samples.last else { return nil }
    let window = last.at - first.at
    let nanoseconds = Int128(max(1, window.nanosecondsClamped))
    let cpu = Int128(last.cpuNanoseconds - first.cpuNanoseconds) * 1_000_000_000 / nanoseconds
    return (Int64(clamping: cpu), Int64(clamping: last.memoryBytes), window, last.wall)
  }
}

/// What the containers of a pod used, as `metrics.k8s.io` tells it.
package struct PodMetricsSample: Hashable, Sendable {
  /// One container's use.
  package struct Container: Hashable, Sendable {
    /// The container's name.
    package var name: String
    /// Billionths of a core, the average over the window.
    package var cpuNanocores: Int64
    /// Bytes at the window's end.
    package var memoryBytes: Int64
  }

  /// The pod.
  package var key: ObjectKey
  /// Its labels, by which metrics are selected.
  package var labels: [String: String]
  /// The window's end.
  package var timestamp: Timestamp
  /// The window's length.
  package var window: Duration
  /// The containers that run, in the order of the manifest.
  package var containers: [Container]

  /// As an object of the API `metrics.k8s.io/v1beta1`.
  package var json: JSONValue {
    [
      "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
      "metadata": [
        "name": .string(key.name), "namespace": .string(key.namespace),
        "labels": .object(labels.mapValues { .string($0) }), "creationTimestamp": .string(timestamp.rfc3339),
      ],
      "timestamp": .string(timestamp.rfc3339), "window": .string(GoDuration.text(.seconds(window.components.seconds))),
      "containers": .array(
        containers.map {
          ["name": .string($0.name), "usage": usageJSON(cpuNanocores: $0.cpuNanocores, memoryBytes: $0.memoryBytes)]
        }),
    ]
  }
}

/// What the machine used, as `metrics.k8s.io` tells it.
package struct NodeMetricsSample: Hashable, Sendable {
  /// The node's name.
  package var name: String
  /// Billionths of a core, the average over the window.
  package var cpuNanocores: Int64
  /// Bytes that aren't available at the window's end.
  package var memoryBytes: Int64
  /// The window's end.
  package var timestamp: Timestamp
  /// The window's length.
  package var window: Duration

  /// As an object of the API `metrics.k8s.io/v1beta1`.
  package var json: JSONValue {
    [
      "apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics",
      "metadata": ["name": .string(name), "creationTimestamp": .string(timestamp.rfc3339)],
      "timestamp": .string(timestamp.rfc3339), "window": .string(GoDuration.text(.seconds(window.components.seconds))),
      "usage": usageJSON(cpuNanocores: cpuNanocores, memoryBytes: memoryBytes),
    ]
  }
}

private func usageJSON(cpuNanocores: Int64, memoryBytes: Int64) -> JSONValue {
  ["cpu": .string("\(cpuNanocores)n"), "memory": .string("\((memoryBytes + 1_023) / 1_024)Ki")]
}

/// Where the use of CPU and memory is to be had: the node's side of `metrics.k8s.io`.
package protocol UsageSource: Sendable {
  /// The pods whose running containers have all been read twice, in the order of their keys; nil: of all namespaces.
  func podMetrics(namespace: String?) -> [PodMetricsSample]
  /// The machine's use; nil before the second reading.
  func nodeMetrics() -> NodeMetricsSample?
}
