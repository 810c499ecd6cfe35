/// All budgets of a process by their keys, in the order of the keys.
package struct RateBudgets: Sendable {
  private var groups: [(key: GroupKey, budget: GroupBudget)] = []

  /// No budgets.
  package init() {}

  /// The keys, in order.
  package var keys: [GroupKey] { groups.map(\.key) }

  private func place(of key: GroupKey) -> Int {
    var low = 0
    var high = groups.count
    while low < high {
      let middle = (low + high) / 2
      if groups[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Adds a budget, or replaces one.
  package mutating func set(_ budget: GroupBudget, for key: GroupKey) {
    let place = place(of: key)
    if place < groups.count, groups[place].key == key {
      groups[place].budget = budget
    } else {
      groups.insert((key, budget), at: place)
    }
  }

  /// Removes a budget.
  package mutating func remove(_ key: GroupKey) {
    groups.removeAll { $0.key == key }
  }

  /// Asks one budget; nil when there is none of that key.
  package mutating func with<Result>(_ key: GroupKey, _ body: (inout GroupBudget) -> Result) -> Result? {
    let place = place(of: key)
    guard place < groups.count, groups[place].key == key else { return nil }
    return body(&groups[place].budget)
  }

  /// Asks all budgets, in order.
  package mutating func forEach(_ body: (GroupKey, inout GroupBudget) -> Void) {
    for place in groups.indices { body(groups[place].key, &groups[place].budget) }
  }

  /// Grants what fits now, in the order of the keys.
  package mutating func advance(now: BudgetTime) -> [(key: GroupKey, outcome: Outcome)] {
    var outcomes: [(key: GroupKey, outcome: Outcome)] = []
    for place in groups.indices {
      for outcome in groups[place].budget.advance(now: now) { outcomes.append((groups[place].key, outcome)) }
    }
    return outcomes
  }

  /// When `advance` has something to do next.
  package mutating func nextDeadline(now: BudgetTime) -> BudgetTime? {
    var next: BudgetTime?
    for place in groups.indices {
      guard let deadline = groups[place].budget.nextDeadline(now: now) else { continue }
      next = min(next ?? deadline, deadline)
    }
    return next
  }
}
