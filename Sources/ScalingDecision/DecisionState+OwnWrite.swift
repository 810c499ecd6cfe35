package import KubernetesCore

extension DecisionState {
  /// Takes the count that stands in the scale for our own write whose record was lost.
  ///
  /// A process that ends between its write and the status that remembers it leaves a count that nobody expects. The next one
  /// would take it for another writer's, and after three of them for a contest.
  package mutating func adoptOwnWrite(of replicas: Int, at moment: Timestamp) {
    let replicas = saneReplicas(replicas)
    guard let expected = expectedReplicas, expected != replicas else { return }
    events.note(replicas - expected, at: moment.milliseconds, forgettingUntil: .min)
    expectedReplicas = replicas
    lastWriteAt = moment.milliseconds
    isScaledToZero = replicas == 0
  }
}
