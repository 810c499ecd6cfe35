import KubernetesCore

extension HPAController {
  /// What all metrics of the spec come to.
  struct MetricsProposal {
    /// The largest proposal; -1 with an error means that nothing may be done.
    var replicas: Int32
    /// The metric that asked for it, in words.
    var metric = ""
    var statuses: [HPAMetricStatus?]
    var error: String?
  }

  /// What one metric of the spec comes to.
  private struct MetricProposal {
    var replicas: Int32
    var name: String
    var status: HPAMetricStatus
  }

  /// A metric that could not be computed: the reason of its event, and the error as it is wrapped on its way up.
  private struct MetricFailure: Error {
    var reason: String
    /// The text of the event and the condition.
    var message: String
    /// The text that the pass returns.
    var returned: String
  }

  /// `computeReplicasForMetrics`: the largest valid proposal; with invalid ones among them never less than now.
  mutating func replicasForMetrics(_ step: HPAStep, now: Timestamp) -> MetricsProposal {
    let pods: [HPAPod]
    do throws(HPASourceError) {
      pods = try selectedPods(step, now: now)
    } catch {
      return MetricsProposal(replicas: -1, statuses: [], error: error.message)
    }
    let metrics = spec.metrics ?? []
    var result = MetricsProposal(replicas: 0, statuses: Array(repeating: nil, count: metrics.count))
    var invalidCount = 0
    var firstFailure: MetricFailure?
    for (index, metric) in metrics.enumerated() {
      let sample =
        index < step.samples.count ? step.samples[index] : .failed("no metrics returned from the metrics API")
      do throws(MetricFailure) {
        let proposal = try replicas(for: metric, sample: sample, step: step, pods: pods, now: now)
        result.statuses[index] = proposal.status
        // Zero is taken for "none yet", as in the original.
        if result.replicas == 0 || proposal.replicas > result.replicas {
          result.replicas = proposal.replicas
          result.metric = proposal.name
        }
      } catch {
        warn(error.reason, error.message)
        firstFailure = firstFailure ?? error
        invalidCount += 1
      }
    }
    if let firstFailure {
      result.error =
        "invalid metrics (\(invalidCount) invalid out of \(metrics.count)), first error is: \(firstFailure.returned)"
    }
    if invalidCount >= metrics.count || (invalidCount > 0 && result.replicas < step.specReplicas) {
      // Without any metric the original sets a condition that has no type; the API server never lets it come to that.
      if let firstFailure {
        set(
          .scalingActive, .false, firstFailure.reason,
          "the HPA was unable to compute the replica count: \(firstFailure.message)", now: now)
      }
      return MetricsProposal(replicas: -1, statuses: result.statuses, error: result.error)
    }
    set(
      .scalingActive, .true, "ValidMetricFound",
      "the HPA was able to successfully calculate a replica count from \(result.metric)", now: now)
    return result
  }

  /// `validateAndParseSelector`: a selector that is there, can be read, and selects no other HPA's pods.
  private mutating func selectedPods(_ step: HPAStep, now: Timestamp) throws(HPASourceError) -> [HPAPod] {
    if step.selector.isEmpty {
      warn("SelectorRequired", "selector is required")
      set(.scalingActive, .false, "InvalidSelector", "the HPA target's scale is missing a selector", now: now)
      throw HPASourceError("selector is required")
    }
    let selector: HPALabelSelector
    do throws(HPASelectorError) {
      selector = try HPALabelSelector(step.selector)
    } catch {
      let message = "couldn't convert selector into a corresponding internal selector object: \(error.message)"
      warn("InvalidSelector", message)
      set(.scalingActive, .false, "InvalidSelector", message, now: now)
      throw HPASourceError(message)
    }
    if let error = step.podListError { throw HPASourceError(error) }
    let pods = step.pods.filter { selector.matches($0.labels) }
    let isShared = neighbours.contains { neighbour in
      pods.contains { neighbour.selector.matches($0.labels) }
    }
    if isShared {
      let message = "pods by selector \(step.selector) are controlled by multiple HPAs"
      warn("AmbiguousSelector", message)
      set(.scalingActive, .false, "AmbiguousSelector", message, now: now)
      throw HPASourceError(message)
    }
    return pods
  }

