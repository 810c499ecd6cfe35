import KubernetesCore
import ScalingDecision
import ScalingObservation
import StatusPage

/// A fleet that exists only here: invented work, real decisions. Each step asks `ScalingDecision` and does what it says.
struct PreviewFleet {
  /// A worker that exists only here.
  struct Worker {
    var name: String
    var createdAt: Timestamp
    var work: [Timestamp] = []
    var drain = WorkerActivity.Drain.none
  }

  static let slots = 3
  /// Output tokens a minute of one piece of work.
  static let tokensPerWork: Int64 = 9_000
  static let tokenLimit: Int64 = 400_000

  let key: ObjectKey
  let spec: DecisionSpec
  /// How much work arrives in a step at most.
  let load: Int
  /// How many steps a rise and a fall of the load take together.
  let period: Int
  var state = DecisionState()
  var workers: [Worker] = []
  var queued = 0
  /// Whether a worker goes down with its work now and then, as with its node.
  var isUnlucky = false
  /// Workers that left while they had work, and the pieces that went with them.
  var lost = (workers: 0, work: 0)
  var steps: Int
  var random: SplitMix

  init(key: ObjectKey, seed: UInt64, load: Int, phase: Int = 0, period: Int = 160, minimum: Int = 5, maximum: Int = 40)
  {
    self.key = key
    self.load = load
    self.period = period
    random = SplitMix(state: seed)
    steps = phase
    spec = DecisionSpec(
      minReplicas: minimum, maxReplicas: maximum,
      metrics: [
        MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: 3_000)),
        MetricSpec(name: "cpu", source: .resource(.cpu), target: .utilizationBand(lower: 70, upper: 85)),
        MetricSpec(name: "API", source: .apiRate, target: .utilizationBand(lower: 85, upper: 95)),
      ],
      drain: DrainSpec(expectsReports: true))
  }

  /// What the page asks for.
  func activity(at now: Timestamp) -> FleetActivityReport {
    var report = FleetActivityReport(
      backlog: BacklogReport(
        queued: Int64(queued), inFlight: Int64(inFlight), slotsPerWorker: Int64(Self.slots), at: now))
    for worker in workers { report.workers[worker.name] = .init(activity: activity(of: worker), at: now) }
    return report
  }

  var inFlight: Int { workers.reduce(0) { $0 + $1.work.count } }

  private func activity(of worker: Worker) -> WorkerActivity {
    WorkerActivity(
      inFlight: worker.work.count, slots: Self.slots, oldestWorkAt: worker.work.first,
      isWaitingForAPI: worker.work.count == Self.slots && worker.name.utf8.last == UInt8(ascii: "7"),
      drain: worker.drain)
  }

  /// Lets `seconds` pass up to `now`, and decides.
  mutating func step(to now: Timestamp, page: StatusPage) {
    steps += 1
    if workers.isEmpty { grow(to: spec.minReplicas, now) }
    letTimePass(now)
    if isUnlucky, steps % 20 == 0, let worker = workers.first(where: { !$0.work.isEmpty }) { remove([worker.name]) }
    let before = state
    let input = self.input(now)
    let plan = ScalingDecision.decide(spec, state, input)
    state = plan.state
    for order in plan.orders {
      switch order {
      case .drain(let name): change(name) { $0.drain = .acknowledged(since: now) }
      case .undrain(let name): change(name) { $0.drain = .none }
      case .setDeletionCost: break
      }
    }
    let count = workers.count
    if let write = plan.write { write > count ? grow(to: write, now) : shrink(to: write, plan.victims) }
    let reasons = plan.reasons.map { String(describing: $0).prefix { $0 != "(" } }.joined(separator: " ")
    var observation = PageModel.Observation(
      key: key, at: now, target: "Deployment/\(key.name)", plan: plan, ready: count, inFlight: inFlight,
      hasWritten: plan.write != nil, signature: "\(plan.bindingStep) \(reasons)".hashValue)
    observation.removedBusy = lost.workers
    observation.lostWork = lost.work
    page.observe(observation) { withWorkers in
      let record = DecisionRecord(
        program: "preview", namespace: key.namespace, name: key.name, spec: spec, stateBefore: before, input: input,
        plan: plan)
      return (try? (withWorkers ? record : record.withoutWorkers).line()) ?? []
    }
  }

  private mutating func letTimePass(_ now: Timestamp) {
    for index in workers.indices {
      workers[index].work.removeAll { _ in Int.random(in: 0..<100, using: &random) < 22 }
    }
    // A load that rises, falls, and bursts now and then.
    let place = steps % period
    let slope = place < period / 2 ? place : period - place
    let burst = steps % 47 < 4 ? load : 0
    queued += load * slope * 2 / period + Int.random(in: 0...2, using: &random) + burst
    for index in workers.indices where workers[index].drain == .none {
      while workers[index].work.count < Self.slots, queued > 0 {
        queued -= 1
        workers[index].work.append(now)
      }
    }
    queued = min(queued, load * 12)
  }

  private func input(_ now: Timestamp) -> DecisionInput {
    let offered = Int64(inFlight + min(queued, 30) / 3) * Self.tokensPerWork
    let samples = workers.map { worker in
      WorkerSample(
        worker: worker.name, milli: 300 + Int64(worker.work.count) * 160, at: now, window: .seconds(15))
    }
    return DecisionInput(
      now: now, specReplicas: workers.count, statusReplicas: workers.count,
      workers: workers.map { worker in
        WorkerObservation(
          name: worker.name, readiness: .init(isReady: true, since: worker.createdAt), createdAt: worker.createdAt,
          startedAt: worker.createdAt,
          requests: WorkerRequests(containers: [.init(name: "worker", cpu: 1_000, memory: 1_000)]),
          activity: activity(of: worker))
      },
      readings: [
        .backlog(
          BacklogReport(
            queued: Int64(queued), inFlight: Int64(inFlight), slotsPerWorker: Int64(Self.slots), at: now)),
        .perWorker(samples),
        .budget(
          BudgetReport(
            loads: [
              .init(.outputTokens, limit: Self.tokenLimit, offered: offered, band: .init(lower: 80, upper: 90)),
              .init(.requests, limit: 4_000, offered: offered / 400),
            ], at: now)),
      ])
  }

  private mutating func grow(to count: Int, _ now: Timestamp) {
    while workers.count < count {
      let suffix = String(UInt32.random(in: 60_466_176...UInt32.max, using: &random), radix: 36).suffix(5)
      workers.append(Worker(name: "\(key.name)-6f9c7d58b4-\(suffix)", createdAt: now - .seconds(20)))
    }
  }

  private mutating func shrink(to count: Int, _ victims: [String]) {
    remove(victims)
    while workers.count > count, let last = workers.last { remove([last.name]) }
  }

  private mutating func remove(_ names: [String]) {
    for worker in workers where names.contains(worker.name) && !worker.work.isEmpty {
      lost.workers += 1
      lost.work += worker.work.count
    }
    workers.removeAll { names.contains($0.name) }
  }

  private mutating func change(_ name: String, _ body: (inout Worker) -> Void) {
    guard let index = workers.firstIndex(where: { $0.name == name }) else { return }
    body(&workers[index])
  }
}

