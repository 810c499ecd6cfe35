package import RateBudget

/// How the budget of a model group is run, as far as a worker needs it.
package struct GroupConfiguration: Hashable, Sendable {
  /// The name of the model group in group keys. One of a namespace is called namespace/name, and only workers of that
  /// namespace are told of it or draw from it.
  package var modelGroup: String
  /// The organisation; empty: any.
  package var organization: String
  /// The workspace; empty: any.
  package var workspace: String
  /// Patterns of models, in which * stands for any text.
  package var models: [String]
  /// How the budget is run.
  package var budget: BudgetConfiguration

  /// Makes a configuration.
  package init(
    modelGroup: String, organization: String = "", workspace: String = "", models: [String] = [],
    budget: BudgetConfiguration
  ) {
    self.modelGroup = modelGroup
    self.organization = organization
    self.workspace = workspace
    self.models = models
    self.budget = budget
  }

  /// Whether workers of a namespace may draw from it.
  package func isOpen(to namespace: String) -> Bool { GroupKey.isOpen(modelGroup, to: namespace) }

  /// Whether it is about a group.
  package func covers(_ key: GroupKey) -> Bool {
    modelGroup == key.modelGroup && (organization.isEmpty || organization == key.organization)
      && (workspace.isEmpty || workspace == key.workspace)
  }
}

extension GroupKey {
  /// Whether workers of `namespace` may draw from a model group: what is before its first slash is the namespace that
  /// it belongs to. A group without a slash belongs to nobody.
  package static func isOpen(_ modelGroup: String, to namespace: String) -> Bool {
    guard let slash = modelGroup.firstIndex(of: "/") else { return true }
    return modelGroup[..<slash] == namespace
  }
}

/// The first message of a coordinator.
package struct CoordinatorWelcome: Hashable, Sendable {
  /// Which coordinator it is; differs after a failover.
  package var coordinator: String
  /// How long the worker's rights outlast the last message.
  package var lease: Duration
  /// The groups that are configured.
  package var groups: [GroupConfiguration]
  /// What it can do beyond the protocol's version.
  package var capabilities: [String]

  /// Makes a welcome.
  package init(
    coordinator: String, lease: Duration, groups: [GroupConfiguration] = [], capabilities: [String] = []
  ) {
    self.coordinator = coordinator
    self.lease = lease
    self.groups = groups
    self.capabilities = capabilities
  }
}

/// A grant, on its way to the worker.
package struct GrantNote: Hashable, Sendable {
  /// The request's number.
  package var number: UInt64
  /// How long it waited.
  package var waited: Duration
  /// When it expires unless it is settled.
  package var lease: Duration
  /// How often upstream has already answered it 429.
  package var attempt: Int

  /// Makes a note.
  package init(number: UInt64, waited: Duration, lease: Duration, attempt: Int = 0) {
    self.number = number
    self.waited = waited
    self.lease = lease
    self.attempt = attempt
  }
}

/// Why a request isn't granted; nil reason: its deadline has passed.
package struct RefusalNote: Hashable, Sendable {
  /// The request's number.
  package var number: UInt64
  /// Why.
  package var refusal: Refusal?

  /// Makes a note.
  package init(number: UInt64, refusal: Refusal?) {
    self.number = number
    self.refusal = refusal
  }
}

/// What to do with a request that upstream refused.
package struct RejectionAnswer: Hashable, Sendable {
  /// What to do.
  package enum Decision: Hashable, Sendable {
    /// It waits again, not before so long from now.
    case requeued(Duration)
    /// Its client must be told.
    case tellClient(Refusal)
    /// The grant wasn't known.
    case unknown
  }

  /// The request's number.
  package var number: UInt64
  /// What to do.
  package var decision: Decision

  /// Makes an answer.
  package init(number: UInt64, decision: Decision) {
    self.number = number
    self.decision = decision
  }
}

/// An order to take no new work.
package struct DrainOrder: Hashable, Sendable {
  /// Which order; later ones are greater.
  package var order: UInt64
  /// How long the work in progress may take.
  package var timeout: Duration
  /// Whether the order of before is taken back.
  package var isWithdrawn: Bool

  /// Makes an order.
  package init(order: UInt64, timeout: Duration, isWithdrawn: Bool = false) {
    self.order = order
    self.timeout = timeout
    self.isWithdrawn = isWithdrawn
  }
}

/// Everything that a coordinator says in one batch.
package struct CoordinatorFrame: Sendable {
  /// What may be sent.
  package var grants: [GrantNote] = []
  /// What won't be granted.
  package var refusals: [RefusalNote] = []
  /// Answers to rejections.
  package var answers: [RejectionAnswer] = []
  /// What the worker may use on its own.
  package var shares: [(group: GroupKey, share: Share)] = []
  /// That the coordinator lives, for so long.
  package var lease: Duration?
  /// Orders.
  package var drains: [DrainOrder] = []
  /// Groups whose configuration has changed.
  package var groups: [GroupConfiguration] = []

  /// Makes an empty frame.
  package init() {}

  /// Whether nothing is said.
  package var isEmpty: Bool { count == 0 && lease == nil }

  /// How many things are said.
  package var count: Int {
    grants.count + refusals.count + answers.count + shares.count + drains.count + groups.count
  }
}
