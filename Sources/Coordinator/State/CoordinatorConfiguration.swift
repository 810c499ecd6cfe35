package import CoordinationProtocol
package import RateBudget

/// How a coordinator is run.
package struct CoordinatorConfiguration: Hashable, Sendable {
  /// The budgets that are configured; the first that covers a group counts, those that name an organisation or a
  /// workspace before those that don't. Fleets are named namespace/autoscaler in them.
  package var groups: [GroupConfiguration]
  /// How budgets of other groups are run: limits are learned.
  package var defaults: BudgetConfiguration
  /// How long workers' rights outlast the last message. Default 15 s.
  package var lease: Duration
  /// How often shares are told; also the sign of life. Default a third of the lease.
  package var sharesEvery: Duration
  /// How many groups there may be.
  package var groupLimit: Int
  /// How many workers there may be, those that are lost as well until they are forgotten.
  package var sessionLimit: Int
  /// How long a lost worker is remembered. Default 600 s.
  package var forgetAfter: Duration

  /// Makes a configuration.
  package init(
    groups: [GroupConfiguration] = [], defaults: BudgetConfiguration = BudgetConfiguration(),
    lease: Duration = .seconds(15)
  ) {
    self.groups = groups
    self.defaults = defaults
    self.lease = max(lease, .milliseconds(3))
    sharesEvery = self.lease / 3
    groupLimit = 256
    sessionLimit = 20_000
    forgetAfter = .seconds(600)
  }

  /// How the budget of a group is run.
  package func budget(of key: GroupKey) -> BudgetConfiguration {
    var best: (rank: Int, budget: BudgetConfiguration)?
    for group in groups where group.covers(key) {
      let rank = (group.organization.isEmpty ? 0 : 1) + (group.workspace.isEmpty ? 0 : 2)
      if best.map({ rank > $0.rank }) ?? true { best = (rank, group.budget) }
    }
    var budget = best?.budget ?? defaults
    budget.shareLease = lease
    return budget
  }
}
