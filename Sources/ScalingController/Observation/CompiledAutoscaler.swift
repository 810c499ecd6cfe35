import KubernetesCore
package import ScalingAPI
package import ScalingDecision

/// An autoscaler's spec made ready for many passes: defaults filled in, texts parsed, queries separated.
package struct CompiledAutoscaler: Hashable, Sendable {
  /// The spec with defaults filled in.
  package var resolved: ResolvedAutoscaler
  /// What decisions are made by.
  package var decision: DecisionSpec
  /// What to ask for each metric, in the order of the spec.
  package var queries: [MetricQuery]
  /// What deserves the user's attention although the spec can be used.
  package var warnings: [String]

  /// Compiles a valid autoscaler; throws the trouble to tell the user when it isn't.
  package init(
    _ autoscaler: SwarmAutoscaler, defaults: ResolvedAutoscaler.Defaults, limits: DecisionLimits
  ) throws(Trouble) {
    do {
      resolved = try autoscaler.resolved(defaults)
      queries = try resolved.metrics.map(MetricQuery.init)
    } catch let error as InvalidSpecError {
      throw Trouble(.valid, "InvalidSpec", error.issues.errors.map(\.description).joined(separator: " "))
    } catch let error as CronError {
      throw Trouble(.valid, "InvalidSpec", "a schedule can't be used: \(error)")
    } catch let error as SelectorError {
      throw Trouble(.valid, "InvalidSpec", "a metric's selector can't be used: \(error)")
    } catch {
      throw Trouble(.valid, "InvalidSpec", "\(error)")
    }
    warnings = autoscaler.validate().warnings.map(\.description)
    decision = DecisionSpec(resolved, limits: limits)
  }
}

extension MetricQuery {
  /// The query of a resolved metric.
  fileprivate init(_ metric: ResolvedAutoscaler.Metric) throws {
    switch metric {
    case .resource(let name, let container, _):
      self = .resource(name: name, container: container)
    case .pods(let name, _):
      self = .pods(metric: name.name, selector: try Self.selector(name))
    case .object(let object, let name, _), .backlog(.object(let object, let name), _, _):
      self = .object(
        apiVersion: object.apiVersion ?? "v1", kind: object.kind ?? "", name: object.name ?? "", metric: name.name,
        selector: try Self.selector(name))
    case .external(let name, _), .backlog(.external(let name), _, _):
      self = .external(metric: name.name, selector: try Self.selector(name))
    case .prometheus(let query, _), .backlog(.prometheus(let query), _, _):
      self = .prometheus(query)
    case .schedule(let timeZone, let start, let end, let replicas):
      self = .schedule(
        ScheduleQuery(
          timeZone: timeZone, start: try CronSchedule(start), end: try CronSchedule(end), replicas: Int(replicas)))
    case .backlog(.workers, _, let onlyWhereReported):
      self = .workerBacklog(onlyWhereReported: onlyWhereReported)
    case .apiRate(let budget, let target):
      self = .budget(budget, target: target)
    }
  }

  private static func selector(_ name: ResolvedAutoscaler.MetricName) throws(SelectorError) -> Selector {
    try name.selector.map { selector throws(SelectorError) in try Selector(selector) } ?? .everything
  }
}