  /// `computeReplicasForMetric`.
  private func replicas(
    for metric: HPAMetricSpec, sample: HPAMetricSample, step: HPAStep, pods: [HPAPod], now: Timestamp
  ) throws(MetricFailure) -> MetricProposal {
    switch metric.type {
    case .resource:
      guard let source = metric.resource else { break }
      return try resource(source, type: .resource, sample: sample, step: step, pods: pods, now: now)
    case .containerResource:
      guard let source = metric.containerResource else { break }
      return try resource(source, type: .containerResource, sample: sample, step: step, pods: pods, now: now)
    case .pods:
      guard let source = metric.pods, let target = source.target.averageValue else { break }
      return try podsMetric(source, target: target, sample: sample, step: step, pods: pods, now: now)
    case .object:
      guard let source = metric.object else { break }
      return try object(source, sample: sample, step: step, pods: pods)
    case .external:
      guard let source = metric.external else { break }
      return try external(source, sample: sample, step: step, pods: pods)
    default: break
    }
    // The API server's validation keeps all of these out; where the source is missing the original would crash.
    let message = "unknown metric source type \"\(metric.type.rawValue)\""
    throw MetricFailure(reason: "InvalidMetricSourceType", message: message, returned: message)
  }

  /// `computeStatusForResourceMetric`, `computeStatusForContainerResourceMetric` and what they share.
  private func resource(
    _ source: HPAResourceSource, type: HPAMetricSourceType, sample: HPAMetricSample, step: HPAStep, pods: [HPAPod],
    now: Timestamp
  ) throws(MetricFailure) -> MetricProposal {
    let isContainer = type == .containerResource
    let container = isContainer ? source.container ?? "" : ""
    func failure(_ message: String) -> MetricFailure {
      isContainer
        ? MetricFailure(
          reason: "FailedGetContainerResourceMetric", message: message,
          returned: "failed to get \(container) container metric value: \(message)")
        : MetricFailure(
          reason: "FailedGetResourceMetric", message: message,
          returned: "failed to get \(source.name) resource metric value: \(message)")
    }
    if let target = source.target.averageValue {
      do throws(HPACalculationError) {
        let proposal = try calculator.rawResource(
          currentReplicas: step.specReplicas, targetUsageMilli: target.milliValue, resource: source.name,
          tolerances: tolerances, metrics: sample.podMetrics, pods: .success(pods), now: now)
        return MetricProposal(
          replicas: proposal.replicas, name: "\(source.name) resource",
          status: HPAMetricStatus(type: type, averageValueMilli: proposal.usageMilli))
      } catch {
        throw failure("failed to get \(source.name) usage: \(error)")
      }
    }
    guard let target = source.target.averageUtilization else {
      throw failure(
        "invalid resource metric source: neither an average utilization target nor an average value (usage) target "
          + "was set")
    }
    do throws(HPACalculationError) {
      let proposal = try calculator.resourceUtilization(
        currentReplicas: step.specReplicas, targetUtilization: target, resource: source.name, container: container,
        tolerances: tolerances, metrics: sample.podMetrics, pods: .success(pods), now: now)
      return MetricProposal(
        replicas: proposal.replicas,
        name: "\(source.name)\(isContainer ? " container" : "") resource utilization (percentage of request)",
        status: HPAMetricStatus(
          type: type, averageUtilization: proposal.utilization, averageValueMilli: proposal.usageMilli))
    } catch {
      throw failure("failed to get \(source.name) utilization: \(error)")
    }
  }

  /// `computeStatusForPodsMetric`.
  private func podsMetric(
    _ source: HPANamedMetricSource, target: HPAQuantity, sample: HPAMetricSample, step: HPAStep, pods: [HPAPod],
    now: Timestamp
  ) throws(MetricFailure) -> MetricProposal {
    func failure(_ message: String) -> MetricFailure {
      MetricFailure(
        reason: "FailedGetPodsMetric", message: message, returned: "failed to get pods metric value: \(message)")
    }
    if let problem = source.metric.selectorProblem { throw failure(problem) }
    do throws(HPACalculationError) {
      let proposal = try calculator.podsMetric(
        currentReplicas: step.specReplicas, targetAverageMilli: target.milliValue, metricName: source.metric.name,
        tolerances: tolerances, metrics: sample.podMetrics, pods: .success(pods), now: now)
      return MetricProposal(
        replicas: proposal.replicas, name: "pods metric \(source.metric.name)",
        status: HPAMetricStatus(type: .pods, averageValueMilli: proposal.usageMilli))
    } catch {
      throw failure(error.description)
    }
  }

