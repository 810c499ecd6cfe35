// The state stands in the object's status, so that it is kept short: one-letter keys, flat lists of numbers, and
// nothing that has its initial value. A future version that this code can't read decodes to an error, and the caller
// starts from an empty state, which holds still for a window.

extension DecisionState: Codable {
  private enum CodingKeys: String, CodingKey {
    case version = "v"
    case expectedReplicas = "n"
    case lastWriteAt = "w"
    case isScaledToZero = "z"
    case growthWindow = "u"
    case shrinkWindow = "d"
    case events = "e"
    case metrics = "m"
    case contest = "c"
    case gain = "g"
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let version = try container.decode(Int.self, forKey: .version)
    guard version == Self.currentVersion else {
      throw DecodingError.dataCorruptedError(
        forKey: .version, in: container,
        debugDescription: "state of version \(version); this controller reads version \(Self.currentVersion)")
    }
    self.init()
    expectedReplicas = try container.decodeIfPresent(Int.self, forKey: .expectedReplicas).map(saneReplicas)
    lastWriteAt = try container.decodeIfPresent(Int64.self, forKey: .lastWriteAt)
    isScaledToZero = try container.decodeIfPresent(Bool.self, forKey: .isScaledToZero) ?? false
    growthWindow.entries = Self.pairs(try container.decodeIfPresent([Int64].self, forKey: .growthWindow))
      .suffix(WindowHistory.capacity).map { .init(replicas: saneReplicas(Int($0)), at: $1) }
    shrinkWindow.entries = Self.pairs(try container.decodeIfPresent([Int64].self, forKey: .shrinkWindow))
      .suffix(WindowHistory.capacity).map { .init(replicas: saneReplicas(Int($0)), at: $1) }
    events.events = Self.pairs(try container.decodeIfPresent([Int64].self, forKey: .events))
      .suffix(ScaleEvents.capacity).map { .init(change: Int($0), at: $1) }
    metrics = try container.decodeIfPresent([MetricMemory].self, forKey: .metrics) ?? []
    contest = try container.decodeIfPresent(ContestMemory.self, forKey: .contest) ?? ContestMemory()
    gain = try container.decodeIfPresent(GainMemory.self, forKey: .gain) ?? GainMemory()
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Self.currentVersion, forKey: .version)
    try container.encodeIfPresent(expectedReplicas, forKey: .expectedReplicas)
    try container.encodeIfPresent(lastWriteAt, forKey: .lastWriteAt)
    if isScaledToZero { try container.encode(true, forKey: .isScaledToZero) }
    let growth = growthWindow.entries.flatMap { [Int64($0.replicas), $0.at] }
    if !growth.isEmpty { try container.encode(growth, forKey: .growthWindow) }
    let shrink = shrinkWindow.entries.flatMap { [Int64($0.replicas), $0.at] }
    if !shrink.isEmpty { try container.encode(shrink, forKey: .shrinkWindow) }
    let changes = events.events.flatMap { [Int64($0.change), $0.at] }
    if !changes.isEmpty { try container.encode(changes, forKey: .events) }
    if !metrics.isEmpty { try container.encode(metrics, forKey: .metrics) }
    if contest != ContestMemory() { try container.encode(contest, forKey: .contest) }
    if gain != GainMemory() { try container.encode(gain, forKey: .gain) }
  }

  private static func pairs(_ numbers: [Int64]?) -> [(Int64, Milliseconds)] {
    guard let numbers else { return [] }
    return stride(from: 0, to: numbers.count - 1, by: 2).map { (numbers[$0], numbers[$0 + 1]) }
  }
}

extension MetricMemory: Codable {
  private enum CodingKeys: String, CodingKey {
    case key = "k"
    case failures = "f"
    case lastMilli = "l"
    case lastWanted = "w"
    case collapses = "c"
    case collapseAt = "t"
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(key: try container.decode(String.self, forKey: .key))
    failures = max(try container.decodeIfPresent(Int.self, forKey: .failures) ?? 0, 0)
    lastMilli = try container.decodeIfPresent(Int64.self, forKey: .lastMilli).map { max($0, 0) }
    lastWanted = try container.decodeIfPresent(Int.self, forKey: .lastWanted).map { max($0, 0) }
    collapses = min(max(try container.decodeIfPresent(Int.self, forKey: .collapses) ?? 0, 0), 1_000_000)
    collapseAt = try container.decodeIfPresent(Int64.self, forKey: .collapseAt)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(key, forKey: .key)
    if failures != 0 { try container.encode(failures, forKey: .failures) }
    try container.encodeIfPresent(lastMilli, forKey: .lastMilli)
    try container.encodeIfPresent(lastWanted, forKey: .lastWanted)
    if collapses != 0 { try container.encode(collapses, forKey: .collapses) }
    try container.encodeIfPresent(collapseAt, forKey: .collapseAt)
  }
}
