package import KubernetesCore
package import KubernetesRuntime
package import ScalingAPI
package import ScalingDecision
import ScalingObservation

/// One pass over one autoscaler: observe, plan, execute, report, in this order and never mixed.
package struct AutoscalerReconciler: Sendable {
  /// The settings that the command line gives.
  package struct Settings: Sendable {
    /// What fills in specs.
    package var defaults: ResolvedAutoscaler.Defaults
    /// The constants of decisions.
    package var limits: DecisionLimits
    /// Our name in `managedFields`.
    package var fieldManager: String
    /// From how many autoscalers on one list of a namespace's pod metrics serves all of them.
    package var sharedListThreshold: Int

    /// Makes settings.
    package init(
      defaults: ResolvedAutoscaler.Defaults = .init(), limits: DecisionLimits = .init(),
      fieldManager: String = "swarmscale-controller", sharedListThreshold: Int = 4
    ) {
      self.defaults = defaults
      self.limits = limits
      self.fieldManager = fieldManager
      self.sharedListThreshold = sharedListThreshold
    }
  }

  /// How often a conflicting write is decided anew within one pass.
  private static let conflictRetries = 3

  private let settings: Settings
  private let lookup: any ClusterLookup
  private let targets: ScaleTargets
  private let features: ServerFeatures
  private let collector: MetricsCollector
  private let reports: (any FleetReports)?
  private let orders: FleetOrderCarrier?
  private let memories: AutoscalerMemories
  private let reporter: PassReporter
  private let time: any TimeSource
  private let mayAct: @Sendable () -> Bool

  /// Makes a reconciler; `mayAct` tells whether we (still) lead. Without `reports` no worker's work is known, and there
  /// is nobody for `orders`.
  package init(
    settings: Settings, lookup: any ClusterLookup, targets: ScaleTargets, features: ServerFeatures,
    collector: MetricsCollector,
    reports: (any FleetReports)? = nil, orders: FleetOrderCarrier? = nil, memories: AutoscalerMemories,
    reporter: PassReporter, time: any TimeSource,
    mayAct: @escaping @Sendable () -> Bool
  ) {
    self.settings = settings
    self.lookup = lookup
    self.targets = targets
    self.features = features
    self.collector = collector
    self.reports = reports
    self.orders = orders
    self.memories = memories
    self.reporter = reporter
    self.time = time
    self.mayAct = mayAct
  }

  /// Makes one pass over the autoscaler called `key` and tells when the next is due.
  package func reconcile(_ key: ObjectKey) async -> WorkOutcome {
    guard let autoscaler = lookup.autoscaler(key) else {
      memories.forget(key)
      reporter.forget(key)
      return .done
    }
    guard mayAct() else { return .done }
    let began = time.monotonicNow
    var memory = memories.take(autoscaler)
    var pass = Pass(autoscaler: autoscaler, now: time.wallNow)
    do throws(Trouble) {
      try await observe(&pass, &memory)
      try await planAndExecute(&pass, &memory)
    } catch {
      // Cancelled with the leadership: what failed by that is nobody's trouble, and the next leader begins anew.
      if Task.isCancelled { return .done }
      pass.trouble = error
    }
    let reported = await reporter.report(pass, &memory, tookFrom: began, mayAct: mayAct)
    memories.put(memory, for: key)
    return outcome(pass, reported: reported)
  }

  // MARK: Observe

  private func observe(_ pass: inout Pass, _ memory: inout AutoscalerMemory) async throws(Trouble) {
    let compiled = try compile(pass.autoscaler, &memory)
    pass.compiled = compiled
    let namespace = pass.autoscaler.metadata.namespace
    let reference = compiled.resolved.target
    let target = try await targets.read(
      apiVersion: reference.apiVersion, kind: reference.kind, name: reference.name, namespace: namespace)
    pass.target = target
    pass.compiled?.decision.drain.removal = RemovalOrder(group: target.resource.group, kind: target.kind)
    pass.compiled?.decision.drain.heedsDeletionCost = await features.heedsDeletionCost()
    pass.compiled?.decision.drain.expectsReports = expectsReports(compiled.resolved, target, pass.autoscaler)
    pass.now = time.wallNow
    let rival = lookup.olderRival(of: pass.autoscaler)
    if rival == nil, needsMetrics(target.scale, compiled.decision, memory.state) {
      let scope = MetricScope(
        namespace: namespace, autoscaler: pass.autoscaler.metadata.name, podSelector: target.selector,
        sharesNamespace: lookup.autoscalerCount(inNamespace: namespace) >= settings.sharedListThreshold,
        pods: lookup.pods(inNamespace: target.key.namespace, matching: target.selector).map(\.key.name).sorted())
      pass.collected = await collector.collect(compiled.queries, in: scope)
      pass.now = time.wallNow
    }
    pass.input = await input(pass, target, &memory, rival: rival)
    if compiled.resolved.embedMode == .sidecar {
      pass.unembedded = .init(lookup.pods(inNamespace: target.key.namespace, matching: target.selector))
    }
  }

  /// Whether a worker without a report has lost contact, and not its work: one of the fleet has reported, or they are known
  /// to embed the library, be it that the coordinator can't be reached by any of them.
  private func expectsReports(
    _ resolved: ResolvedAutoscaler, _ target: ScaleTarget, _ autoscaler: SwarmAutoscaler
  ) -> Bool {
    guard let reports else { return false }
    if let report = reports.activity(of: autoscaler.metadata.key) { return report.expectsReports }
    if reports.isLearning || resolved.embedMode == .library { return true }
    return lookup.pods(inNamespace: target.key.namespace, matching: target.selector).contains { pod in
      pod.containers.contains { $0.name == ScalingGroup.sidecarContainer }
    }
  }

  private func compile(
    _ autoscaler: SwarmAutoscaler, _ memory: inout AutoscalerMemory
  ) throws(Trouble) -> CompiledAutoscaler {
    let metadata = autoscaler.metadata
    if let compiled = memory.compiled, compiled.generation == metadata.generation, metadata.generation != 0,
      compiled.annotations == metadata.annotations
    {
      return try compiled.result.get()
    }
    let result = Result { () throws(Trouble) in
      try CompiledAutoscaler(autoscaler, defaults: settings.defaults, limits: settings.limits)
    }
    memory.compiled = (metadata.generation, metadata.annotations, result)
    return try result.get()
  }

  /// Outside its bounds, and at a zero that somebody set by hand, the count is decided without metrics: then none are
  /// read, so that an edit of the bounds takes effect at once while a metrics API hangs.
  private func needsMetrics(_ scale: Scale, _ spec: DecisionSpec, _ state: DecisionState) -> Bool {
    let replicas = Int(scale.replicas)
    if replicas == 0 { return state.isScaledToZero && spec.minReplicas == 0 }
    return replicas >= spec.minReplicas && replicas <= spec.maxReplicas
  }

  private func input(
    _ pass: Pass, _ target: ScaleTarget, _ memory: inout AutoscalerMemory, rival: String?
  ) async -> DecisionInput {
    var foreign: ForeignWriter?
    if let expected = memory.state.expectedReplicas, expected != Int(target.scale.replicas) {
      let fields = await targets.managedFields(of: target)
      foreign = ForeignWriter(fields, ownManager: settings.fieldManager)
      if let own = ForeignWriter.ownWrite(in: fields, ownManager: settings.fieldManager, newerThan: foreign) {
        foreign = nil
        memory.state.adoptOwnWrite(of: Int(target.scale.replicas), at: own)
      }
    }
    let pods = lookup.pods(inNamespace: target.key.namespace, matching: target.selector)
    // Read anew for each attempt: a worker may have taken work since it was chosen (D07).
    let activity = reports?.activity(of: pass.autoscaler.metadata.key)
    return Observation.input(
      now: pass.now, specReplicas: Int(target.scale.replicas), statusReplicas: Int(target.scale.observedReplicas),
      pods: pods, metrics: pass.compiled?.decision.metrics ?? [], readings: pass.collected.map(\.reading),
      reports: activity, freshness: settings.limits.freshness, foreignWriter: foreign, olderRival: rival)
  }

  // MARK: Plan and execute

  private func planAndExecute(_ pass: inout Pass, _ memory: inout AutoscalerMemory) async throws(Trouble) {
    guard let compiled = pass.compiled else { return }
    for attempt in 0...Self.conflictRetries {
      guard let input = pass.input, let target = pass.target else { return }
      let plan = ScalingDecision.decide(compiled.decision, memory.state, input)
      pass.plan = plan
      pass.decisions.append(Pass.Decision(stateBefore: memory.state, input: input, plan: plan))
      try await carryOut(plan, &pass, &memory)
      guard let replicas = plan.write else {
        memory.state = plan.state
        return
      }
      guard mayAct() else {
        throw Trouble(.ableToScale, "LeadershipLost", "another controller leads now; nothing was written")
      }
      do {
        pass.target?.scale = try await targets.write(replicas, to: target)
        pass.hasWritten = true
        memory.state = plan.state
        return
      } catch let error as KubernetesError where error.code == .conflict && attempt < Self.conflictRetries {
        let fresh = try await targets.reread(target)
        pass.target = fresh
        pass.input = await self.input(pass, fresh, &memory, rival: input.olderRival)
      } catch let error as KubernetesError {
        memory.state = plan.stateIfWriteFails(after: memory.state)
        throw Trouble(
          .ableToScale, "FailedUpdateScale", "can't set \(target.kind) \(target.key) to \(replicas) replicas", error)
      } catch {
        memory.state = plan.stateIfWriteFails(after: memory.state)
        throw Trouble(.ableToScale, "FailedUpdateScale", "\(error)", retry: .backOff(after: nil))
      }
    }
  }

  /// Tells workers what the plan orders, before the write that relies on it.
  private func carryOut(_ plan: Plan, _ pass: inout Pass, _ memory: inout AutoscalerMemory) async throws(Trouble) {
    guard let orders, !plan.orders.isEmpty, mayAct() else { return }
    do {
      try await orders.carryOut(
        memory.costUpdates.bounded(plan.orders, now: time.monotonicNow),
        namespace: pass.autoscaler.metadata.namespace,
        lifetime: pass.compiled?.decision.drain.orderLifetime ?? DrainSpec().orderLifetime)
      pass.hasOrdered = true
    } catch {
      memory.state = plan.stateIfWriteFails(after: memory.state)
      throw Trouble(
        .ableToScale, "FailedDrain",
        "can't mark pods for removal, so that nothing is removed: their \(Pod.deletionCostAnnotation) annotation", error
      )
    }
  }

  // MARK: What next

  private func outcome(_ pass: Pass, reported: Bool) -> WorkOutcome {
    let period = pass.compiled?.resolved.syncPeriod ?? settings.defaults.syncPeriod
    if case .backOff(let after) = pass.trouble?.retry { return .retry(after: after) }
    guard reported else { return .retry(after: nil) }
    // A window or policy that ends between two syncs is not waited for in whole periods.
    guard let deadline = pass.plan?.nextDeadline, deadline > pass.now else { return .requeue(after: period) }
    return .requeue(after: min(period, max(deadline - pass.now, .milliseconds(100))))
  }
}
