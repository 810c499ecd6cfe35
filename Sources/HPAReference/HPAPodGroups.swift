package import KubernetesCore

/// How the calculators sort the pods under a selector before they compute.
///
/// Source: `groupPods` of `replica_calculator.go`.
package struct HPAPodGroups: Hashable, Sendable {
  /// The number of pods whose samples count.
  package var readyCount = 0
  /// Pods that are pending, or whose CPU sample is not to be trusted yet.
  package var unready: Set<String> = []
  /// Pods without a sample.
  package var missing: Set<String> = []
  /// Pods that are deleted or failed.
  package var ignored: Set<String> = []

  /// Sorts `pods`; only samples of CPU are judged by readiness, so other metrics give an empty `resource`.
  package init(
    pods: [HPAPod], metrics: [String: HPAPodMetric], resource: String, cpuInitializationPeriod: Duration,
    initialReadinessDelay: Duration, now: Timestamp
  ) {
    for pod in pods {
      if pod.isDeleted || pod.phase == .failed {
        ignored.insert(pod.name)
      } else if pod.phase == .pending {
        unready.insert(pod.name)
      } else if let metric = metrics[pod.name] {
        let isUnready =
          resource == "cpu"
          && Self.isUnready(
            pod, metric: metric, cpuInitializationPeriod: cpuInitializationPeriod,
            initialReadinessDelay: initialReadinessDelay, now: now)
        if isUnready {
          unready.insert(pod.name)
        } else {
          readyCount += 1
        }
      } else {
        missing.insert(pod.name)
      }
    }
  }

  private static func isUnready(
    _ pod: HPAPod, metric: HPAPodMetric, cpuInitializationPeriod: Duration, initialReadinessDelay: Duration,
    now: Timestamp
  ) -> Bool {
    guard let ready = pod.ready, let startTime = pod.startTime else { return true }
    if startTime + cpuInitializationPeriod > now {
      // Still initialising: unready, or the sample reaches back before the last change of readiness.
      return ready.status == .false || metric.timestamp < ready.lastTransitionTime + metric.window
    }
    // Later only a pod that has never been ready is set aside.
    return ready.status == .false && startTime + initialReadinessDelay > ready.lastTransitionTime
  }
}
