import HPAReference
import KubernetesCore

/// The input of the per-pod calculators; which fields are there depends on the kind.
struct PerPodInput: Decodable {
  var currentReplicas: Int32
  var targetUtilization: Int32?
  var targetUsageMilli: Int64?
  var targetAverageMilli: Int64?
  var resource: String?
  var container: String?
  var toleranceUp: Double
  var toleranceDown: Double
  var cpuInitializationPeriod: Seconds?
  var initialReadinessDelay: Seconds?
  var podLevelResourcesEnabled: Bool?
  var podsError: String?
  var pods: [VectorPod]?
  var metricsError: String?
  var metrics: [String: Sample]?

  /// A whole sample, or in `calc_pods` the bare value.
  struct Sample: Decodable {
    var metric: HPAPodMetric

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let value = try? container.decode(Int64.self) {
        metric = HPAPodMetric(timestamp: vectorNow, window: .zero, valueMilli: value)
      } else {
        metric = try container.decode(VectorMetric.self).metric(now: vectorNow)
      }
    }
  }

  enum CodingKeys: String, CodingKey {
    case resource, container, pods, metrics
    case currentReplicas = "current_replicas"
    case targetUtilization = "target_utilization"
    case targetUsageMilli = "target_usage_milli"
    case targetAverageMilli = "target_average_milli"
    case toleranceUp = "tolerance_up"
    case toleranceDown = "tolerance_down"
    case cpuInitializationPeriod = "cpu_initialization_period_s"
    case initialReadinessDelay = "initial_readiness_delay_s"
    case podLevelResourcesEnabled = "pod_level_resources_enabled"
    case podsError = "pods_error"
    case metricsError = "metrics_error"
  }

  var tolerances: HPATolerances { HPATolerances(up: toleranceUp, down: toleranceDown) }

  var calculator: HPAReplicaCalculator {
    HPAReplicaCalculator(
      cpuInitializationPeriod: cpuInitializationPeriod?.duration ?? .zero,
      initialReadinessDelay: initialReadinessDelay?.duration ?? .zero,
      podLevelResourcesEnabled: podLevelResourcesEnabled ?? true)
  }

  var podList: HPAReplicaCalculator.Pods {
    podsError.map { .failure(HPASourceError($0)) } ?? .success((pods ?? []).map { $0.pod(now: vectorNow) })
  }

  var podMetrics: HPAReplicaCalculator.PodMetrics {
    metricsError.map { .failure(HPASourceError($0)) } ?? .success((metrics ?? [:]).mapValues(\.metric))
  }
}

/// The input of the calculators of one number.
struct TotalInput: Decodable {
  var currentReplicas: Int32?
  var statusReplicas: Int32?
  var targetMilli: Int64?
  var targetAverageMilli: Int64?
  var toleranceUp: Double
  var toleranceDown: Double
  var podsError: String?
  var pods: [VectorPod]?
  var metricError: String?
  var valueMilli: Int64?
  var valuesMilli: [Int64]?

  enum CodingKeys: String, CodingKey {
    case pods
    case currentReplicas = "current_replicas"
    case statusReplicas = "status_replicas"
    case targetMilli = "target_milli"
    case targetAverageMilli = "target_average_milli"
    case toleranceUp = "tolerance_up"
    case toleranceDown = "tolerance_down"
    case podsError = "pods_error"
    case metricError = "metric_error"
    case valueMilli = "metric_value_milli"
    case valuesMilli = "metric_values_milli"
  }

  var tolerances: HPATolerances { HPATolerances(up: toleranceUp, down: toleranceDown) }

  var podList: HPAReplicaCalculator.Pods {
    podsError.map { .failure(HPASourceError($0)) } ?? .success((pods ?? []).map { $0.pod(now: vectorNow) })
  }

  var objectMetric: HPAReplicaCalculator.ObjectMetric {
    metricError.map { .failure(HPASourceError($0)) } ?? .success(valueMilli ?? 0)
  }

  var externalMetric: HPAReplicaCalculator.ExternalMetric {
    metricError.map { .failure(HPASourceError($0)) } ?? .success(valuesMilli ?? [])
  }
}

