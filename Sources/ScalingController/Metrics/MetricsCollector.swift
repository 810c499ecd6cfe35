package import KubernetesCore
import KubernetesRuntime
import ScalingAPI
package import ScalingDecision
import ScalingObservation

/// What was read for one metric, and in words why nothing was.
package struct CollectedMetric: Hashable, Sendable {
  /// The reading, as decisions take it.
  package var reading: MetricReading
  /// Why there is no number; nil when there is one.
  package var failure: String?

  /// Pairs a reading with its failure.
  package init(_ reading: MetricReading, failure: String? = nil) {
    self.reading = reading
    self.failure = failure
  }
}

/// Reads all metrics of one autoscaler.
package struct MetricsCollector: Sendable {
  private let podMetrics: PodMetricsSource
  private let adapters: MetricsAdapters
  private let prometheus: PrometheusSource
  private let reports: (any FleetReports)?
  private let zones: any TimeZoneOffsets
  private let time: any TimeSource

  /// Makes a collector; without `reports` budgets and the workers' backlog are unknown.
  package init(
    podMetrics: PodMetricsSource, adapters: MetricsAdapters, prometheus: PrometheusSource,
    reports: (any FleetReports)? = nil, zones: any TimeZoneOffsets = SystemTimeZones(), time: any TimeSource
  ) {
    self.podMetrics = podMetrics
    self.adapters = adapters
    self.prometheus = prometheus
    self.reports = reports
    self.zones = zones
    self.time = time
  }

  /// One result for each query, in order. A source that fails costs its own metric only.
  package func collect(_ queries: [MetricQuery], in scope: MetricScope) async -> [CollectedMetric] {
    guard queries.count > 1 else {
      var results: [CollectedMetric] = []
      for query in queries { results.append(await collect(query, in: scope)) }
      return results
    }
    return await withTaskGroup(of: (Int, CollectedMetric).self) { group in
      for (index, query) in queries.enumerated() {
        group.addTask { (index, await collect(query, in: scope)) }
      }
      var results = queries.map { _ in CollectedMetric(.unavailable(.notYetRead), failure: "not read") }
      for await (index, result) in group { results[index] = result }
      return results
    }
  }

  private func collect(_ query: MetricQuery, in scope: MetricScope) async -> CollectedMetric {
    do {
      switch query {
      case .resource(let name, let container):
        return await resource(name, container, scope)
      case .pods(let metric, let selector):
        return podValues(
          try await adapters.podValues(
            namespace: scope.namespace, metric: metric, selector: selector, pods: scope.podSelector))
      case .object(let apiVersion, let kind, let name, let metric, let selector):
        let value = try await adapters.objectValue(
          namespace: scope.namespace, apiVersion: apiVersion, kind: kind, name: name, metric: metric,
          selector: selector)
        return CollectedMetric(.value(milli: value.value.milliValue, at: value.timestamp))
      case .external(let metric, let selector):
        let values = try await adapters.externalValues(
          namespace: scope.namespace, metric: metric, selector: selector)
        return CollectedMetric(
          .series(milli: values.map(\.value.milliValue), at: values.compactMap(\.timestamp).min()))
      case .prometheus(let query):
        return await prometheus.collect(query, namespace: scope.namespace)
      case .schedule(let schedule):
        return schedule.collected(at: time.wallNow, zones: zones)
      case .workerBacklog(let onlyWhereReported):
        return backlog(scope, onlyWhereReported: onlyWhereReported)
      case .budget(let name, let target):
        return budget(name, target, scope)
      }
    } catch let error as KubernetesError {
      return Self.failed(error)
    } catch {
      return CollectedMetric(.unavailable(.sourceFailed), failure: "\(error)")
    }
  }

  private func resource(_ name: String, _ container: String?, _ scope: MetricScope) async -> CollectedMetric {
    switch await podMetrics.usage(in: scope) {
    case .failed(let error): return Self.failed(error)
    case .usage(let usage):
      return CollectedMetric(Observation.reading(of: name, container: container, from: usage, pods: scope.pods))
    }
  }

  private func budget(
    _ name: String, _ target: ResolvedAutoscaler.PercentBand?, _ scope: MetricScope
  ) -> CollectedMetric {
    guard let reports else { return Self.withoutCoordinator }
    guard let report = reports.budget(name, of: scope.autoscalerKey) else {
      return CollectedMetric(
        .unavailable(.notYetRead),
        failure: "nothing is known yet of this fleet's load on the budget \(name); the count doesn't grow until it is")
    }
    guard let target else { return CollectedMetric(.budget(report)) }
    return CollectedMetric(.budget(report.aimed(lower: Int64(target.lower), upper: Int64(target.upper))))
  }

  private func backlog(_ scope: MetricScope, onlyWhereReported: Bool) -> CollectedMetric {
    if let backlog = reports?.activity(of: scope.autoscalerKey)?.backlog { return CollectedMetric(.backlog(backlog)) }
    if onlyWhereReported { return CollectedMetric(.unavailable(.absent)) }
    guard reports != nil else { return Self.withoutCoordinator }
    return CollectedMetric(
      .unavailable(.notYetRead),
      failure: "no worker has reported its work yet; the workers need the embedded library, or the metric a source")
  }

  private static let withoutCoordinator = CollectedMetric(
    .unavailable(.notYetRead),
    failure: "no coordinator runs that would supply this metric (--coordinator-listen starts it); it holds the count "
      + "where it is")

  private func podValues(_ values: [MetricValue]) -> CollectedMetric {
    CollectedMetric(
      .perWorker(
        values.compactMap { value in
          value.describedObject.name.map { name in
            WorkerSample(
              worker: name, milli: value.value.milliValue, at: value.timestamp ?? time.wallNow,
              window: .seconds(value.windowSeconds ?? 0))
          }
        }))
  }

  private static func failed(_ error: KubernetesError) -> CollectedMetric {
    let reason: UnavailableReason = error.code == .malformedResponse ? .notANumber : .sourceFailed
    return CollectedMetric(.unavailable(reason), failure: error.message)
  }
}
