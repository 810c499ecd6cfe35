package import KubernetesCore

/// A replica count that one metric asks for.
package struct HPAProposal: Hashable, Sendable {
  /// The replica count.
  package var replicas: Int32
  /// The usage in thousandths: the average over pods, or the total for a `Value` target.
  ///
  /// `math.MinInt64` where the original divides by zero pods.
  package var usageMilli: Int64
  /// The usage in whole percent of the request, for a utilization target only.
  package var utilization: Int32?

  /// Makes a proposal.
  package init(replicas: Int32, usageMilli: Int64, utilization: Int32? = nil) {
    self.replicas = replicas
    self.usageMilli = usageMilli
    self.utilization = utilization
  }
}

/// The HPA's seven calculators: from a metric and the pods under the selector to a replica count.
///
/// Source: `ReplicaCalculator` of `pkg/controller/podautoscaler/replica_calculator.go`. Double arithmetic, truncation
/// to whole percent and wrapping sums are those of the original on linux/amd64.
package struct HPAReplicaCalculator: Hashable, Sendable {
  /// Pods, or the failure to list them.
  package typealias Pods = Result<[HPAPod], HPASourceError>
  /// Per-pod samples, or the failure to read them.
  package typealias PodMetrics = Result<[String: HPAPodMetric], HPASourceError>

  /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
  package var cpuInitializationPeriod: Duration
  /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
  package var initialReadinessDelay: Duration
  /// The feature gate `PodLevelResources`.
  package var podLevelResourcesEnabled: Bool

  /// Makes a calculator with the controller's options, by default those of Kubernetes.
  package init(
    cpuInitializationPeriod: Duration = .seconds(300), initialReadinessDelay: Duration = .seconds(30),
    podLevelResourcesEnabled: Bool = true
  ) {
    self.cpuInitializationPeriod = cpuInitializationPeriod
    self.initialReadinessDelay = initialReadinessDelay
    self.podLevelResourcesEnabled = podLevelResourcesEnabled
  }

  /// Sorts pods with this calculator's options.
  package func groups(
    pods: [HPAPod], metrics: [String: HPAPodMetric], resource: String, now: Timestamp
  ) -> HPAPodGroups {
    HPAPodGroups(
      pods: pods, metrics: metrics, resource: resource, cpuInitializationPeriod: cpuInitializationPeriod,
      initialReadinessDelay: initialReadinessDelay, now: now)
  }

  // MARK: Resources and pods

  /// Replicas for a `Utilization` target of a resource (`GetResourceReplicas`).
  ///
  /// - Parameters:
  ///   - currentReplicas: The replica count of the scale's spec.
  ///   - targetUtilization: Percent of the request.
  ///   - container: Empty for whole pods.
  package func resourceUtilization(
    currentReplicas: Int32, targetUtilization: Int32, resource: String, container: String = "",
    tolerances: HPATolerances, metrics: PodMetrics, pods: Pods, now: Timestamp
  ) throws(HPACalculationError) -> HPAProposal {
    let samples = try Self.samples(metrics, orError: "unable to get metrics for resource \(resource)")
    var plan = try plan(samples: samples, pods: pods, resource: resource, now: now)
    let requests = try requests(of: plan.pods, container: container, resource: resource)
    let first = try HPAUtilization(
      metrics: plan.samples, requests: requests, targetUtilization: targetUtilization)
    func proposal(_ replicas: Int32) -> HPAProposal {
      HPAProposal(replicas: replicas, usageMilli: first.averageMilli, utilization: first.percent)
    }
    if !plan.needsSecondPass(ratio: first.ratio) {
      return proposal(plan.firstPass(ratio: first.ratio, current: currentReplicas, tolerances: tolerances))
    }
    // On a scale-down a missing pod counts as using all of its request, or the target where that is more.
    let fallback = Int64(max(100, targetUtilization))
    plan.fillMissing(ratio: first.ratio) { GoArithmetic.quotient((requests[$0] ?? 0) &* fallback, by: 100) }
    plan.fillUnready(ratio: first.ratio)
    let second = try HPAUtilization(
      metrics: plan.samples, requests: requests, targetUtilization: targetUtilization)
    return proposal(
      plan.secondPass(
        firstRatio: first.ratio, ratio: second.ratio, current: currentReplicas, tolerances: tolerances))
  }

  /// Replicas for an `AverageValue` target of a resource (`GetRawResourceReplicas`).
  ///
  /// The container plays no part beyond the choice of samples, which the caller has made.
  package func rawResource(
    currentReplicas: Int32, targetUsageMilli: Int64, resource: String, tolerances: HPATolerances,
    metrics: PodMetrics, pods: Pods, now: Timestamp
  ) throws(HPACalculationError) -> HPAProposal {
    try plain(
      currentReplicas: currentReplicas, targetUsageMilli: targetUsageMilli, resource: resource,
      tolerances: tolerances,
      samples: try Self.samples(metrics, orError: "unable to get metrics for resource \(resource)"), pods: pods,
      now: now)
  }

  /// Replicas for a `Pods` metric (`GetMetricReplicas`); readiness plays no part.
  package func podsMetric(
    currentReplicas: Int32, targetAverageMilli: Int64, metricName: String = "", tolerances: HPATolerances,
    metrics: PodMetrics, pods: Pods, now: Timestamp
  ) throws(HPACalculationError) -> HPAProposal {
    try plain(
      currentReplicas: currentReplicas, targetUsageMilli: targetAverageMilli, resource: "", tolerances: tolerances,
      samples: try Self.samples(metrics, orError: "unable to get metric \(metricName)"), pods: pods, now: now)
  }

  /// `calcPlainMetricReplicas`.
  private func plain(
    currentReplicas: Int32, targetUsageMilli: Int64, resource: String, tolerances: HPATolerances,
    samples: [String: HPAPodMetric], pods: Pods, now: Timestamp
  ) throws(HPACalculationError) -> HPAProposal {
    var plan = try plan(samples: samples, pods: pods, resource: resource, now: now)
    let first = Self.averageUsage(plan.samples)
    let ratio = Double(first) / Double(targetUsageMilli)
    func proposal(_ replicas: Int32) -> HPAProposal { HPAProposal(replicas: replicas, usageMilli: first) }
    if !plan.needsSecondPass(ratio: ratio) {
      return proposal(plan.firstPass(ratio: ratio, current: currentReplicas, tolerances: tolerances))
    }
    plan.fillMissing(ratio: ratio) { _ in targetUsageMilli }
    plan.fillUnready(ratio: ratio)
    let second = Double(Self.averageUsage(plan.samples)) / Double(targetUsageMilli)
    return proposal(
      plan.secondPass(firstRatio: ratio, ratio: second, current: currentReplicas, tolerances: tolerances))
  }

  /// The mean of all samples, extraneous ones included (`GetMetricUsageRatio` of `metrics/utilization.go`).
  ///
  /// The sum wraps and the division truncates, as in Go.
  private static func averageUsage(_ metrics: [String: HPAPodMetric]) -> Int64 {
    let total = metrics.values.reduce(Int64(0)) { $0 &+ $1.valueMilli }
    return GoArithmetic.quotient(total, by: Int64(metrics.count))
  }

  private static func samples(
    _ metrics: PodMetrics, orError prefix: String
  ) throws(HPACalculationError) -> [String: HPAPodMetric] {
    switch metrics {
    case .success(let samples): return samples
    case .failure(let error): throw .metricsUnavailable("\(prefix): \(error.message)")
    }
  }

  /// Lists and sorts the pods and keeps the samples that count; extraneous ones stay.
  private func plan(
    samples: [String: HPAPodMetric], pods: Pods, resource: String, now: Timestamp
  ) throws(HPACalculationError) -> HPAPassPlan {
    let listed = try Self.listed(pods)
    let groups = groups(pods: listed, metrics: samples, resource: resource, now: now)
    let counted = samples.filter { !groups.ignored.contains($0.key) && !groups.unready.contains($0.key) }
    if counted.isEmpty { throw .noUsableMetrics }
    return HPAPassPlan(pods: listed, groups: groups, samples: counted)
  }

  static func listed(_ pods: Pods) throws(HPACalculationError) -> [HPAPod] {
    switch pods {
    case .failure(let error): throw .podListFailed(error.message)
    case .success(let pods) where pods.isEmpty: throw .noPods
    case .success(let pods): return pods
    }
  }
}

