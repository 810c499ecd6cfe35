package import KubernetesCore
package import ScalingDecision

/// The pure half of a pass's observation: pods and metrics as they were read in, a decision's input out.
///
/// The controller reads, asks this, and decides; benchmarks and the HPA's vectors take the same way without a cluster.
package enum Observation {
  /// The samples of `resource`, of one container or of whole pods, in a list of pod metrics sorted by name.
  ///
  /// `names`, sorted as well, are the pods that count; nil: all that are listed.
  package static func reading(
    of resource: String, container: String?, from usage: [PodUsage], pods names: [String]? = nil
  ) -> MetricReading {
    let own = names.map { PodUsage.select($0, from: usage) } ?? usage
    var samples: [WorkerSample] = []
    samples.reserveCapacity(own.count)
    for pod in own {
      guard let milli = pod.milli(of: resource, container: container) else { continue }
      samples.append(WorkerSample(worker: pod.pod, milli: milli, at: pod.at, window: pod.window))
    }
    return .perWorker(samples)
  }

  /// The input of a decision; `readings` has one entry for each of `metrics`, or is empty where none was read.
  ///
  /// What workers report is joined to their pods while it isn't older than `freshness`.
  package static func input(
    now: Timestamp, specReplicas: Int, statusReplicas: Int, pods: [Pod], metrics: [MetricSpec],
    readings: [MetricReading], reports: FleetActivityReport? = nil, freshness: Duration = DecisionLimits().freshness,
    foreignWriter: ForeignWriter? = nil, olderRival: String? = nil
  ) -> DecisionInput {
    let workers = pods.map { pod in
      var worker = WorkerObservation(pod)
      worker.activity = reports?.activity(of: pod, now: now, freshness: freshness)
      return worker
    }
    return DecisionInput(
      now: now, specReplicas: specReplicas, statusReplicas: statusReplicas, workers: workers,
      readings: settled(readings, metrics, workers, now), completedWork: reports?.completedWork,
      foreignWriter: foreignWriter, olderRival: olderRival,
      unseenWorkers: reports?.unseenWorkers(among: pods, now: now) ?? 0)
  }

  /// What was read, without CPU that would be counted twice.
  private static func settled(
    _ readings: [MetricReading], _ metrics: [MetricSpec], _ workers: [WorkerObservation], _ now: Timestamp
  ) -> [MetricReading] {
    var readings = readings
    for index in readings.indices where index < metrics.count {
      switch metrics[index].source {
      case .resource(.cpu), .containerResource(.cpu, _): break
      default: continue
      }
      guard case .workers(let samples) = readings[index] else { continue }
      readings[index] = .workers(SampleOverlap.removing(from: samples, of: workers, now: now))
    }
    return readings
  }
}
