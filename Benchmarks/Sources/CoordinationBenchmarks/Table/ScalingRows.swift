import HPAReference
import KubernetesCore
import ScalingDecision

/// The controller's decision drives 5 to 100 pods through a tenfold load and back (21), beside the HPA's algorithm on CPU alone with the same pods and load.
///
/// Virtual time, a pass each 15 s. A pod has four slots and is ready 20 s after it was ordered. A task is six steps of 10 s with a checkpoint after each.
/// A drained pod hands its tasks back at the next step's end; under the HPA, which knows of no drain, a pod has its 30 s of grace and its unfinished tasks begin anew.
struct ScalingRows: PromiseSource {
  var promises: [Int] { [21] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    var own = ScalingWorld(isOwn: true)
    var reference = ScalingWorld(isOwn: false)
    let (ours, theirs) = (own.run(), reference.run())
    let promise = Promise.all[20]
    var row = ReportRow(
      id: "21", what: "\(promise.definition): load of 5 pods to load of 90 and back (virtual time)",
      baseline: "CPU alone (HPA): \(text(theirs))", seed: promise.seed, target: promise.target, measured: text(ours),
      verdict: Verdict(
        seed: ours.most > 5 && ours.most <= 100, target: ours.settled.map { $0 < 180 } ?? false && ours.restarted == 0))
    row.figures = ["settle_seconds": ours.settled ?? -1, "restarted": Double(ours.restarted)]
    report.add(row)
  }

  private func text(_ outcome: ScalingWorld.Outcome) -> String {
    let settled =
      outcome.settled.map {
        "settled \($0.text(0)) s after the rise, caught up after \((outcome.caughtUp ?? 0).text(0)) s"
      } ?? "never catches up"
    return
      "\(outcome.least)–\(outcome.most) pods, \(settled), longest wait \(outcome.longestWait.text(0)) s, "
      + "\(outcome.restarted) tasks from zero, \(outcome.handedOver) handed over at a step; \(outcome.podHours.text(1)) pod hours"
  }
}

/// Pods, tasks and one of two autoscalers, second by second.
struct ScalingWorld {
  struct Outcome {
    var (least, most) = (Int.max, 0)
    /// From the load's rise until the count is, and stays, at nine tenths of what the load needs.
    var settled: Double?
    /// From the rise until no task waits for longer than 15 s any more.
    var caughtUp: Double?
    var longestWait = 0.0
    var restarted = 0
    var handedOver = 0
    var podHours = 0.0
  }

  private static let start = Timestamp(secondsSinceEpoch: 1_790_000_000)
  private static let (slots, step, steps) = (4, 10, 6)
  /// The load's rise and its end, and when it is over, in seconds.
  private static let (rise, fall, end) = (300, 1_500, 3_000)

  /// Pods that the high load needs.
  private static let worth = 90

  private struct Job {
    var arrived: Int
    var doneSteps = 0
    var hasWaited = false
  }

  private struct Pod {
    var name: String
    var ready: Int
    var jobs: [(job: Job, stepEnd: Int)] = []
    /// When it is killed; nil: it isn't leaving.
    var leaves: Int?
  }

  private let isOwn: Bool
  private var queue: [Job] = []
  private var pods: [Pod] = []
  private var made = 0
  private var state = DecisionState()
  private let spec: DecisionSpec
  private var reference: HPAController
  private var outcome = Outcome()
  private var arrivals = 0