/// The usage of pods relative to their requests (`GetResourceUtilizationRatio` of `metrics/utilization.go`).
struct HPAUtilization {
  /// Whole percent of the request, truncated: this integer, not the exact quotient, is compared with the target.
  var percent: Int32
  /// `percent` relative to the target.
  var ratio: Double
  /// The average usage of the pods that have both a sample and a request, truncated.
  var averageMilli: Int64

  init(
    metrics: [String: HPAPodMetric], requests: [String: Int64], targetUtilization: Int32
  ) throws(HPACalculationError) {
    var (usage, requested, count) = (Int64(0), Int64(0), Int64(0))
    for (name, metric) in metrics {
      // A sample of a pod that is not listed is extraneous.
      guard let request = requests[name] else { continue }
      usage &+= metric.valueMilli
      requested &+= request
      count += 1
    }
    if requested == 0 { throw .noMetricsMatchRequests }
    // Both the product and the conversion wrap in Go.
    percent = Int32(truncatingIfNeeded: GoArithmetic.quotient(usage &* 100, by: requested))
    ratio = Double(percent) / Double(targetUtilization)
    averageMilli = GoArithmetic.quotient(usage, by: count)
  }
}

/// The two passes that all per-pod calculators share: pods, their groups and the samples that count.
struct HPAPassPlan {
  var pods: [HPAPod]
  var groups: HPAPodGroups
  var samples: [String: HPAPodMetric]

