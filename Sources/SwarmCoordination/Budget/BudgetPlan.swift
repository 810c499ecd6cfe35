package import RateBudget

/// Which budget a model draws on.
package struct BudgetPlan: Hashable, Sendable {
  /// One budget: the models that share its limits, and how it is run.
  package struct Entry: Hashable, Sendable {
    /// The budget's name.
    package var name: String
    /// The models; empty: all.
    package var models: [ModelPattern]
    /// How it is run.
    package var configuration: BudgetConfiguration
    /// The organisation that its limits belong to; empty: any.
    package var organization: String
    /// The workspace; empty: any.
    package var workspace: String

    /// Makes an entry.
    package init(
      name: String, models: [ModelPattern] = [], configuration: BudgetConfiguration, organization: String = "",
      workspace: String = ""
    ) {
      self.name = name
      self.models = models
      self.configuration = configuration
      self.organization = organization
      self.workspace = workspace
    }
  }

  /// The longest name of a model that names a budget; what is longer is no model.
  static let longestModel = 100

  /// The budgets; the first that names a model counts.
  package var entries: [Entry]
  /// How the budgets of models are run that no entry names: each model has its own, with limits learned from headers.
  package var fallback: BudgetConfiguration
  /// What stands before a model's name in the name of its own budget. Workers of different namespaces may use different
  /// organisations: what one learns of a model isn't true for all.
  package var scope = ""

  /// Makes a plan; without entries every model has its own budget.
  package init(_ entries: [Entry] = [], fallback: BudgetConfiguration = BudgetConfiguration()) {
    self.entries = entries
    self.fallback = fallback
  }

  /// The budget of a model; an unreadable request (an empty model) draws on the first.
  package func group(model: String, speed: String = "") -> GroupKey {
    let entry =
      model.isEmpty
      ? entries.first : entries.first { $0.models.isEmpty || $0.models.contains { $0.matches(model) } }
    let name = entry?.name ?? scope + (model.isEmpty ? "unknown" : String(model.prefix(Self.longestModel)))
    return GroupKey(
      organization: entry?.organization ?? "", workspace: entry?.workspace ?? "", modelGroup: name,
      speed: speed == "fast" ? "fast" : "")
  }

  /// How the budget of a key is run. The fast pair of limits is always learned.
  package func configuration(of key: GroupKey) -> BudgetConfiguration {
    var configuration = entries.first { $0.name == key.modelGroup }?.configuration ?? fallback
    if !key.speed.isEmpty { configuration.limits = PerDimension(repeating: nil) }
    return configuration
  }
}