extension BudgetSample {
  /// The budget that the fleets of a namespace share, as their work in flight loads it.
  static func preview(_ key: ObjectKey, of fleets: [PreviewFleet], random: inout SplitMix) -> BudgetSample {
    let own = fleets.filter { $0.key.namespace == key.namespace }
    let busy = Int64(own.first?.inFlight ?? 0)
    let queued = Int64(own.first?.queued ?? 0)
    let noise = Int64.random(in: 0..<6_000, using: &random)
    let limit = PreviewFleet.tokenLimit
    let output = min(busy * PreviewFleet.tokensPerWork + noise, limit * 90 / 100 + noise)
    let waiting = max(0, busy * PreviewFleet.tokensPerWork - limit * 90 / 100) + (queued > 60 ? queued * 150 : 0)
    return BudgetSample(
      key: key,
      dimensions: [
        .init(
          name: .requests, limit: 4_000, admitted: output / 160, waiting: waiting / 1_000, foreign: 0, lowerPercent: 85,
          upperPercent: 95, source: "spec"),
        .init(
          name: .inputTokens, limit: 2_000_000, admitted: output * 38 / 10, waiting: waiting, foreign: 120_000,
          lowerPercent: 85, upperPercent: 95, source: "headers"),
        .init(
          name: .outputTokens, limit: limit, admitted: output, waiting: waiting, foreign: 0, lowerPercent: 80,
          upperPercent: 90, source: "headers"),
      ],
      waitP95Milliseconds: waiting > 0 ? 400 + waiting / 40 : 12 + noise / 500, waiting: Int(waiting / 4_000),
      rejectedForRate: waiting > 60_000 && noise > 3_000 ? 1 : 0, spentToday: 138_400_000 + busy * 9_000,
      dailyLimit: 500_000_000, clients: own.reduce(0) { $0 + $1.workers.count })
  }
}