  /// `computeStatusForObjectMetric`: the target's type decides, not only which number is set.
  private func object(
    _ source: HPAObjectSource, sample: HPAMetricSample, step: HPAStep, pods: [HPAPod]
  ) throws(MetricFailure) -> MetricProposal {
    func failure(_ message: String) -> MetricFailure {
      MetricFailure(
        reason: "FailedGetObjectMetric", message: message, returned: "failed to get object metric value: \(message)")
    }
    if let problem = source.metric.selectorProblem { throw failure(problem) }
    do throws(HPACalculationError) {
      if source.target.type == .value, let target = source.target.value {
        let proposal = try calculator.objectMetric(
          currentReplicas: step.specReplicas, targetMilli: target.milliValue, tolerances: tolerances,
          metric: sample.objectMetric, pods: .success(pods))
        return MetricProposal(
          replicas: proposal.replicas, name: "\(source.describedObject.kind) metric \(source.metric.name)",
          status: HPAMetricStatus(type: .object, valueMilli: proposal.usageMilli))
      }
      if source.target.type == .averageValue, let target = source.target.averageValue {
        let proposal = try calculator.objectMetricPerPod(
          statusReplicas: step.statusReplicas, targetAverageMilli: target.milliValue, tolerances: tolerances,
          metric: sample.objectMetric)
        return MetricProposal(
          replicas: proposal.replicas, name: "external metric \(source.metric.name)",
          status: HPAMetricStatus(type: .object, averageValueMilli: proposal.usageMilli))
      }
    } catch {
      throw failure(error.description)
    }
    throw failure("invalid object metric source: neither a value target nor an average value target was set")
  }

  /// `computeStatusForExternalMetric`: an average value target goes first, whatever the target's type says.
  private func external(
    _ source: HPANamedMetricSource, sample: HPAMetricSample, step: HPAStep, pods: [HPAPod]
  ) throws(MetricFailure) -> MetricProposal {
    func failure(_ message: String) -> MetricFailure {
      MetricFailure(
        reason: "FailedGetExternalMetric", message: message,
        returned: "failed to get \(source.metric.name) external metric value: \(message)")
    }
    let name = "external metric \(source.metric.name)"
    if let problem = source.metric.selectorProblem { throw failure(problem) }
    do throws(HPACalculationError) {
      if let target = source.target.averageValue {
        let proposal = try calculator.externalMetricPerPod(
          statusReplicas: step.statusReplicas, targetAverageMilli: target.milliValue, tolerances: tolerances,
          metric: sample.externalMetric)
        return MetricProposal(
          replicas: proposal.replicas, name: name,
          status: HPAMetricStatus(type: .external, averageValueMilli: proposal.usageMilli))
      }
      if let target = source.target.value {
        let proposal = try calculator.externalMetric(
          currentReplicas: step.specReplicas, targetMilli: target.milliValue, tolerances: tolerances,
          metric: sample.externalMetric, pods: .success(pods))
        return MetricProposal(
          replicas: proposal.replicas, name: name,
          status: HPAMetricStatus(type: .external, valueMilli: proposal.usageMilli))
      }
    } catch {
      throw failure(error.description)
    }
    throw failure("invalid external metric source: neither a value target nor an average value target was set")
  }

  private var calculator: HPAReplicaCalculator {
    HPAReplicaCalculator(
      cpuInitializationPeriod: options.cpuInitializationPeriod, initialReadinessDelay: options.initialReadinessDelay,
      podLevelResourcesEnabled: options.featureGates.podLevelResources)
  }

  /// `tolerancesForHpa`: the object's own tolerances where the gate allows them, else the controller's.
  private var tolerances: HPATolerances {
    let allowed = options.featureGates.configurableTolerance ? spec.behavior : nil
    return HPATolerances(
      up: allowed?.scaleUp?.tolerance?.approximateDouble ?? options.tolerance,
      down: allowed?.scaleDown?.tolerance?.approximateDouble ?? options.tolerance)
  }
}

extension HPAMetricIdentifier {
  /// Why the metric's selector is not one, if it isn't.
  fileprivate var selectorProblem: String? {
    do throws(HPASelectorError) {
      try selector?.validate()
      return nil
    } catch {
      return error.message
    }
  }
}

extension HPAMetricSample {
  private static let mismatch = "the metrics API answered with a metric of another type"

  fileprivate var podMetrics: HPAReplicaCalculator.PodMetrics {
    switch self {
    case .pods(let metrics): .success(metrics)
    case .failed(let message): .failure(HPASourceError(message))
    default: .failure(HPASourceError(Self.mismatch))
    }
  }

  fileprivate var objectMetric: HPAReplicaCalculator.ObjectMetric {
    switch self {
    case .value(let value): .success(value)
    case .failed(let message): .failure(HPASourceError(message))
    default: .failure(HPASourceError(Self.mismatch))
    }
  }

  fileprivate var externalMetric: HPAReplicaCalculator.ExternalMetric {
    switch self {
    case .values(let values): .success(values)
    case .failed(let message): .failure(HPASourceError(message))
    default: .failure(HPASourceError(Self.mismatch))
    }
  }
}
