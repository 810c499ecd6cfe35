import RateBudget

/// How urgent a request is among those of all fleets that share a budget. A class goes before the next; each minute of
/// waiting lifts a request by one.
public enum RequestPriority: Hashable, Sendable, CaseIterable {
  /// Somebody waits for it; the reserve of the budget is for these.
  case interactive
  /// Before ordinary work.
  case high
  /// Ordinary work.
  case normal
  /// It may wait until nobody else wants the budget.
  case batch

  var budgetPriority: Priority {
    switch self {
    case .interactive: .interactive
    case .high: .high
    case .normal: .normal
    case .batch: .low
    }
  }
}
