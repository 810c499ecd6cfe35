package import KubernetesCore
import KubernetesRuntime
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
  private let zones: any TimeZoneOffsets
  private let time: any TimeSource

  /// Makes a collector.
  package init(
    podMetrics: PodMetricsSource, adapters: MetricsAdapters, prometheus: PrometheusSource,
    zones: any TimeZoneOffsets = SystemTimeZones(), time: any TimeSource
  ) {
    self.podMetrics = podMetrics
    self.adapters = adapters
    self.prometheus = prometheus
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
      case .unreported:
        return CollectedMetric(.unavailable(.absent))
      case .none:
        return CollectedMetric(
          .unavailable(.notYetRead),
          failure: "no source of this controller version supplies this metric; it holds the count where it is")
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
