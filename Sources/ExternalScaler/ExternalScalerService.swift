package import GRPCCore
package import KubernetesCore
package import MetricBridges
import SwiftProtobuf
import Synchronization

/// KEDA's external scaler: each trigger follows one `SwarmAutoscaler`, or one dimension of an `APIBudget`.
///
/// A number that isn't known is an error and never an old number or a zero: KEDA leaves the count then, or takes the
/// `ScaledObject`'s `fallback`.
package struct ExternalScalerService: WireExternalScaler.SimpleServiceProtocol {
  /// What a request came to, for counters.
  package enum Outcome: String, Hashable, Sendable, CaseIterable {
    /// It was answered.
    case served
    /// The number isn't known now.
    case unavailable
    /// The trigger's settings can't be used, or name what isn't there.
    case invalid
  }

  /// Tells open streams that the server ends.
  private final class Ending: Sendable {
    private let state = Mutex(false)

    var hasBegun: Bool { state.withLock { $0 } }

    func begin() { state.withLock { $0 = true } }
  }

  private let source: any BridgeSource
  /// The clocks.
  let time: any TimeSource
  private let ending = Ending()
  private let onOutcome: @Sendable (Outcome) -> Void

  /// How often a stream looks whether something has changed. KEDA's own polling is 30 s.
  package static let streamInterval = Duration.seconds(1)

  /// Makes the service; `onOutcome` is told what became of each request, and of each look of a stream that failed.
  package init(
    source: any BridgeSource, time: any TimeSource, onOutcome: @escaping @Sendable (Outcome) -> Void = { _ in }
  ) {
    self.source = source
    self.time = time
    self.onOutcome = onOutcome
  }

  /// Ends open streams at their next look, and each that comes from now on.
  func end() { ending.begin() }

  package func isActive(request: WireScaledObjectRef, context: ServerContext) async throws -> WireIsActiveResponse {
    let active = try value(of: trigger(request)) > 0
    onOutcome(.served)
    return WireIsActiveResponse.with { $0.result = active }
  }

  package func streamIsActive(
    request: WireScaledObjectRef, response: RPCWriter<WireIsActiveResponse>, context: ServerContext
  ) async throws {
    let trigger = try trigger(request)
    var told: Bool?
    while true {
      guard !ending.hasBegun else { throw RPCError(code: .unavailable, message: "this replica ends; ask again") }
      // An error ends the stream: KEDA begins another, which may come to the replica that leads by then.
      let active = try value(of: trigger) > 0
      if active != told {
        try await response.write(WireIsActiveResponse.with { $0.result = active })
        onOutcome(.served)
        told = active
      }
      try await time.sleep(for: Self.streamInterval)
    }
  }

  /// Answered by every replica, whether it leads or not: targets come from the settings alone.
  package func getMetricSpec(
    request: WireScaledObjectRef, context: ServerContext
  ) async throws -> WireGetMetricSpecResponse {
    let trigger = try trigger(request)
    onOutcome(.served)
    return WireGetMetricSpecResponse.with { response in
      response.metricSpecs = [
        WireMetricSpec.with { spec in
          spec.metricName = trigger.metric.rawValue
          spec.targetSize = trigger.target
          spec.targetSizeFloat = Double(trigger.target)
        }
      ]
    }
  }

  package func getMetrics(
    request: WireGetMetricsRequest, context: ServerContext
  ) async throws -> WireGetMetricsResponse {
    let trigger = try trigger(request.scaledObjectRef)
    guard trigger.isCalled(request.metricName) else {
      onOutcome(.invalid)
      throw RPCError(
        code: .invalidArgument,
        message: "this trigger's metric is \(trigger.metric.rawValue), not \(request.metricName)")
    }
    let value = try value(of: trigger)
    onOutcome(.served)
    return WireGetMetricsResponse.with { response in
      response.metricValues = [
        WireMetricValue.with { metric in
          metric.metricName = request.metricName.isEmpty ? trigger.metric.rawValue : request.metricName
          metric.metricValue = value
          metric.metricValueFloat = Double(value)
        }
      ]
    }
  }

  private func trigger(_ request: WireScaledObjectRef) throws -> ScalerTrigger {
    do throws(ScalerTriggerError) {
      return try ScalerTrigger(namespace: request.namespace, settings: request.scalerMetadata)
    } catch {
      onOutcome(.invalid)
      throw RPCError(
        code: .invalidArgument, message: "ScaledObject \(request.namespace)/\(request.name): \(error.description)")
    }
  }

  private func value(of trigger: ScalerTrigger) throws -> Int64 {
    switch source.answer(trigger.metric, namespace: trigger.namespace, selector: trigger.selector) {
    case .unavailable(let why):
      onOutcome(.unavailable)
      throw RPCError(code: .unavailable, message: why)
    case .values(let values):
      guard let value = trigger.value(in: values) else {
        onOutcome(.invalid)
        throw RPCError(code: .notFound, message: trigger.absence)
      }
      return value
    }
  }
}
