package import Coordinator
package import FleetCoordination
package import KubernetesCore
package import MetricBridges
import ScalingAPI
package import ScalingController
import ScalingDecision
import Synchronization

/// What the controller tells other autoscalers: fed by its passes and by its looks at the budgets, as long as it leads.
package final class MetricBridge: BridgeSource, LeaderTask {
  private struct State {
    var book: BridgeBook
    var mayAct: (@Sendable () -> Bool)?
    var autoscalers: (@Sendable (String) -> [String])?
  }

  private let time: any TimeSource
  private let state: Mutex<State>

  /// Makes a bridge that knows nothing; `hasBudgets`: whether a coordinator runs.
  package init(hasBudgets: Bool, time: any TimeSource) {
    self.time = time
    state = Mutex(State(book: BridgeBook(hasBudgets: hasBudgets)))
  }

  /// Asks `autoscalers` for the names of those that there are in a namespace.
  package func attach(_ autoscalers: @escaping @Sendable (_ namespace: String) -> [String]) {
    state.withLock { $0.autoscalers = autoscalers }
  }

  // MARK: Observations

  /// Takes in a pass.
  package func observe(_ pass: Pass) {
    let (key, now) = (pass.autoscaler.metadata.key, time.monotonicNow)
    state.withLock { state in
      if let trouble = pass.trouble {
        state.book.failed(key, why: trouble.message)
      } else if let plan = pass.plan, let compiled = pass.compiled {
        // The goal, as in the status, and not what would be written: that waits for drains, which a dry run doesn't order.
        state.book.decided(
          key, replicas: plan.desiredReplicas, at: pass.now, period: compiled.resolved.syncPeriod, now: now)
      }
    }
  }

  /// An autoscaler is gone.
  package func forget(_ autoscaler: ObjectKey) { state.withLock { $0.book.forget(autoscaler) } }

  /// Takes in a look at the budgets.
  package func observe(_ report: CoordinatorReport, _ budgets: [BudgetObject]) {
    let readings = BudgetObject.headroom(of: budgets, report)
    let (at, now) = (time.wallNow, time.monotonicNow)
    state.withLock { $0.book.measured(readings, at: at, now: now) }
  }

  // MARK: LeaderTask

  package func lead(_ leadership: Leadership) async throws {
    state.withLock { state in
      state.book.begin()
      state.mayAct = leadership.mayAct
    }
    defer {
      state.withLock { state in
        state.book.end()
        state.mayAct = nil
      }
    }
    while true { try await time.sleep(for: .seconds(3600)) }
  }

  // MARK: BridgeSource

  package var metrics: [BridgedMetric] { state.withLock { $0.book.metrics } }

  package func answer(_ metric: BridgedMetric, namespace: String, selector: Selector) -> BridgeBook.Answer {
    let (mayAct, list) = state.withLock { ($0.mayAct, $0.autoscalers) }
    if let mayAct, !mayAct() {
      return .unavailable("this replica led and couldn't renew its lease: what it knows may be old")
    }
    let names = metric == .desiredReplicas ? list?(namespace) ?? [] : []
    let now = time.monotonicNow
    return state.withLock {
      $0.book.answer(metric, namespace: namespace, selector: selector, autoscalers: names, now: now)
    }
  }
}
