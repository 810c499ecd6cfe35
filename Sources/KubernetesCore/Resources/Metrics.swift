/// One value of a custom metric, for one object (`custom.metrics.k8s.io` v1beta1 and v1beta2).
package struct MetricValue: Hashable, Sendable, Codable {
  /// The object that the metric describes.
  package var describedObject: ObjectReference
  /// The metric's name.
  package var metricName: String
  /// The selector of the metric's series; v1beta2 only carries it in `metric`, v1beta1 in `selector`.
  package var selector: LabelSelector?
  /// When it was measured.
  package var timestamp: Timestamp?
  /// The length of the measuring window; nil for a momentary value.
  package var windowSeconds: Int64?
  /// The value.
  package var value: Quantity

  private enum CodingKeys: String, CodingKey {
    case describedObject, metricName, metric, selector, timestamp, windowSeconds, value
    case window
  }
  private enum MetricKeys: String, CodingKey { case name, selector }

  /// Makes a value.
  package init(
    describedObject: ObjectReference, metricName: String, selector: LabelSelector? = nil, timestamp: Timestamp? = nil,
    windowSeconds: Int64? = nil, value: Quantity
  ) {
    self.describedObject = describedObject
    self.metricName = metricName
    self.selector = selector
    self.timestamp = timestamp
    self.windowSeconds = windowSeconds
    self.value = value
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    describedObject = try container.decode(.describedObject, default: ObjectReference())
    if container.contains(.metric) {
      let metric = try container.nestedContainer(keyedBy: MetricKeys.self, forKey: .metric)
      metricName = try metric.decode(.name, default: "")
      selector = try metric.decodeOptional(.selector)
    } else {
      metricName = try container.decode(.metricName, default: "")
      selector = try container.decodeOptional(.selector)
    }
    timestamp = try container.decodeTimestamp(.timestamp)
    // v1beta1's Go field WindowSeconds is called "window" in JSON.
    windowSeconds =
      try container.decodeIfPresent(Int64.self, forKey: .windowSeconds)
      ?? container.decodeIfPresent(Int64.self, forKey: .window)
    value = try container.decode(Quantity.self, forKey: .value)
  }

  /// Writes the form of v1beta2.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(describedObject, forKey: .describedObject)
    var metric = container.nestedContainer(keyedBy: MetricKeys.self, forKey: .metric)
    try metric.encode(metricName, forKey: .name)
    try metric.encodeIfPresent(selector, forKey: .selector)
    try container.encodeIfPresent(timestamp, forKey: .timestamp)
    try container.encodeIfPresent(windowSeconds, forKey: .windowSeconds)
    try container.encode(value, forKey: .value)
  }
}

/// A list of custom metric values.
package typealias MetricValueList = ObjectList<MetricValue>

/// One value of an external metric (`external.metrics.k8s.io/v1beta1`).
package struct ExternalMetricValue: Hashable, Sendable, Codable {
  /// The metric's name.
  package var metricName: String
  /// The labels of the series.
  package var metricLabels: [String: String]
  /// When it was measured.
  package var timestamp: Timestamp?
  /// The length of the measuring window; nil for a momentary value.
  package var windowSeconds: Int64?
  /// The value.
  package var value: Quantity

  private enum CodingKeys: String, CodingKey {
    case metricName, metricLabels, timestamp, value
    case windowSeconds = "window"
  }

  /// Makes a value.
  package init(
    metricName: String, metricLabels: [String: String] = [:], timestamp: Timestamp? = nil, windowSeconds: Int64? = nil,
    value: Quantity
  ) {
    self.metricName = metricName
    self.metricLabels = metricLabels
    self.timestamp = timestamp
    self.windowSeconds = windowSeconds
    self.value = value
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    metricName = try container.decode(.metricName, default: "")
    metricLabels = try container.decode(.metricLabels, default: [:])
    timestamp = try container.decodeTimestamp(.timestamp)
    windowSeconds = try container.decodeOptional(.windowSeconds)
    value = try container.decode(Quantity.self, forKey: .value)
  }
}

/// A list of external metric values.
package typealias ExternalMetricValueList = ObjectList<ExternalMetricValue>

/// Durations as Go writes them in `metav1.Duration`, such as `30s`, `1m30.5s` or `100ms`.
package enum GoDuration {
  /// Reads a duration; nil for anything else. Fractions finer than a nanosecond are cut off.
  package static func parse(_ text: String) -> Duration? {
    var rest = text[...]
    let isNegative = rest.hasPrefix("-")
    if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
    if rest == "0" { return .zero }
    guard !rest.isEmpty else { return nil }
    var total: Int128 = 0
    while !rest.isEmpty {
      let whole = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(whole.count)
      var fraction = Substring()
      if rest.hasPrefix(".") {
        fraction = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
        rest = rest.dropFirst(fraction.count + 1)
      }
      let unit = rest.prefix { !($0.isASCII && $0.isNumber) && $0 != "." }
      rest = rest.dropFirst(unit.count)
      guard let nanoseconds = units[String(unit)], whole.count + fraction.count > 0, whole.count <= 18 else {
        return nil
      }
      total += (Int128(whole) ?? 0) * nanoseconds
      var scale = nanoseconds
      for digit in fraction {
        scale /= 10
        total += Int128(digit.wholeNumberValue ?? 0) * scale
      }
      guard total <= Int128(Int64.max) else { return nil }
    }
    return .nanoseconds(Int64(isNegative ? -total : total))
  }

  /// Writes a duration as Go does for whole milliseconds: hours, minutes, seconds with a fraction.
  package static func text(_ duration: Duration) -> String {
    let nanoseconds = duration.nanosecondsClamped
    let magnitude = nanoseconds.magnitude
    let sign = nanoseconds < 0 ? "-" : ""
    let (seconds, rest) = magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
    var fraction = ""
    if rest > 0 {
      let digits = String(rest)
      fraction = "." + String(repeating: "0", count: 9 - digits.count) + digits
      while fraction.hasSuffix("0") { fraction.removeLast() }
    }
    let hours = seconds / 3_600
    let minutes = seconds / 60 % 60
    let head = hours > 0 ? "\(hours)h\(minutes)m" : minutes > 0 ? "\(minutes)m" : ""
    return "\(sign)\(head)\(seconds % 60)\(fraction)s"
  }

  private static let units: [String: Int128] = [
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
    "h": 3_600_000_000_000,
  ]
}
