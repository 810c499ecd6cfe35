package import KubernetesCore

/// What a trigger of a KEDA `ScaledObject` asks for: the settings below `metadata`, read and checked.
package struct ScalerTrigger: Hashable, Sendable {
  /// The names of the settings.
  package enum Setting {
    /// The `SwarmAutoscaler` whose count is followed.
    package static let autoscaler = "autoscaler"
    /// The `APIBudget` whose headroom is followed.
    package static let budget = "budget"
    /// The budget's dimension.
    package static let dimension = "dimension"
    /// Units a minute that one replica takes of the headroom.
    package static let unitsPerReplica = "unitsPerReplica"
  }

  /// The metric.
  package var metric: BridgedMetric
  /// The namespace, which is the `ScaledObject`'s: nobody reads another namespace's numbers through KEDA.
  package var namespace: String
  /// Picks the one series.
  package var selector: Selector
  /// What one replica stands for: the count is the value over this.
  package var target: Int64

  /// Reads the settings of a trigger.
  package init(namespace: String, settings: [String: String]) throws(ScalerTriggerError) {
    self.namespace = namespace
    let (autoscaler, budget) = (settings[Setting.autoscaler], settings[Setting.budget])
    switch (autoscaler, budget) {
    case (let autoscaler?, nil):
      metric = .desiredReplicas
      target = 1
      selector = try Self.selector([(BridgedMetric.Label.autoscaler, autoscaler)])
      for setting in [Setting.dimension, Setting.unitsPerReplica] where settings[setting] != nil {
        throw ScalerTriggerError("\(setting) is for a trigger with \(Setting.budget); remove it")
      }
    case (nil, let budget?):
      metric = .apiHeadroom
      guard let dimension = settings[Setting.dimension], !dimension.isEmpty else {
        throw ScalerTriggerError(
          "\(Setting.dimension) is missing: requests, inputTokens, inputTokensTotal or outputTokens")
      }
      guard let text = settings[Setting.unitsPerReplica], let units = Int64(text), units > 0 else {
        throw ScalerTriggerError(
          "\(Setting.unitsPerReplica) must be a positive whole number: the units a minute that one replica takes")
      }
      target = units
      selector = try Self.selector([(BridgedMetric.Label.budget, budget), (BridgedMetric.Label.dimension, dimension)])
    case (nil, nil):
      throw ScalerTriggerError(
        "name the SwarmAutoscaler to follow as \(Setting.autoscaler), or an APIBudget as \(Setting.budget)")
    case (_?, _?):
      throw ScalerTriggerError("\(Setting.autoscaler) and \(Setting.budget) exclude each other; write two triggers")
    }
  }

  private static func selector(_ labels: [(key: String, value: String)]) throws(ScalerTriggerError) -> Selector {
    do {
      return Selector(
        requirements: try labels.map { label throws(SelectorError) in
          try Selector.Requirement(key: label.key, operator: .equals, values: [label.value])
        })
    } catch {
      throw ScalerTriggerError("\(error)")
    }
  }

  /// Whether KEDA means this trigger's metric by `name`: it may prefix the trigger's place, as in `s0-`.
  package func isCalled(_ name: String) -> Bool {
    if name.isEmpty || name == metric.rawValue { return true }
    guard name.first == "s", let dash = name.firstIndex(of: "-") else { return false }
    let place = name[name.index(after: name.startIndex)..<dash]
    return !place.isEmpty && place.allSatisfy { $0.isASCII && $0.isNumber }
      && name[dash...].dropFirst() == metric.rawValue
  }

  /// The trigger's value in an answer of the book; nil: no such object.
  package func value(in values: [BridgedValue]) -> Int64? {
    values.isEmpty ? nil : values.reduce(0) { $0.addingReportingOverflow($1.value).partialValue }
  }

  /// What is wrong when there is no such object.
  package var absence: String {
    "there is no series \(metric.rawValue){\(selector)} in the namespace \(namespace)"
  }
}

/// A trigger's settings can't be used; the text says what to change.
package struct ScalerTriggerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What to change.
  package var description: String

  /// Makes an error.
  package init(_ description: String) {
    self.description = description
  }
}
