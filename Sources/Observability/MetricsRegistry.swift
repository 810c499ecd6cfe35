import Synchronization

/// The metrics of a process, rendered as Prometheus text (exposition format 0.0.4).
///
/// Every family is declared once with its help text, type and label names, before it is used; a sample for an
/// undeclared family is a programming error and ignored in release builds. Values are kept in a dictionary under one
/// mutex: updates are a few a second per object, scrapes a few a minute.
package final class MetricsRegistry: Sendable {
  /// What a family's numbers mean.
  package enum Kind: String, Sendable {
    /// A number that only rises; its name ends in `_total`.
    case counter
    /// A number that rises and falls.
    case gauge
    /// A distribution over fixed buckets.
    case histogram
  }

  /// The declaration of a family of metrics.
  package struct Family: Sendable {
    /// The name, by Prometheus' conventions: base unit at the end.
    package var name: String
    /// What it means, one sentence.
    package var help: String
    /// What its numbers mean.
    package var kind: Kind
    /// The names of its labels.
    package var labels: [String]
    /// Upper bounds of a histogram's buckets, rising; empty otherwise.
    package var buckets: [Double]

    /// Declares a family.
    package init(_ name: String, _ kind: Kind, labels: [String] = [], buckets: [Double] = [], help: String) {
      self.name = name
      self.help = help
      self.kind = kind
      self.labels = labels
      self.buckets = buckets
    }
  }

  private struct Histogram {
    var counts: [UInt64]
    var sum: Double = 0
    var count: UInt64 = 0
  }

  private enum Sample {
    case number(Double)
    case histogram(Histogram)
  }

  private struct State {
    var samples: [String: [[String]: Sample]] = [:]
    var collectors: [@Sendable (MetricsRegistry) -> Void] = []
  }

  private let families: [Family]
  private let byName: [String: Family]
  private let state = Mutex(State())

  /// Makes a registry of `families`; a later family with the same name is ignored.
  package init(_ families: [Family]) {
    var byName: [String: Family] = [:]
    for family in families where byName[family.name] == nil { byName[family.name] = family }
    self.byName = byName
    self.families = byName.values.sorted { $0.name < $1.name }
  }

  /// Every declared family in the order of their names.
  package var declared: [Family] { families }

  /// Adds a function that refreshes gauges just before each rendering.
  package func onRender(_ collector: @escaping @Sendable (MetricsRegistry) -> Void) {
    state.withLock { $0.collectors.append(collector) }
  }

  /// Raises a counter.
  package func increment(_ name: String, by amount: Double = 1, _ labels: [String] = []) {
    guard isDeclared(name, as: .counter, labels) else { return }
    state.withLock { state in
      if case .number(let old)? = state.samples[name]?[labels] {
        state.samples[name]?[labels] = .number(old + amount)
      } else {
        state.samples[name, default: [:]][labels] = .number(amount)
      }
    }
  }

  /// Sets a gauge, or a counter whose value another part keeps.
  package func set(_ name: String, to value: Double, _ labels: [String] = []) {
    guard isDeclared(name, as: .gauge, labels) || isDeclared(name, as: .counter, labels) else { return }
    state.withLock { $0.samples[name, default: [:]][labels] = .number(value) }
  }

  /// Records one observation of a distribution.
  package func observe(_ name: String, _ value: Double, _ labels: [String] = []) {
    guard isDeclared(name, as: .histogram, labels), let family = byName[name] else { return }
    state.withLock { state in
      var histogram = Histogram(counts: Array(repeating: 0, count: family.buckets.count))
      if case .histogram(let old)? = state.samples[name]?[labels] { histogram = old }
      for (index, bound) in family.buckets.enumerated() where value <= bound { histogram.counts[index] += 1 }
      histogram.sum += value
      histogram.count += 1
      state.samples[name, default: [:]][labels] = .histogram(histogram)
    }
  }

  /// Forgets one sample.
  package func remove(_ name: String, _ labels: [String]) {
    state.withLock { _ = $0.samples[name]?.removeValue(forKey: labels) }
  }

  /// Forgets every sample of `families` whose labels begin with `prefix`: an object that is gone must not haunt the graphs.
  ///
  /// The families are named because objects of two kinds may have one name.
  package func removeSeries(withLabelPrefix prefix: [String], of families: [Family]) {
    state.withLock { state in
      for name in families.lazy.map(\.name) {
        state.samples[name] = state.samples[name]?.filter { !$0.key.starts(with: prefix) }
      }
    }
  }

  /// The value of a counter or gauge, for tests.
  package func value(_ name: String, _ labels: [String] = []) -> Double? {
    state.withLock { state in
      if case .number(let value)? = state.samples[name]?[labels] { value } else { nil }
    }
  }

  private func isDeclared(_ name: String, as kind: Kind, _ labels: [String]) -> Bool {
    guard let family = byName[name] else { return false }
    return family.kind == kind && family.labels.count == labels.count
  }

  /// Renders everything as Prometheus text, families and series in a fixed order.
  package func render() -> String {
    let collectors = state.withLock { $0.collectors }
    for collector in collectors { collector(self) }
    let samples = state.withLock { $0.samples }
    var text = ""
    for family in families {
      guard let series = samples[family.name], !series.isEmpty else { continue }
      text += "# HELP \(family.name) \(Self.escapedHelp(family.help))\n# TYPE \(family.name) \(family.kind.rawValue)\n"
      for (labels, sample) in series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
        text += Self.render(family, labels, sample)
      }
    }
    return text
  }

  private static func render(_ family: Family, _ labels: [String], _ sample: Sample) -> String {
    let pairs = Array(zip(family.labels, labels))
    switch sample {
    case .number(let value):
      return "\(family.name)\(rendered(pairs)) \(rendered(value))\n"
    case .histogram(let histogram):
      var text = ""
      for (bound, count) in zip(family.buckets, histogram.counts) {
        text += "\(family.name)_bucket\(rendered(pairs + [("le", rendered(bound))])) \(count)\n"
      }
      text += "\(family.name)_bucket\(rendered(pairs + [("le", "+Inf")])) \(histogram.count)\n"
      text += "\(family.name)_sum\(rendered(pairs)) \(rendered(histogram.sum))\n"
      return text + "\(family.name)_count\(rendered(pairs)) \(histogram.count)\n"
    }
  }

  private static func rendered(_ pairs: [(String, String)]) -> String {
    pairs.isEmpty ? "" : "{" + pairs.map { "\($0.0)=\"\(escapedLabel($0.1))\"" }.joined(separator: ",") + "}"
  }

  private static func rendered(_ value: Double) -> String {
    if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return "\(value)"
  }

  private static func escapedLabel(_ value: String) -> String {
    escaped(value, quotes: true)
  }

  private static func escapedHelp(_ value: String) -> String {
    escaped(value, quotes: false)
  }

  private static func escaped(_ value: String, quotes: Bool) -> String {
    var text = ""
    for character in value.unicodeScalars {
      switch character {
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\"" where quotes: text += "\\\""
      default: text.unicodeScalars.append(character)
      }
    }
    return text
  }
}
