import Coordinator
import FleetCoordination
import KubernetesCore
import Observability
import RateBudget
import ScalingAPI
import ScalingController
import ScalingDecision
import StatusPage

// What the controller's parts know, in the page's terms.

extension StatusPage {
  /// Takes in a pass.
  func observe(_ pass: Pass) {
    // Who has lost the leadership meanwhile decided on what another may have changed: the page shows what happened.
    let plan = pass.hasWritten || pass.trouble == nil ? pass.plan : nil
    let workers = pass.input?.workers ?? []
    let reported = workers.compactMap(\.activity)
    let told = pass.trouble.map { "\($0.reason) \($0.message)" } ?? plan.map(StatusReport.signature) ?? ""
    let target = pass.target.map { "\($0.kind)/\($0.key.name)" } ?? ""
    var observation = PageModel.Observation(
      key: pass.autoscaler.metadata.key, at: pass.now, target: target, plan: plan,
      ready: pass.input == nil ? nil : workers.count { $0.isAlive && $0.isReady },
      inFlight: reported.isEmpty ? nil : reported.reduce(0) { $0 + $1.inFlight }, hasWritten: pass.hasWritten,
      trouble: pass.trouble?.message, signature: "\(told) \(plan?.desiredReplicas ?? -1)".hashValue)
    observation.removedBusy = pass.losses.removedBusy
    observation.lostWork = pass.losses.lost
    observe(observation) { withWorkers in Self.record(of: pass, withWorkers: withWorkers) }
  }

  /// The pass's last decision as a line of the decision log; empty: there was none, or it can't be written.
  private static func record(of pass: Pass, withWorkers: Bool) -> [UInt8] {
    guard let spec = pass.compiled?.decision, let decision = pass.decisions.last else { return [] }
    let record = DecisionRecord(
      program: swarmscaleVersion, namespace: pass.autoscaler.metadata.namespace, name: pass.autoscaler.metadata.name,
      spec: spec, stateBefore: decision.stateBefore, input: decision.input, plan: decision.plan)
    do throws(KubernetesError) {
      return try (withWorkers ? record : record.withoutWorkers).line()
    } catch {
      // The words stand in the list all the same.
      return []
    }
  }

  /// Asks `controller` and `reports` when somebody looks.
  func attach(to controller: ScalingControllerService, reports: (any FleetReports)?) {
    attach(
      Sources(
        leadership: { Leadership(isLeader: controller.isLeader, holder: controller.leaderIdentity) },
        activity: { reports?.activity(of: $0) }, reason: { controller.reason(of: $0) },
        hasCoordinator: reports != nil))
  }
}

/// Makes the page begin anew with each leadership: who doesn't lead knows nothing, and shows nothing.
struct PageLeadership: LeaderTask {
  /// The page.
  let page: StatusPage
  /// The clocks.
  let time: any TimeSource

  func lead(_ leadership: ScalingController.Leadership) async throws {
    page.reset()
    defer { page.reset() }
    while true { try await time.sleep(for: .seconds(3600)) }
  }
}

extension BudgetSample {
  /// The budgets that workers draw from, as the coordinator sees them.
  static func samples(of report: CoordinatorReport, _ budgets: [BudgetObject]) -> [BudgetSample] {
    var groups: [String: GroupReport] = [:]
    for group in report.groups where group.key.speed.isEmpty { groups[group.key.modelGroup] = group.report }
    return budgets.compactMap { budget in
      guard let resolved = budget.resolved, let report = groups[ResolvedBudget.modelGroup(of: budget.key)] else {
        return nil
      }
      return BudgetSample(budget.key, report, lower: Int(resolved.target.lower))
    }
  }

  private init(_ key: ObjectKey, _ report: GroupReport, lower: Int) {
    let count = { (kind: RejectionKind) in
      report.rejections.indices.contains(kind.rawValue) ? report.rejections[kind.rawValue] : 0
    }
    self.init(
      key: key,
      dimensions: report.dimensions.map { dimension in
        Dimension(
          name: DimensionName(dimension.dimension), limit: dimension.limit, admitted: dimension.admitted,
          waiting: dimension.waiting, foreign: dimension.foreign,
          lowerPercent: min(lower, Int(clamping: dimension.targetPercent)),
          upperPercent: Int(clamping: dimension.targetPercent), source: Self.words(dimension.source))
      }, waitP95Milliseconds: report.queueWaitP95Milliseconds, waiting: report.waiting, rejectedForRate: count(.rate),
      rejectedForRamp: count(.ramp), overloaded: count(.overloaded), spentToday: report.spentToday,
      dailyLimit: report.spendLimits.perDay, clients: report.clients, isLearning: report.isLearning,
      standing: report.standing?.explanation)
  }

  private static func words(_ source: LimitSource) -> String {
    switch source {
    case .configuration: "spec"
    case .headers: "response headers"
    case .assumed: "assumed"
    }
  }
}

extension BudgetSample.DimensionName {
  fileprivate init(_ dimension: Dimension) {
    switch dimension {
    case .requests: self = .requests
    case .inputTokens: self = .inputTokens
    case .inputTokensTotal: self = .inputTokensTotal
    case .outputTokens: self = .outputTokens
    }
  }
}
