package import KubernetesCore

/// The feature gates of Kubernetes that change what the HPA computes, by default as in 1.36.
package struct HPAFeatureGates: Hashable, Sendable {
  /// `HPAScaleToZero`, alpha.
  package var scaleToZero: Bool
  /// `HPAConfigurableTolerance`, beta.
  package var configurableTolerance: Bool
  /// `PodLevelResources`, beta.
  package var podLevelResources: Bool

  /// Makes a set of gates.
  package init(scaleToZero: Bool = false, configurableTolerance: Bool = true, podLevelResources: Bool = true) {
    self.scaleToZero = scaleToZero
    self.configurableTolerance = configurableTolerance
    self.podLevelResources = podLevelResources
  }
}

/// The options of kube-controller-manager that the HPA reads, by default those of Kubernetes.
package struct HPAControllerOptions: Hashable, Sendable {
  /// `--horizontal-pod-autoscaler-tolerance`, a fraction of the target.
  package var tolerance: Double
  /// `--horizontal-pod-autoscaler-downscale-stabilization`.
  package var downscaleStabilization: Duration
  /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
  package var cpuInitializationPeriod: Duration
  /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
  package var initialReadinessDelay: Duration
  /// The feature gates.
  package var featureGates: HPAFeatureGates

  /// Makes options.
  package init(
    tolerance: Double = 0.1, downscaleStabilization: Duration = .seconds(300),
    cpuInitializationPeriod: Duration = .seconds(300), initialReadinessDelay: Duration = .seconds(30),
    featureGates: HPAFeatureGates = HPAFeatureGates()
  ) {
    self.tolerance = tolerance
    self.downscaleStabilization = downscaleStabilization
    self.cpuInitializationPeriod = cpuInitializationPeriod
    self.initialReadinessDelay = initialReadinessDelay
    self.featureGates = featureGates
  }
}

/// What one metric of the spec reads at a pass.
package enum HPAMetricSample: Hashable, Sendable {
  /// One sample for each pod: Resource, ContainerResource, Pods.
  case pods([String: HPAPodMetric])
  /// One number: Object.
  case value(Int64)
  /// One number for each series: External.
  case values([Int64])
  /// The metrics API failed.
  case failed(String)
}

/// What the controller reads at one pass.
package struct HPAStep: Hashable, Sendable {
  /// The scale's `spec.replicas`.
  package var specReplicas: Int32
  /// The scale's `status.replicas`.
  package var statusReplicas: Int32
  /// The scale's `status.selector`, as text.
  package var selector: String
  /// The pods of the namespace; the selector is applied to their labels.
  package var pods: [HPAPod]
  /// One sample for each metric of the spec, in its order; one that is missing counts as failed.
  package var samples: [HPAMetricSample]
  /// The failure to read the scale.
  package var scaleGetError: String?
  /// The failure to write the scale, should it come to that.
  package var scaleUpdateError: String?
  /// The failure to list pods.
  package var podListError: String?

  /// Makes a step.
  package init(
    specReplicas: Int32, statusReplicas: Int32, selector: String, pods: [HPAPod], samples: [HPAMetricSample],
    scaleGetError: String? = nil, scaleUpdateError: String? = nil, podListError: String? = nil
  ) {
    self.specReplicas = specReplicas
    self.statusReplicas = statusReplicas
    self.selector = selector
    self.pods = pods
    self.samples = samples
    self.scaleGetError = scaleGetError
    self.scaleUpdateError = scaleUpdateError
    self.podListError = podListError
  }
}

/// What one pass did.
package struct HPAStepResult: Hashable, Sendable {
  /// The replica count that was written; nil where none was.
  package var scaledTo: Int32?
  /// The status that the HPA has afterwards.
  package var status: HPAStatus
  /// The events, in order.
  package var events: [HPAEvent]
  /// The error that the pass returned; it may be set although the target was scaled.
  package var error: String?
}

