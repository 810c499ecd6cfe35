package import CoordinationProtocol
package import KubernetesCore
package import ScalingAPI

/// An `APIBudget` as the coordinator goes by it: what it configures, or why it can't be used.
package struct BudgetObject: Hashable, Sendable {
  /// The object.
  package var object: APIBudget
  /// The spec with defaults filled in; nil when it can't be used.
  package var resolved: ResolvedBudget?
  /// What is wrong, or deserves a thought, for people; empty: nothing.
  package var issues: String

  /// Reads an object.
  package init(_ object: APIBudget) {
    self.object = object
    do {
      resolved = try object.resolved()
      issues = object.validate().warnings.map(\.description).joined(separator: " ")
    } catch {
      resolved = nil
      issues = error.issues.errors.map(\.description).joined(separator: " ")
    }
  }

  /// The object's name.
  package var key: ObjectKey { object.metadata.key }

  /// The groups of the usable ones. Workers take the first that names their model, so those that name models stand
  /// before those for all; within each, by name.
  package static func groups(of budgets: [BudgetObject]) -> [GroupConfiguration] {
    let usable = budgets.compactMap { budget in budget.resolved.map { (key: budget.key, budget: $0) } }
    let ordered = usable.sorted {
      ($0.budget.models.isEmpty ? 1 : 0, $0.key) < ($1.budget.models.isEmpty ? 1 : 0, $1.key)
    }
    return ordered.map { $0.budget.coordinated(as: $0.key) }
  }
}
