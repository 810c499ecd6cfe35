/// How a fleet is coordinated, by its size.
package enum FleetTier: Int, Hashable, Sendable, Comparable, CaseIterable {
  /// 1 to 10 agents: queue and state in the process.
  case inProcess
  /// 10 to 100: one orchestrator talks to each agent's pod.
  case orchestrated
  /// 100 to 1,000: the pod is the unit, with its results in frames.
  case pods
  /// More: cells of up to 1,000 agents, each with a share of the queue, and summaries between them.
  case cells

  package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

  /// The most agents of a tier; nil: no bound.
  package var agents: Int? {
    switch self {
    case .inProcess: 10
    case .orchestrated: 100
    case .pods: 1_000
    case .cells: nil
    }
  }

  /// The lowest tier that holds so many agents.
  package init(agents: Int) {
    self = Self.allCases.first { $0.agents.map { agents <= $0 } ?? true } ?? .cells
  }
}

/// Chooses the tier: up at once, down only when the fleet has been clearly smaller for a while, one tier at a time.
///
/// A tier decides how the work is carried, never where a task is: tasks, leases and results stay in the store whichever tier reads them.
package struct TierSelector: Hashable, Sendable {
  /// The tier.
  package private(set) var tier: FleetTier
  /// The percentage of a lower tier's size below which the fleet counts as clearly smaller.
  private let fallPercent: Int
  private let calm: Duration
  private var smallSince: Duration?

  /// Begins at a tier, such as the one that a snapshot names.
  package init(tier: FleetTier = .inProcess, fallPercent: Int = 80, calm: Duration = .seconds(60)) {
    self.tier = tier
    self.fallPercent = fallPercent
    self.calm = calm
  }

  /// Takes note of the fleet's size; gives the tier when it changes.
  package mutating func handle(agents: Int, now: Duration) -> FleetTier? {
    let needed = FleetTier(agents: agents)
    guard needed <= tier else {
      (tier, smallSince) = (needed, nil)
      return tier
    }
    guard let lower = FleetTier(rawValue: tier.rawValue - 1), let bound = lower.agents,
      100 * agents <= fallPercent * bound
    else {
      smallSince = nil
      return nil
    }
    let since = smallSince ?? now
    smallSince = since
    guard now - since >= calm else { return nil }
    (tier, smallSince) = (lower, now)
    return tier
  }
}
