extension HPAReplicaCalculator {
  /// One number of an object metric, or the failure to read it.
  package typealias ObjectMetric = Result<Int64, HPASourceError>
  /// One number for each series of an external metric, or the failure to read them.
  package typealias ExternalMetric = Result<[Int64], HPASourceError>

  /// Replicas for a `Value` target of an Object metric (`GetObjectMetricReplicas`).
  ///
  /// - Parameter currentReplicas: The replica count of the scale's spec, 0 included.
  package func objectMetric(
    currentReplicas: Int32, targetMilli: Int64, tolerances: HPATolerances, metric: ObjectMetric, pods: Pods
  ) throws(HPACalculationError) -> HPAProposal {
    let usage = try Self.object(metric)
    let ratio = Double(usage) / Double(targetMilli)
    let replicas = try Self.replicas(
      forRatio: ratio, currentReplicas: currentReplicas, tolerances: tolerances, pods: pods)
    return HPAProposal(replicas: replicas, usageMilli: usage)
  }

  /// Replicas for an `AverageValue` target of an Object metric (`GetObjectPerPodMetricReplicas`).
  ///
  /// - Parameter statusReplicas: The replica count of the scale's *status*, which lags and surges.
  package func objectMetricPerPod(
    statusReplicas: Int32, targetAverageMilli: Int64, tolerances: HPATolerances, metric: ObjectMetric
  ) throws(HPACalculationError) -> HPAProposal {
    let usage = try Self.object(metric)
    let ratio = Double(usage) / (Double(targetAverageMilli) * Double(statusReplicas))
    var replicas = statusReplicas
    if !tolerances.contains(ratio) {
      // Not capped: beyond 32 bits the conversion gives the smallest integer.
      replicas = GoArithmetic.int32(GoArithmetic.ceil(Double(usage) / Double(targetAverageMilli)))
    }
    return HPAProposal(replicas: replicas, usageMilli: Self.perPod(usage, statusReplicas: statusReplicas))
  }

  /// Replicas for a `Value` target of an External metric (`GetExternalMetricReplicas`).
  package func externalMetric(
    currentReplicas: Int32, targetMilli: Int64, tolerances: HPATolerances, metric: ExternalMetric, pods: Pods
  ) throws(HPACalculationError) -> HPAProposal {
    var usage: Int64 = 0
    for value in try Self.external(metric) {
      // A sum above 64 bits ends the addition at the largest integer; one below wraps.
      if value > 0 && usage > Int64.max - value {
        usage = .max
        break
      }
      usage &+= value
    }
    let ratio = Double(usage) / Double(targetMilli)
    let replicas = try Self.replicas(
      forRatio: ratio, currentReplicas: currentReplicas, tolerances: tolerances, pods: pods)
    return HPAProposal(replicas: replicas, usageMilli: usage)
  }

  /// Replicas for an `AverageValue` target of an External metric (`GetExternalPerPodMetricReplicas`).
  ///
  /// - Parameter statusReplicas: The replica count of the scale's *status*, which lags and surges.
  package func externalMetricPerPod(
    statusReplicas: Int32, targetAverageMilli: Int64, tolerances: HPATolerances, metric: ExternalMetric
  ) throws(HPACalculationError) -> HPAProposal {
    var usage: Int64 = 0
    for value in try Self.external(metric) {
      usage &+= value
      // The original takes every negative sum for an overflow, one honest negative sample included.
      if usage < 0 {
        usage = .max
        break
      }
    }
    let ratio = Double(usage) / (Double(targetAverageMilli) * Double(statusReplicas))
    var replicas = statusReplicas
    if !tolerances.contains(ratio) {
      let count = GoArithmetic.ceil(Double(usage) / Double(targetAverageMilli))
      replicas = count > Double(Int32.max) ? .max : GoArithmetic.int32(count)
    }
    // Compared as doubles, so the 512 integers below 2⁶³ are caught too.
    let isOverflow = Double(usage) >= Double(Int64.max)
    return HPAProposal(
      replicas: replicas, usageMilli: isOverflow ? .max : Self.perPod(usage, statusReplicas: statusReplicas))
  }

  /// `int64(math.Ceil(usage / replicas))`; the indefinite integer for zero replicas.
  private static func perPod(_ usage: Int64, statusReplicas: Int32) -> Int64 {
    GoArithmetic.int64(GoArithmetic.ceil(Double(usage) / Double(statusReplicas)))
  }

  /// `getUsageRatioReplicaCount`: from zero replicas neither pods nor the tolerance count.
  private static func replicas(
    forRatio ratio: Double, currentReplicas: Int32, tolerances: HPATolerances, pods: Pods
  ) throws(HPACalculationError) -> Int32 {
    if currentReplicas == 0 { return GoArithmetic.int32(GoArithmetic.ceil(ratio)) }
    if tolerances.contains(ratio) { return currentReplicas }
    let count = ratio * Double(try readyPodCount(pods))
    return count > Double(Int32.max) ? .max : GoArithmetic.int32(GoArithmetic.ceil(count))
  }

  /// `getReadyPodsCount`: pods that run and are ready, those being deleted included.
  private static func readyPodCount(_ pods: Pods) throws(HPACalculationError) -> Int64 {
    let listed: [HPAPod]
    do throws(HPACalculationError) {
      listed = try Self.listed(pods)
    } catch {
      throw .readyPodsUnavailable(error.description)
    }
    return Int64(listed.count { $0.phase == .running && $0.ready?.status == .true })
  }

  private static func object(_ metric: ObjectMetric) throws(HPACalculationError) -> Int64 {
    switch metric {
    case .success(let value): return value
    case .failure(let error): throw .metricsUnavailable("unable to get metric: \(error.message)")
    }
  }

  private static func external(_ metric: ExternalMetric) throws(HPACalculationError) -> [Int64] {
    switch metric {
    case .success(let values): return values
    case .failure(let error): throw .metricsUnavailable("unable to get external metric: \(error.message)")
    }
  }
}
