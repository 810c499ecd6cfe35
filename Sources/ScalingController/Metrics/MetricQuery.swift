package import KubernetesCore
package import ScalingAPI

/// What one metric of a spec asks of the outside world: the part of it that a source needs to know.
package enum MetricQuery: Hashable, Sendable {
  /// CPU or memory of each pod, of one container or of all.
  case resource(name: String, container: String?)
  /// A number of each pod, from `custom.metrics.k8s.io`.
  case pods(metric: String, selector: Selector)
  /// A number of one object in the autoscaler's namespace, from `custom.metrics.k8s.io`.
  case object(apiVersion: String, kind: String, name: String, metric: String, selector: Selector)
  /// A number from outside, from `external.metrics.k8s.io`; all series are added.
  case external(metric: String, selector: Selector)
  /// The result of a PromQL query; all series are added.
  case prometheus(ResolvedAutoscaler.Query)
  /// A count that holds at certain hours.
  case schedule(ScheduleQuery)
  /// The work that the workers report; `onlyWhereReported`: that nobody reports any is no trouble (a default metric).
  case workerBacklog(onlyWhereReported: Bool)
  /// The load on the API budget of this name, from the coordinator's memory; `target` nil: the budget's own.
  case budget(String, target: ResolvedAutoscaler.PercentBand?)
}

/// Where to look: one target's pods.
package struct MetricScope: Hashable, Sendable {
  /// The autoscaler's namespace.
  package var namespace: String
  /// The autoscaler's name, by which budgets and reports are kept.
  package var autoscaler: String
  /// The target's pod selector.
  package var podSelector: Selector
  /// Whether many targets share the namespace, so that one list of all its pods is cheaper than one list each.
  package var sharesNamespace: Bool
  /// The names of the target's pods, sorted; nil for every pod that the source names.
  ///
  /// A shared list names all pods of the namespace. Without this each autoscaler would carry the samples of them all:
  /// a thousand autoscalers of ten pods made twenty million samples a pass.
  package var pods: [String]?

  /// Names a scope.
  package init(
    namespace: String, autoscaler: String = "", podSelector: Selector, sharesNamespace: Bool, pods: [String]? = nil
  ) {
    self.namespace = namespace
    self.autoscaler = autoscaler
    self.podSelector = podSelector
    self.sharesNamespace = sharesNamespace
    self.pods = pods
  }

  /// The autoscaler's key.
  package var autoscalerKey: ObjectKey { ObjectKey(namespace: namespace, name: autoscaler) }
}
