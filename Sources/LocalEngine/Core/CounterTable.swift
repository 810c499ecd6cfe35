import CoordinationEngine

/// Numbers by name.
struct CounterTable: Sendable {
  private static let maximum = 100_000
  private var values: [String: Int64] = [:]
  private var isTracked = false
  private var changed: Set<String> = []
  private let names = StateLimits()

  func value(of name: String) throws(EngineError) -> Int64 {
    try names.check(key: name)
    return values[name] ?? 0
  }

  mutating func add(_ delta: Int64, to name: String) throws(EngineError) -> Int64 {
    try names.check(key: name)
    let old = values[name]
    guard old != nil || values.count < Self.maximum else { throw .full(what: "counters", limit: Self.maximum) }
    let (value, overflow) = (old ?? 0).addingReportingOverflow(delta)
    guard !overflow else { throw .invalid("counter \(name): \(old ?? 0) and \(delta) together are beyond 64 bits") }
    values[name] = value
    if isTracked { changed.insert(name) }
    return value
  }

  mutating func remove(_ name: String) throws(EngineError) {
    try names.check(key: name)
    if values.removeValue(forKey: name) != nil, isTracked { changed.insert(name) }
  }

  mutating func restore(_ saved: [(name: String, value: Int64)]) {
    isTracked = true
    for (name, value) in saved { values[name] = value }
  }

  var hasChanges: Bool { !changed.isEmpty }

  /// The counters that changed since the last call, sorted; nil for what is gone.
  mutating func takeChanges() -> [(name: String, value: Int64?)] {
    defer { changed.removeAll() }
    return changed.sorted().map { ($0, values[$0]) }
  }
}