  func needsSecondPass(ratio: Double) -> Bool {
    scalesUpWithUnready(ratio: ratio) || !groups.missing.isEmpty
  }

  private func scalesUpWithUnready(ratio: Double) -> Bool {
    !groups.unready.isEmpty && ratio > 1
  }

  /// The result where no pod is in doubt; without the second pass' guard against surging pods.
  func firstPass(ratio: Double, current: Int32, tolerances: HPATolerances) -> Int32 {
    tolerances.contains(ratio) ? current : GoArithmetic.int32(GoArithmetic.ceil(ratio * Double(groups.readyCount)))
  }

  /// Gives missing pods the usage that holds scaling back; at a ratio of exactly 1 they stay out.
  mutating func fillMissing(ratio: Double, onScaleDown usage: (String) -> Int64) {
    if ratio < 1 {
      for name in groups.missing { samples[name] = .filler(usage(name)) }
    } else if ratio > 1 {
      for name in groups.missing { samples[name] = .filler(0) }
    }
  }

  /// On a scale-up unready pods count as using nothing.
  mutating func fillUnready(ratio: Double) {
    guard scalesUpWithUnready(ratio: ratio) else { return }
    for name in groups.unready { samples[name] = .filler(0) }
  }

  /// The result with fillers: never against the direction of either ratio.
  func secondPass(firstRatio: Double, ratio: Double, current: Int32, tolerances: HPATolerances) -> Int32 {
    if tolerances.contains(ratio) || (firstRatio < 1 && ratio > 1) || (firstRatio > 1 && ratio < 1) {
      return current
    }
    let replicas = GoArithmetic.int32(GoArithmetic.ceil(ratio * Double(samples.count)))
    if (ratio < 1 && replicas > current) || (ratio > 1 && replicas < current) { return current }
    return replicas
  }
}