/// The expectation of all calculators.
struct ProposalExpectation: Decodable {
  var replicas: Int32?
  var utilization: Int32?
  var usageMilli: Int64?
  var usageUndefined: Bool?
  var groups: VectorGroups?
  var error: VectorError?

  enum CodingKeys: String, CodingKey {
    case replicas, utilization, groups, error
    case usageMilli = "usage_milli"
    case usageUndefined = "usage_undefined"
  }

  func compare(_ differences: inout Differences, _ run: () throws(HPACalculationError) -> HPAProposal) {
    do throws(HPACalculationError) {
      let proposal = try run()
      differences.compare("error kind", nil, error?.kind)
      differences.compare("replicas", proposal.replicas, replicas)
      differences.compare("utilization", proposal.utilization, utilization)
      if usageUndefined != true { differences.compare("usage", proposal.usageMilli, usageMilli) }
    } catch let failure {
      differences.compare("error kind", failure.vectorKind, error?.kind)
    }
  }

  func compareGroups(_ input: PerPodInput, _ differences: inout Differences) {
    guard let groups, case .success(let pods) = input.podList, case .success(let metrics) = input.podMetrics else {
      return
    }
    let actual = input.calculator.groups(
      pods: pods, metrics: metrics, resource: input.resource ?? "", now: vectorNow)
    differences.compare(
      "groups",
      VectorGroups(
        ready: actual.readyCount, unready: actual.unready.count, missing: actual.missing.count,
        ignored: actual.ignored.count), groups)
  }
}

enum ResourceUtilizationVectors: VectorKind {
  static func check(_ input: PerPodInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try input.calculator.resourceUtilization(
        currentReplicas: input.currentReplicas, targetUtilization: input.targetUtilization ?? 0,
        resource: input.resource ?? "", container: input.container ?? "", tolerances: input.tolerances,
        metrics: input.podMetrics, pods: input.podList, now: vectorNow)
    }
    expected.compareGroups(input, &differences)
  }
}

enum RawResourceVectors: VectorKind {
  static func check(_ input: PerPodInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try input.calculator.rawResource(
        currentReplicas: input.currentReplicas, targetUsageMilli: input.targetUsageMilli ?? 0,
        resource: input.resource ?? "", tolerances: input.tolerances, metrics: input.podMetrics, pods: input.podList,
        now: vectorNow)
    }
    expected.compareGroups(input, &differences)
  }
}

enum PodsMetricVectors: VectorKind {
  static func check(_ input: PerPodInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try input.calculator.podsMetric(
        currentReplicas: input.currentReplicas, targetAverageMilli: input.targetAverageMilli ?? 0,
        tolerances: input.tolerances, metrics: input.podMetrics, pods: input.podList, now: vectorNow)
    }
    expected.compareGroups(input, &differences)
  }
}

enum ObjectMetricVectors: VectorKind {
  static func check(_ input: TotalInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try HPAReplicaCalculator().objectMetric(
        currentReplicas: input.currentReplicas ?? 0, targetMilli: input.targetMilli ?? 0,
        tolerances: input.tolerances, metric: input.objectMetric, pods: input.podList)
    }
  }
}

enum ObjectPerPodVectors: VectorKind {
  static func check(_ input: TotalInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try HPAReplicaCalculator().objectMetricPerPod(
        statusReplicas: input.statusReplicas ?? 0, targetAverageMilli: input.targetAverageMilli ?? 0,
        tolerances: input.tolerances, metric: input.objectMetric)
    }
  }
}

enum ExternalMetricVectors: VectorKind {
  static func check(_ input: TotalInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try HPAReplicaCalculator().externalMetric(
        currentReplicas: input.currentReplicas ?? 0, targetMilli: input.targetMilli ?? 0,
        tolerances: input.tolerances, metric: input.externalMetric, pods: input.podList)
    }
  }
}

enum ExternalPerPodVectors: VectorKind {
  static func check(_ input: TotalInput, _ expected: ProposalExpectation, _ differences: inout Differences) {
    expected.compare(&differences) { () throws(HPACalculationError) in
      try HPAReplicaCalculator().externalMetricPerPod(
        statusReplicas: input.statusReplicas ?? 0, targetAverageMilli: input.targetAverageMilli ?? 0,
        tolerances: input.tolerances, metric: input.externalMetric)
    }
  }
}