/// The HPA controller's work on one object: a pass reads a step and gives the writes that Kubernetes 1.36 would make.
///
/// Source: `reconcileAutoscaler` of `pkg/controller/podautoscaler/horizontal.go`. The struct is all the state there
/// is: the history that the controller keeps in memory, and the status that the object keeps.
package struct HPAController: Hashable, Sendable {
  /// Another HPA of the namespace, whose pods must not be these.
  package struct Neighbour: Hashable, Sendable {
    /// Its name.
    package var name: String
    /// The selector of its target.
    package var selector: HPALabelSelector

    /// Makes a neighbour.
    package init(name: String, selector: HPALabelSelector) {
      self.name = name
      self.selector = selector
    }
  }

  /// The HPA's namespace and name, for texts.
  package var namespace: String
  /// The spec, with its defaults filled in.
  package var spec: HPASpec
  /// The controller's options.
  package var options: HPAControllerOptions
  /// Other HPAs of the namespace.
  package var neighbours: [Neighbour]
  /// What the controller remembers.
  package var history: HPAHistory
  /// The HPA's status.
  package var status: HPAStatus

  /// The events of the pass that is under way.
  var events: [HPAEvent] = []

  /// Makes a controller, by default one that has just started on a new HPA.
  package init(
    namespace: String = "default", spec: HPASpec, options: HPAControllerOptions = HPAControllerOptions(),
    neighbours: [Neighbour] = [], history: HPAHistory = HPAHistory(), status: HPAStatus = HPAStatus()
  ) {
    self.namespace = namespace
    self.spec = spec
    self.options = options
    self.neighbours = neighbours
    self.history = history
    self.status = status
  }

  /// Does one pass.
  package mutating func reconcile(_ step: HPAStep, now: Timestamp) -> HPAStepResult {
    events = []
    let (scaledTo, error) = pass(step, now: now)
    defer { events = [] }
    return HPAStepResult(scaledTo: scaledTo, status: status, events: events, error: error)
  }

  private var reference: String { "\(spec.scaleTargetRef.kind)/\(namespace)/\(spec.scaleTargetRef.name)" }

  private var minReplicas: Int32 { spec.minReplicas ?? 1 }

  private mutating func pass(_ step: HPAStep, now: Timestamp) -> (scaledTo: Int32?, error: String?) {
    if let error = scaleReadError(step) {
      warn("FailedGetScale", error.message)
      set(
        .ableToScale, .false, "FailedGetScale",
        "the HPA controller was unable to get the target's current scale: \(error.message)", now: now)
      return (nil, error.returned)
    }
    set(
      .ableToScale, .true, "SucceededGetScale", "the HPA controller was able to get the target's current scale",
      now: now)
    let current = step.specReplicas
    history.recordInitialRecommendation(current, now: now)

    var decision = decisionWithoutMetrics(current: current, now: now)
    var metricStatuses: [HPAMetricStatus?] = []
    var returned: String?
    if decision == nil {
      let proposal = replicasForMetrics(step, now: now)
      metricStatuses = proposal.statuses
      if let error = proposal.error, proposal.replicas == -1 {
        setStatus(current: current, desired: status.desiredReplicas, metrics: metricStatuses)
        warn("FailedComputeMetricsReplicas", error)
        return (
          nil, "failed to compute desired number of replicas based on listed metrics for \(reference): \(error)"
        )
      }
      // Some metrics still work: scaling goes on, and the error is returned in the end.
      returned = proposal.error
      decision = decisionFromMetrics(proposal, current: current, now: now)
    }
    guard let decision, decision.rescales else {
      setStatus(current: current, desired: current, metrics: metricStatuses)
      return (nil, returned)
    }
    if let error = step.scaleUpdateError {
      warn("FailedRescale", "New size: \(decision.replicas); reason: \(decision.reason); error: \(error)")
      set(
        .ableToScale, .false, "FailedUpdateScale",
        "the HPA controller was unable to update the target scale: \(error)", now: now)
      setStatus(current: current, desired: status.desiredReplicas, metrics: metricStatuses)
      return (nil, "failed to rescale \(reference): \(error)")
    }
    recordRescale(decision, current: current, now: now)
    setStatus(current: current, desired: decision.replicas, metrics: metricStatuses)
    status.lastScaleTime = now
    return (decision.replicas, returned)
  }

  private func scaleReadError(_ step: HPAStep) -> (message: String, returned: String)? {
    if HPAGroupVersion(spec.scaleTargetRef.apiVersion ?? "") == nil {
      let message = "unexpected GroupVersion string: \(spec.scaleTargetRef.apiVersion ?? "")"
      return (message, "invalid API version in scale target reference: \(message)")
    }
    return step.scaleGetError.map { ($0, "failed to query scale subresource for \(reference): \($0)") }
  }

  /// What a pass decides: whether to write, which count, and why.
  private struct Decision {
    var replicas: Int32
    var reason: String
    var rescales: Bool
  }

  /// The decisions that need no metric: paused at zero, above the maximum, below the minimum. Nil for all others.
  private mutating func decisionWithoutMetrics(current: Int32, now: Timestamp) -> Decision? {
    if current == 0 {
      // Only a target that the controller itself put to zero is woken; zero by hand means "paused".
      let isOwnZero = options.featureGates.scaleToZero && status.isScaledToZero
      if isOwnZero && (minReplicas != 0 || hasObjectOrExternalMetric) { return nil }
      set(
        .scalingActive, .false, "ScalingDisabled",
        "scaling is disabled since the replica count of the target is zero", now: now)
      if !options.featureGates.scaleToZero { status.remove(.scaledToZero) }
      return Decision(replicas: 0, reason: "", rescales: false)
    }
    if current > spec.maxReplicas {
      return Decision(
        replicas: spec.maxReplicas, reason: "Current number of replicas above Spec.MaxReplicas", rescales: true)
    }
    if current < minReplicas {
      return Decision(
        replicas: minReplicas, reason: "Current number of replicas below Spec.MinReplicas", rescales: true)
    }
    return nil
  }

  private mutating func decisionFromMetrics(
    _ proposal: MetricsProposal, current: Int32, now: Timestamp
  ) -> Decision {
    // A negative proposal counts as zero, and names no metric.
    let desired = max(proposal.replicas, 0)
    var reason = ""
    if desired > current { reason = "\(proposal.replicas > 0 ? proposal.metric : "") above target" }
    if desired < current { reason = "All metrics below target" }
    let bounds = HPABehavior.Bounds(min: minReplicas, max: spec.maxReplicas)
    let normalization =
      if let behavior = spec.behavior {
        HPABehavior.normalize(
          current: current, desired: desired, bounds: bounds, behavior: behavior,
          downscaleStabilization: options.downscaleStabilization, history: &history, now: now)
      } else {
        HPABehavior.normalizeWithoutBehavior(
          current: current, desired: desired, bounds: bounds,
          downscaleStabilization: options.downscaleStabilization, history: &history, now: now)
      }
    status.set(normalization.ableToScale, now: now)
    status.set(normalization.scalingLimited, now: now)
    var replicas = normalization.replicas
    let isOwnZero = options.featureGates.scaleToZero && status.isScaledToZero
    if current == 0 && minReplicas != 0 && isOwnZero && replicas < minReplicas {
      replicas = minReplicas
      if reason.isEmpty { reason = "Current number of replicas below Spec.MinReplicas" }
    }
    return Decision(replicas: replicas, reason: reason, rescales: replicas != current)
  }

  private mutating func recordRescale(_ decision: Decision, current: Int32, now: Timestamp) {
    set(
      .ableToScale, .true, "SucceededRescale",
      "the HPA controller was able to update the target scale to \(decision.replicas)", now: now)
    events.append(
      HPAEvent(
        type: .normal, reason: "SuccessfulRescale",
        message: "New size: \(decision.replicas); reason: \(decision.reason)"))
    history.storeScaleEvent(behavior: spec.behavior, from: current, to: decision.replicas, now: now)
    if !options.featureGates.scaleToZero {
      status.remove(.scaledToZero)
    } else if current > 0 && decision.replicas == 0 && minReplicas == 0 && hasObjectOrExternalMetric {
      set(.scaledToZero, .true, "ScaledToZero", "the HPA controller scaled the workload to zero", now: now)
    } else {
      set(
        .scaledToZero, .false, "NotScaledToZero", "the HPA controller did not scale the workload to zero", now: now)
    }
  }

  /// `hasObjectOrExternalMetrics`: the only metrics that say something without pods.
  private var hasObjectOrExternalMetric: Bool {
    (spec.metrics ?? []).contains { $0.type == .object || $0.type == .external }
  }

  /// `setStatus`; `lastScaleTime` and the conditions stay.
  private mutating func setStatus(current: Int32, desired: Int32, metrics: [HPAMetricStatus?]) {
    status.currentReplicas = current
    status.desiredReplicas = desired
    status.currentMetrics = metrics
  }

  mutating func set(
    _ type: HPAConditionType, _ conditionStatus: HPAConditionStatus, _ reason: String, _ message: String,
    now: Timestamp
  ) {
    status.set(
      HPAConditionChange(type: type, status: conditionStatus, reason: reason, message: message), now: now)
  }

  mutating func warn(_ reason: String, _ message: String) {
    events.append(HPAEvent(type: .warning, reason: reason, message: message))
  }
}
