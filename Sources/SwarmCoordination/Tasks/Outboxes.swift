import AgentRuntime
import Synchronization
import TaskRecovery

/// The outboxes of a worker's queues, together: what the ladder of degradation and the metrics say of them.
final class Outboxes: Sendable {
  private struct State {
    var open: [ObjectIdentifier: ResultOutbox] = [:]
    /// What those counted that are closed.
    var past = AgentMetrics.Results()
  }

  private let state = Mutex(State())

  /// How full the fullest is, in percent.
  var fillPercent: Int { state.withLock { $0.open.values.map(\.latest.fillPercent).max() ?? 0 } }

  /// What is in all of them, and what has become of what was.
  var results: AgentMetrics.Results {
    state.withLock { state in
      state.open.values.reduce(into: state.past) { results, outbox in
        let counts = outbox.latest
        Self.add(counts, to: &results)
        results.waiting += counts.waiting
        results.fillPercent = max(results.fillPercent, counts.fillPercent)
      }
    }
  }

  /// Counts an outbox until `close`.
  func open(_ outbox: ResultOutbox) { state.withLock { $0.open[ObjectIdentifier(outbox)] = outbox } }

  /// Ends an outbox; what it has counted stays.
  func close(_ outbox: ResultOutbox) async {
    await outbox.close()
    state.withLock { state in
      guard state.open.removeValue(forKey: ObjectIdentifier(outbox)) != nil else { return }
      Self.add(outbox.latest, to: &state.past)
    }
  }

  private static func add(_ counts: ResultOutbox.Counts, to results: inout AgentMetrics.Results) {
    results.delivered += counts.delivered
    results.refused += counts.refused
    results.diskFailures += counts.diskFailures
  }
}
