package import KubernetesCore

/// Who answers for the numbers: the controller, or a script in tests.
package protocol BridgeSource: Sendable {
  /// The metrics that there are.
  var metrics: [BridgedMetric] { get }
  /// The series of `metric` in `namespace` that `selector` picks, as they are known now.
  func answer(_ metric: BridgedMetric, namespace: String, selector: Selector) -> BridgeBook.Answer
}
