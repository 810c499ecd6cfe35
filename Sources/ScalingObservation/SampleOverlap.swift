package import KubernetesCore
package import ScalingDecision

/// Keeps a load from being counted twice while a new worker takes it over.
///
/// CPU samples are averages over a window. When a worker becomes ready, the samples of older workers still contain for a
/// window's length what it has taken over, while its own sample is there already: added up they show more load than
/// there is, and growth overshoots. A sample is therefore left out until the samples of all workers that were ready
/// earlier began after its worker became ready. Its worker then counts as missing: idle against growth, fully used
/// against a shrink. The HPA's rule about young workers looks at the sample's own window only.
package enum SampleOverlap {
  /// How long a sample is left out at most after its worker became ready: a frozen source must not hold it back for ever.
  package static let longestWait = Duration.seconds(120)

  private struct Young {
    var worker: String
    var since: Timestamp
    var begin: Timestamp
  }

  /// `samples` without those that overlap; both are sorted by the names of the workers.
  package static func removing(
    from samples: WorkerSamples, of workers: [WorkerObservation], now: Timestamp
  ) -> WorkerSamples {
    let youngSince = now - longestWait
    // The common case costs one look at each worker.
    guard workers.contains(where: { ($0.readiness?.since ?? youngSince) > youngSince && $0.isReady }) else {
      return samples
    }
    let left = overlapping(samples.samples, workers, youngSince)
    return left.isEmpty ? samples : WorkerSamples(samples.samples.filter { !left.contains($0.worker) })
  }

  private static func overlapping(
    _ samples: [WorkerSample], _ workers: [WorkerObservation], _ youngSince: Timestamp
  ) -> Set<String> {
    var readySince: [String: Timestamp] = [:]
    for index in workers.indices where workers[index].isAlive && workers[index].isReady {
      readySince[workers[index].name] = workers[index].readiness?.since
    }
    var earliest: Timestamp?
    var young: [Young] = []
    for sample in samples {
      guard let since = readySince[sample.worker] else { continue }
      if since > youngSince {
        young.append(Young(worker: sample.worker, since: since, begin: sample.begin))
      } else {
        earliest = min(earliest ?? sample.begin, sample.begin)
      }
    }
    young.sort { $0.since < $1.since }
    var left: Set<String> = []
    var next = 0
    while next < young.count {
      let since = young[next].since
      // Those that became ready together took over nothing from each other.
      var begin = earliest
      while next < young.count, young[next].since == since {
        if let earliest, earliest < since { left.insert(young[next].worker) }
        begin = min(begin ?? young[next].begin, young[next].begin)
        next += 1
      }
      earliest = begin
    }
    return left
  }
}
