import KubernetesCore
import ScalingDecision
import ScalingObservation
import Synchronization

@testable import ScalingController

/// A coordinator in memory, with the workers that talk to it: what it knows is what the test says.
///
/// Workers are pods that are there until a plan names them as victims and the count falls; a drain order is answered
/// before the next pass.
final class ScriptedReports: FleetReports, FleetOrders {
  struct State {
    /// The workers that exist, by pod name, and what they do.
    var workers: [String: WorkerActivity] = [:]
    /// Whether workers have the embedded library at all.
    var areReporting = false
    var backlog: BacklogReport?
    /// The budgets by name, for the present count of workers and the time since the start in seconds.
    var budgets: [String: @Sendable (_ replicas: Int, _ seconds: Int64) -> BudgetReport] = [:]
    /// Whether the coordinator has just begun.
    var isLearning = false
    /// How old what is known is.
    var age = Duration.zero
    /// What the reports call the pod's uid; nil: its name, as `FakePod` does.
    var uid: String?
    var budgetReads = 0
    /// The timeouts of the drain orders that were given.
    var timeouts: [Duration] = []
    var replicas = 0
    var now = LoopTime.start
  }

  private let state = Mutex(State())

  func with<Value: Sendable>(_ body: (inout State) throws -> Value) rethrows -> Value {
    try state.withLock { state in try body(&state) }
  }

  /// Makes workers w-000, w-001, … that do what `activities` say.
  func setWorkers(_ activities: [WorkerActivity]) {
    with { state in
      state.areReporting = true
      for (number, activity) in activities.enumerated() { state.workers[FakePod.name(number)] = activity }
    }
  }

  /// The pods of the workers that exist.
  func pods(cpuPercent: Int64? = nil) -> [FakePod] {
    with { $0.workers.keys.sorted() }.map { FakePod(name: $0, cpuMilli: cpuPercent.map { $0 * 10 }) }
  }

  /// Changes what a worker does.
  func change(_ worker: String, _ body: (inout WorkerActivity) -> Void) {
    with { state in
      guard var activity = state.workers[worker] else { return }
      body(&activity)
      state.workers[worker] = activity
    }
  }

  /// Does to the workers what Kubernetes does once a plan's write is made: the plan's victims go.
  func carryOut(_ plan: Plan) {
    with { state in
      for victim in plan.victims { state.workers[victim] = nil }
    }
  }

  // MARK: FleetOrders

  func drain(_ pod: ObjectKey, timeout: Duration) async {
    with { state in
      state.timeouts.append(timeout)
      state.workers[pod.name]?.drain = .acknowledged(since: state.now)
    }
  }

  func withdrawDrain(_ pod: ObjectKey) async {
    with { $0.workers[pod.name]?.drain = .none }
  }

  // MARK: FleetReports

  var isLearning: Bool { with { $0.isLearning } }

  func activity(of autoscaler: ObjectKey) -> FleetActivityReport? {
    with { state in
      guard state.areReporting else { return nil }
      var report = FleetActivityReport(backlog: state.backlog)
      for (name, activity) in state.workers {
        report.workers[name] = .init(uid: state.uid ?? name, activity: activity, at: state.now - state.age)
      }
      return report
    }
  }

  func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport? {
    with { state in
      state.budgetReads += 1
      var report = state.budgets[name]?(state.replicas, (state.now - LoopTime.start).components.seconds)
      report?.at = state.now - state.age
      return report
    }
  }
}