  init(isOwn: Bool) {
    self.isOwn = isOwn
    spec = DecisionSpec(
      minReplicas: 5, maxReplicas: 100,
      metrics: [MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: Int64(Self.slots) * 1_000))])
    let target = HPAMetricTarget(type: .utilization, averageUtilization: 70)
    reference = HPAController(
      spec: HPADefaults.applied(
        to: HPASpec(
          scaleTargetRef: HPAObjectReference(kind: "Deployment", name: "fleet", apiVersion: "apps/v1"), minReplicas: 5,
          maxReplicas: 100,
          metrics: [HPAMetricSpec(type: .resource, resource: HPAResourceSource(name: "cpu", target: target))],
          behavior: HPABehaviorSpec())))
    for _ in 0..<5 { add(ready: 0) }
  }

  private mutating func add(ready: Int) {
    made += 1
    pods.append(Pod(name: "w-\(made)", ready: ready))
  }

  /// Tasks of a second: as many as so many pods work off.
  private func load(_ now: Int) -> Int {
    let worth = now >= Self.rise && now < Self.fall ? Self.worth : 5
    // Pods × slots ÷ the task's seconds, as whole tasks with what is left carried on.
    let rate = worth * Self.slots
    let length = Self.step * Self.steps
    return rate * (now + 1) / length - rate * now / length
  }

  mutating func run() -> Outcome {
    var behindAt = Self.rise
    var counts: [Int] = []
    for now in 0..<Self.end {
      for _ in 0..<load(now) { queue.append(Job(arrived: now)) }
      work(now)
      if now % 15 == 0 { decide(now) }
      let active = pods.count { $0.leaves == nil }
      outcome.least = min(outcome.least, active)
      outcome.most = max(outcome.most, active)
      outcome.podHours += Double(pods.count) / 3_600
      guard now >= Self.rise, now < Self.fall else { continue }
      counts.append(active)
      if let oldest = queue.first, now - oldest.arrived > 15 { behindAt = now + 1 }
    }
    let unsettled = counts.lastIndex { $0 * 10 < Self.worth * 9 } ?? -1
    // A fleet that can't carry the load hasn't settled, however steady it is.
    outcome.settled = behindAt < Self.fall ? Double(unsettled + 1) : nil
    outcome.caughtUp = behindAt < Self.fall ? Double(behindAt - Self.rise) : nil
    return outcome
  }

  private mutating func work(_ now: Int) {
    for index in pods.indices {
      var kept: [(job: Job, stepEnd: Int)] = []
      for var (job, stepEnd) in pods[index].jobs {
        if now >= stepEnd {
          job.doneSteps += 1
          if job.doneSteps == Self.steps { continue }
          if pods[index].leaves != nil, isOwn {
            outcome.handedOver += 1
            queue.insert(job, at: 0)
            continue
          }
          stepEnd = now + Self.step
        }
        kept.append((job, stepEnd))
      }
      pods[index].jobs = kept
      if let leaves = pods[index].leaves, now >= leaves {
        // Killed in the middle of something: without a drain there is no checkpoint that anybody would hand over.
        for (job, _) in pods[index].jobs {
          outcome.restarted += 1
          queue.insert(Job(arrived: job.arrived, hasWaited: true), at: 0)
        }
        pods[index].jobs = []
      }
    }
    pods.removeAll { $0.leaves != nil && $0.jobs.isEmpty }
    for index in pods.indices where pods[index].leaves == nil && pods[index].ready <= now {
      while pods[index].jobs.count < Self.slots, !queue.isEmpty {
        var job = queue.removeFirst()
        if !job.hasWaited { outcome.longestWait = max(outcome.longestWait, Double(now - job.arrived)) }
        job.hasWaited = true
        pods[index].jobs.append((job, now + Self.step))
      }
    }
  }

  private mutating func decide(_ now: Int) {
    let active = pods.count { $0.leaves == nil }
    let time = Self.start + .seconds(now)
    let wanted = isOwn ? own(active, now, time) : hpa(active, now, time)
    for _ in active..<max(active, wanted) { add(ready: now + 20) }
    guard wanted < active else { return }
    // The product says which (the least to lose goes first), the HPA doesn't.
    var order = pods.indices.filter { pods[$0].leaves == nil }
    if isOwn { order.sort { (pods[$0].jobs.count, -$0) < (pods[$1].jobs.count, -$1) } }
    for index in order.prefix(active - wanted) { pods[index].leaves = now + (isOwn ? 600 : 30) }
  }

  private mutating func own(_ active: Int, _ now: Int, _ time: Timestamp) -> Int {
    let held = pods.reduce(0) { $0 + ($1.leaves == nil ? $1.jobs.count : 0) }
    let workers = pods.filter { $0.leaves == nil }.map { pod in
      WorkerObservation(
        name: pod.name, readiness: .init(isReady: pod.ready <= now, since: Self.start + .seconds(pod.ready)),
        createdAt: Self.start + .seconds(pod.ready - 20), startedAt: Self.start + .seconds(pod.ready - 19),
        requests: WorkerRequests(containers: [.init(name: "worker", cpu: 250, memory: 512_000_000_000)]))
    }
    let report = BacklogReport(
      queued: Int64(queue.count), inFlight: Int64(held), slotsPerWorker: Int64(Self.slots), at: time)
    let input = DecisionInput(
      now: time, specReplicas: active, statusReplicas: active, workers: workers, readings: [.backlog(report)])
    let plan = ScalingDecision.decide(spec, state, input)
    state = plan.state
    return plan.desiredReplicas
  }

  private mutating func hpa(_ active: Int, _ now: Int, _ time: Timestamp) -> Int {
    let present = pods.filter { $0.leaves == nil }
    var samples: [String: HPAPodMetric] = [:]
    for pod in present where pod.ready <= now {
      // A slot at work takes a fifth of the request, so that a busy pod is at 80 %.
      samples[pod.name] = HPAPodMetric(timestamp: time, window: .seconds(30), valueMilli: Int64(pod.jobs.count) * 50)
    }
    let step = HPAStep(
      specReplicas: Int32(active), statusReplicas: Int32(active), selector: "app=fleet",
      pods: present.map { pod in
        HPAPod(
          name: pod.name, labels: ["app": "fleet"], phase: .running, startTime: Self.start + .seconds(pod.ready - 19),
          ready: .init(status: pod.ready <= now ? .true : .false, lastTransitionTime: Self.start + .seconds(pod.ready)),
          containers: [.init(name: "worker", requestsMilli: ["cpu": 250])])
      }, samples: [.pods(samples)])
    // Nil: it leaves the count alone.
    return Int(reference.reconcile(step, now: time).scaledTo ?? Int32(active))
  }
}
