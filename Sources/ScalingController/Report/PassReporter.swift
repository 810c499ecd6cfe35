package import KubernetesCore
package import KubernetesRuntime
package import Logging
package import Observability
import ScalingAPI
import ScalingDecision

/// Tells the world about a pass: log line, event, status, metrics; all are renderings of the pass.
package struct PassReporter: Sendable {
  private let client: APIClient
  private let events: EventRecorder
  private let registry: MetricsRegistry
  private let time: any TimeSource
  private let logger: Logger
  private let fieldManager: String
  private let onPass: @Sendable (Pass) -> Void
  private let onForget: @Sendable (ObjectKey) -> Void

  /// Makes a reporter; `onPass` sees every pass, for the decision log and the page, `onForget` each object that is gone.
  package init(
    client: APIClient, events: EventRecorder, registry: MetricsRegistry, time: any TimeSource, logger: Logger,
    fieldManager: String, onPass: @escaping @Sendable (Pass) -> Void = { _ in },
    onForget: @escaping @Sendable (ObjectKey) -> Void = { _ in }
  ) {
    self.client = client
    self.events = events
    self.registry = registry
    self.time = time
    self.logger = logger
    self.fieldManager = fieldManager
    self.onPass = onPass
    self.onForget = onForget
  }

  /// Reports a pass; false when the status couldn't be written and the pass should be made again soon.
  package func report(
    _ pass: Pass, _ memory: inout AutoscalerMemory, tookFrom began: MonotonicTime, mayAct: @Sendable () -> Bool
  ) async -> Bool {
    var pass = pass
    tell(pass, &memory)
    tellDrains(pass, &memory)
    pass.losses = memory.drains.totals
    tellUnembedded(pass, &memory)
    let status = StatusReport.status(of: pass, previous: memory.status, state: memory.state)
    count(pass, status, &memory, tookFrom: began)
    let isWritten = mayAct() ? await write(status, pass, &memory) : true
    onPass(pass)
    return isWritten
  }

  /// Drops the series of an object that is gone.
  package func forget(_ key: ObjectKey) {
    registry.removeSeries(withLabelPrefix: [key.namespace, key.name], of: ControllerMetrics.families)
    onForget(key)
  }

  // MARK: Log and events

  private func tell(_ pass: Pass, _ memory: inout AutoscalerMemory) {
    let key = pass.autoscaler.metadata.key
    var metadata: Logger.Metadata = [LogKey.autoscaler: "\(key)"]
    if let target = pass.target { metadata[LogKey.target] = "\(target.kind)/\(target.key.name)" }
    if let plan = pass.plan, pass.hasWritten || pass.trouble == nil {
      tell(plan, pass, metadata, &memory)
    }
    if let trouble = pass.trouble {
      let told = AutoscalerMemory.Told(text: "\(trouble.reason) \(trouble.message)", desired: nil)
      guard memory.told != told else { return }
      memory.told = told
      metadata[LogKey.reason] = "\(trouble.reason)"
      logger.warning("\(key.name): \(trouble.message)", metadata: metadata)
      record(pass, .warning, trouble.reason, trouble.message)
    }
  }

  /// One line for each change of size and each change of the reasons.
  private func tell(_ plan: Plan, _ pass: Pass, _ metadata: Logger.Metadata, _ memory: inout AutoscalerMemory) {
    let told = AutoscalerMemory.Told(text: StatusReport.signature(of: plan), desired: plan.desiredReplicas)
    guard memory.told != told || pass.hasWritten else { return }
    memory.told = told
    var metadata = metadata
    metadata[LogKey.replicasFrom] = "\(plan.currentReplicas)"
    metadata[LogKey.replicasTo] = "\(plan.write ?? plan.currentReplicas)"
    metadata[LogKey.reason] = "\(plan.bindingStep.rawValue)"
    if let ambiguity = pass.ambiguity {
      let message = pass.message(of: ambiguity)
      logger.warning("\(pass.autoscaler.metadata.name): \(message)", metadata: metadata)
      record(pass, .warning, ambiguity.reason, message)
      return
    }
    logger.info("\(plan.logLine(name: pass.autoscaler.metadata.name))", metadata: metadata)
    if pass.hasWritten, let written = plan.write {
      record(pass, .normal, "SuccessfulRescale", "New size: \(written); reason: \(plan.eventMessage)")
    }
    for index in plan.proposals.indices {
      // A default metric that nobody reports is silent, and an empty reply can have a meaning (`absent`): neither is a
      // failure. One that a fallback stands in for is.
      guard plan.reasons.contains(.unknown(metric: index)), let trouble = pass.metricTrouble(at: index) else {
        continue
      }
      let name = plan.proposals[index].name
      metadata[LogKey.error] = "\(trouble)"
      logger.warning("\(pass.autoscaler.metadata.name): no value for metric \(name)", metadata: metadata)
      record(pass, .warning, plan.proposals[index].failureReason, "no value for metric \(name): \(trouble)")
    }
  }

  /// Counts what became of drains, and tells of what people should know.
  private func tellDrains(_ pass: Pass, _ memory: inout AutoscalerMemory) {
    guard let input = pass.input, let plan = pass.plan else { return }
    let news = memory.drains.observe(input, plan, isCarriedOut: pass.hasOrdered, hasWritten: pass.hasWritten)
    let key = pass.autoscaler.metadata.key
    for (outcome, count) in [
      ("ordered", news.ordered), ("acknowledged", news.acknowledged), ("drained", news.drained),
      ("refused", news.refused), ("cancelled", news.cancelled), ("timed_out", news.timedOut.count),
    ] where count > 0 {
      registry.increment(ControllerMetrics.drains, by: Double(count), [key.namespace, key.name, outcome])
    }
    for duration in news.durations { registry.observe(ControllerMetrics.drainSeconds, duration.secondsAsDouble) }
    if !news.removedBusy.isEmpty {
      registry.increment(
        ControllerMetrics.removedBusy, by: Double(news.removedBusy.count), [key.namespace, key.name])
    }
    if news.lost > 0 {
      registry.increment(ControllerMetrics.lostWork, by: Double(news.lost), [key.namespace, key.name])
    }
    if news.ordered > 0 { record(pass, .normal, "DrainOrdered", "\(news.ordered) workers were told to drain") }
    if news.cancelled > 0 { record(pass, .normal, "DrainCancelled", "\(news.cancelled) workers were called back") }
    if let worker = news.timedOut.first {
      record(
        pass, .warning, "DrainTimedOut",
        "\(news.timedOut.count) busy workers were given up after the drain timeout, \(worker) among them")
    }
    if let worker = news.removedBusy.first {
      record(
        pass, .warning, "RemovedBusy",
        "\(news.removedBusy.count) workers were removed while they had work, \(worker) among them")
    }
    if news.lost > 0 {
      record(pass, .warning, "WorkLost", "\(news.lost) pieces of work were in hand when their workers were gone")
    }
  }

  /// Told once, until every pod has the sidecar.
  private func tellUnembedded(_ pass: Pass, _ memory: inout AutoscalerMemory) {
    guard let unembedded = pass.unembedded else { return }
    defer { memory.hasToldUnembedded = !unembedded.pods.isEmpty }
    // After a failover the condition says whether it was told.
    let type = ScalingGroup.ConditionType.embedMissing
    let isKnown = memory.status?.conditions?.contains { $0.type == type && $0.status?.text == "True" } ?? false
    guard !unembedded.pods.isEmpty, !memory.hasToldUnembedded, !isKnown else { return }
    let message = unembedded.message(of: pass.target)
    logger.warning(
      "\(pass.autoscaler.metadata.name): \(message)", metadata: [LogKey.autoscaler: "\(pass.autoscaler.metadata.key)"])
    record(pass, .warning, type, message)
  }

  private func record(_ pass: Pass, _ severity: CoreEvent.Severity, _ reason: String, _ message: String) {
    events.record(
      EventOccurrence(
        object: ObjectReference(to: pass.autoscaler), severity: severity, reason: reason, message: message))
  }

  // MARK: Status

  private func write(
    _ status: SwarmAutoscaler.Status, _ pass: Pass, _ memory: inout AutoscalerMemory
  ) async -> Bool {
    let isHistoryDue = memory.lastHistoryWrite.map { time.monotonicNow - $0 >= StatusReport.historyPeriod } ?? true
    guard status.differs(from: memory.status, comparingHistory: isHistoryDue || pass.hasWritten) else { return true }
    do {
      let old = try KubernetesJSON.value(of: memory.status ?? SwarmAutoscaler.Status())
      let new = try KubernetesJSON.value(of: status)
      guard let patch = JSONValue.mergePatch(from: old, to: new) else { return true }
      let body = try KubernetesJSON.encode(JSONValue.object(["status": patch]))
      let request = try APIRequest.patch(
        SwarmAutoscaler.resource, pass.autoscaler.metadata.key, .status, .merge(body),
        WriteOptions(fieldManager: fieldManager, priority: .status))
      _ = try await client.raw(request)
      memory.status = status
      memory.statusFailure = nil
      memory.lastHistoryWrite = time.monotonicNow
      registry.increment(ControllerMetrics.statusWrites, ["success"])
      return true
    } catch let error as KubernetesError where error.code == .notFound {
      return true
    } catch {
      registry.increment(ControllerMetrics.statusWrites, ["failure"])
      // What the server refuses is ours or the operator's to mend, so it is told; once, since each pass tries again.
      let isRefused = [.invalid, .forbidden].contains((error as? KubernetesError)?.code)
      let isTold = memory.statusFailure == "\(error)"
      memory.statusFailure = "\(error)"
      logger.log(
        level: isRefused && !isTold ? .warning : .debug, "status not written",
        metadata: [LogKey.autoscaler: "\(pass.autoscaler.metadata.key)", LogKey.error: "\(error)"])
      return false
    }
  }

  // MARK: Metrics

  private func count(
    _ pass: Pass, _ status: SwarmAutoscaler.Status, _ memory: inout AutoscalerMemory, tookFrom began: MonotonicTime
  ) {
    let key = pass.autoscaler.metadata.key
    let labels = [key.namespace, key.name]
    registry.observe(ControllerMetrics.reconcileSeconds, (time.monotonicNow - began).secondsAsDouble)
    registry.increment(ControllerMetrics.reconciles, [pass.trouble?.reason ?? "Success"])
    if let current = status.currentReplicas {
      registry.set(ControllerMetrics.currentReplicas, to: Double(current), labels)
    }
    if let desired = status.desiredReplicas {
      registry.set(ControllerMetrics.desiredReplicas, to: Double(desired), labels)
    }
    for condition in status.conditions ?? [] {
      registry.set(
        ControllerMetrics.condition, to: condition.status?.text == "True" ? 1 : 0,
        [key.namespace, key.name, condition.type ?? ""])
    }
    guard let plan = pass.plan else { return }
    if memory.shownStep != plan.bindingStep {
      // One series for each autoscaler, not one for each step: a thousand fleets would have sixteen thousand.
      for step in memory.shownStep.map({ [$0] }) ?? BindingStep.allCases {
        registry.remove(ControllerMetrics.bindingStep, [key.namespace, key.name, step.rawValue])
      }
      registry.set(ControllerMetrics.bindingStep, to: 1, [key.namespace, key.name, plan.bindingStep.rawValue])
      memory.shownStep = plan.bindingStep
    }
    for proposal in plan.proposals {
      guard let replicas = proposal.replicas else { continue }
      registry.set(
        ControllerMetrics.proposedReplicas, to: Double(replicas),
        [key.namespace, key.name, proposal.name, proposal.role.rawValue])
    }
    if let written = plan.write {
      registry.increment(
        ControllerMetrics.scaleWrites,
        [written > plan.currentReplicas ? "up" : "down", pass.hasWritten ? "success" : "failure"])
    }
  }
}

extension Duration {
  /// This duration in seconds, for metrics only.
  fileprivate var secondsAsDouble: Double {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}
