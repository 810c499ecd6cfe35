/// When a fault happens. All conditions that are given must hold; without any, it always happens.
package struct FaultRule: Hashable, Codable, Sendable {
  /// What happens.
  package var fault: Fault
  /// With this probability, 0…1.
  package var probability: Double?
  /// Not before so many seconds after the start of the mock (or after the rule was set).
  package var from: Double?
  /// No longer after so many seconds.
  package var until: Double?
  /// Not to the first so many requests that the other conditions let through.
  package var skip: Int?
  /// At most so many times.
  package var count: Int?
  /// Only for models of this pool.
  package var group: String?

  /// A rule.
  package init(
    _ fault: Fault, probability: Double? = nil, from: Double? = nil, until: Double? = nil, skip: Int? = nil,
    count: Int? = nil, group: String? = nil
  ) {
    self.fault = fault
    self.probability = probability
    self.from = from
    self.until = until
    self.skip = skip
    self.count = count
    self.group = group
  }
}

/// Chooses the fault of each request.
package struct FaultPlan: Sendable {
  private var rules: [(rule: FaultRule, passed: Int, used: Int)]
  private let start: MockTime

  /// A plan whose times count from `start`.
  package init(_ rules: [FaultRule], start: MockTime) {
    self.rules = rules.map { ($0, 0, 0) }
    self.start = start
  }

  /// The fault of the request that arrives now, if any.
  package mutating func choose(group: String, now: MockTime, random: inout SeededGenerator) -> Fault? {
    let elapsed = Double((now - start).wholeNanoseconds) / 1e9
    for index in rules.indices {
      let rule = rules[index].rule
      if let wanted = rule.group, wanted != group { continue }
      if let from = rule.from, elapsed < from { continue }
      if let until = rule.until, elapsed >= until { continue }
      if let probability = rule.probability, random.fraction() >= probability { continue }
      rules[index].passed += 1
      if let skip = rule.skip, rules[index].passed <= skip { continue }
      if let count = rule.count, rules[index].used >= count { continue }
      rules[index].used += 1
      return rule.fault
    }
    return nil
  }
}
