package import KubernetesCore
package import RateBudget
package import ScalingAPI

/// Renders what the coordinator knows of a budget as the object's status.
package enum BudgetStatusReport {
  /// The conditions of a budget.
  enum ConditionType {
    /// Whether the spec can be used.
    static let valid = "Valid"
    /// Whether requests are granted at all: money and long pauses stop everybody.
    static let admitting = "Admitting"
    /// Whether requests wait because a limit is reached.
    static let saturated = "Saturated"
  }

  /// The status of `budget`; `report` nil: nobody has drawn from it yet.
  package static func status(of budget: BudgetObject, report: GroupReport?, now: Timestamp) -> APIBudget.Status {
    let metadata = budget.object.metadata
    let previous = budget.object.status?.conditions ?? []
    func condition(_ type: String, _ isTrue: Bool, _ reason: String, _ message: String) -> SwarmAutoscaler.Condition {
      let text = isTrue ? "True" : "False"
      let old = previous.first { $0.type == type }
      let since = old?.status?.text == text ? old?.lastTransitionTime : nil
      return SwarmAutoscaler.Condition(
        type: type, status: .init(text), reason: reason, message: message,
        lastTransitionTime: since ?? Timestamp(secondsSinceEpoch: now.secondsSinceEpoch),
        observedGeneration: metadata.generation)
    }
    guard budget.resolved != nil else {
      return APIBudget.Status(
        observedGeneration: metadata.generation,
        conditions: [condition(ConditionType.valid, false, "InvalidSpec", budget.issues)])
    }
    let valid = condition(
      ConditionType.valid, true, budget.issues.isEmpty ? "SpecAccepted" : "SpecHasWarnings",
      budget.issues.isEmpty ? "the spec can be used" : budget.issues)
    guard let report else {
      return APIBudget.Status(
        observedGeneration: metadata.generation, clients: 0, summary: "no use yet",
        conditions: [condition(ConditionType.admitting, true, "Idle", "no worker has drawn from it yet"), valid])
    }
    return APIBudget.Status(
      observedGeneration: metadata.generation, dimensions: report.dimensions.compactMap(dimension),
      pressurePercent: percent(report.pressurePPM), queueWaitP95Milliseconds: report.queueWaitP95Milliseconds,
      rejections: APIBudget.Rejections(
        rate: count(report, .rate), ramp: count(report, .ramp), spend: count(report, .spend),
        overloaded: count(report, .overloaded)),
      spend: APIBudget.SpendStatus(
        lastHourUSD: dollars(report.spentLastHour), todayUSD: dollars(report.spentToday)),
      clients: Int32(clamping: report.clients), summary: summary(report),
      conditions: [
        condition(
          ConditionType.admitting, report.standing == nil, report.standing.map(reason) ?? "WithinLimits",
          report.standing?.explanation ?? "requests are granted as the limits allow"),
        saturated(report, condition), valid,
      ])
  }

  private static func saturated(
    _ report: GroupReport, _ condition: (String, Bool, String, String) -> SwarmAutoscaler.Condition
  ) -> SwarmAutoscaler.Condition {
    guard report.waiting > 0, let full = report.dimensions.first(where: { $0.dimension == report.limiting }) else {
      return condition(ConditionType.saturated, false, "NoQueue", "no request waits for its grant")
    }
    // No numbers that move all the time: the conditions are written when they change.
    return condition(
      ConditionType.saturated, true, "RequestsWait",
      "requests wait for \(name(full.dimension)): the limit of \(full.limit) a minute (\(source(full.source))) is used "
        + "to its target")
  }

  private static func dimension(_ report: GroupReport.DimensionReport) -> APIBudget.DimensionStatus? {
    let name: APIBudget.Dimension
    switch report.dimension {
    case .requests: name = .requests
    case .inputTokens: name = .inputTokens
    case .outputTokens: name = .outputTokens
    // The older kind of limit stands in the summary; a status has one entry for input.
    case .inputTokensTotal: return nil
    }
    let origin: APIBudget.LimitSource =
      switch report.source {
      case .configuration: .spec
      case .headers: .headers
      case .assumed: .assumed
      }
    return APIBudget.DimensionStatus(
      name: .init(name.rawValue), limit: Quantity(report.limit), source: .init(origin.rawValue),
      admitted: Quantity(report.admitted), waiting: Quantity(report.waiting), foreign: Quantity(report.foreign),
      utilizationPercent: percent(report.utilizationPPM))
  }

  private static func summary(_ report: GroupReport) -> String {
    report.dimensions.map { "\(name($0.dimension)) \(percent($0.utilizationPPM))%" }.joined(separator: ", ")
  }

  private static func name(_ dimension: Dimension) -> String {
    switch dimension {
    case .requests: "requests"
    case .inputTokens: "input"
    case .inputTokensTotal: "input with cache reads"
    case .outputTokens: "output"
    }
  }

  private static func source(_ source: LimitSource) -> String {
    switch source {
    case .configuration: "from the spec"
    case .headers: "learned from response headers"
    case .assumed: "assumed until a response tells better"
    }
  }

  private static func reason(_ refusal: Refusal) -> String {
    switch refusal {
    case .queueFull: "QueueFull"
    case .tooManyClients: "TooManyClients"
    case .spendCeiling: "SpendCeilingReached"
    case .upstreamSpendLimit: "ProviderSpendLimitReached"
    case .upstreamPause, .deadlineBeforeRetry: "ProviderPause"
    }
  }

  private static func percent(_ partsPerMillion: Int64) -> Int32 { Int32(clamping: (partsPerMillion + 5_000) / 10_000) }

  /// Dollars and cents, rounded down. A quantity's own form would be 9338601u.
  static func dollars(_ microDollars: Int64) -> String {
    let cents = max(microDollars, 0) / 10_000
    return "\(cents / 100).\(cents % 100 < 10 ? "0" : "")\(cents % 100)"
  }

  private static func count(_ report: GroupReport, _ kind: RejectionKind) -> Int32 {
    report.rejections.indices.contains(kind.rawValue) ? Int32(clamping: report.rejections[kind.rawValue]) : 0
  }
}
