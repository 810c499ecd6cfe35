import CoordinationCore
import PriorityQueue
import TaskQueue

/// A fleet in virtual time: the real cores, and a network, an engine, processes and an API that fail by plan.
///
/// All chance comes from one seed, all time from one queue of events, so a seed is a run. What is broken is noted in `violations`.
final class World {
  private struct Moment: Comparable, Sendable {
    /// In nanoseconds: millions of these are compared.
    var at: Int64
    var sequence: UInt64
    static func < (lhs: Moment, rhs: Moment) -> Bool {
      lhs.at == rhs.at ? lhs.sequence < rhs.sequence : lhs.at < rhs.at
    }
  }

  let scenario: Scenario
  var dice: Dice
  var now = Duration.zero
  var tally = Tally()
  var engine: EngineModel
  var pods: [Pod] = []
  var leaders: [Conductor] = []
  private var queue = BinaryHeap<Moment>()
  private var actions: [UInt64: () -> Void] = [:]
  private var sequence: UInt64 = 0
  private(set) var violations: [String] = []
  /// The last things that happened.
  private var trace: [String] = []
  var isFaulty = true
  /// When the API fails, as intervals.
  var outages: [Range<Duration>] = []
  /// Calls that the API has carried out, by their key.
  var calls: [String: Int] = [:]
  /// Tasks of which clients have an acknowledgement, by key.
  var acknowledged: [String: TaskID] = [:]

  init(_ scenario: Scenario) {
    self.scenario = scenario
    dice = Dice(state: scenario.seed)
    engine = EngineModel(shards: 4)
  }

  // MARK: Time

  func after(_ delay: Duration, _ action: @escaping () -> Void) {
    sequence += 1
    let (seconds, attoseconds) = (now + delay).components
    queue.push(Moment(at: seconds * 1_000_000_000 + attoseconds / 1_000_000_000, sequence: sequence))
    actions[sequence] = action
  }

  func note(_ text: @autoclosure () -> String) {
    if trace.count >= 400 { trace.removeFirst(200) }
    trace.append("\(now): \(text())")
  }

  func violate(_ text: String) {
    note("VIOLATION \(text)")
    if violations.count < 5 { violations.append("at \(now): \(text)") }
  }

  /// The story of a failed run, to be read.
  var story: String { trace.suffix(80).joined(separator: "\n") }

  /// Runs to the end: faults, then calm, until all is drained.
  func run() {
    start()
    let calm = scenario.length
    after(calm) { [self] in
      isFaulty = false
      note("the faults stop")
      engine.heal()
      for pod in pods { pod.heal() }
      for leader in leaders { leader.heal() }
    }
    var nextScan = Duration.zero
    // What a day of tombstones takes is minutes here.
    let end = calm + .seconds(1_800)
    while let moment = queue.first, now <= end, violations.isEmpty {
      queue.pop()
      now = .nanoseconds(moment.at)
      tally.events += 1
      actions.removeValue(forKey: moment.sequence)?()
      engine.check(self)
      if now >= nextScan {
        nextScan = now + .seconds(2)
        scan()
        if now > calm, tally.drainedAfter == nil, isDrained { tally.drainedAfter = now - calm }
        if tally.drainedAfter != nil, engine.isEmpty { break }
      }
    }
    finish()
    // Actions hold the world.
    actions = [:]
  }

  private func start() {
    for number in 0..<scenario.pods { pods.append(Pod(number, self)) }
    for number in 0..<3 { leaders.append(Conductor(number, self)) }
    for pod in pods { pod.start() }
    for leader in leaders { leader.start() }
    for number in 0..<scenario.tasks { after(.milliseconds(dice.roll(200_000))) { [self] in submit(number) } }
    let length = Int(scenario.length.components.seconds) * 1_000
    func plan(_ count: Int, _ action: @escaping () -> Void) {
      for _ in 0..<count {
        after(.milliseconds(dice.roll(length))) { [self] in
          tally.faults += 1
          action()
        }
      }
    }
    plan(scenario.crashes) { [self] in pods[dice.roll(pods.count)].crash() }
    plan(scenario.crashes / 2) { [self] in leaders[dice.roll(leaders.count)].crash() }
    plan(scenario.pauses) { [self] in pods[dice.roll(pods.count)].pause(.milliseconds(dice.roll(90_000))) }
    plan(scenario.pauses / 2) { [self] in leaders[dice.roll(leaders.count)].pause(.milliseconds(dice.roll(40_000))) }
    plan(scenario.partitions) { [self] in pods[dice.roll(pods.count)].cut(.milliseconds(dice.roll(60_000))) }
    plan(scenario.drains) { [self] in pods[dice.roll(pods.count)].drain() }
    plan(scenario.gaps) { [self] in engine.gap(self, .milliseconds(dice.roll(10_000))) }
    plan(scenario.stuck) { [self] in engine.stick(self, dice.roll(4)) }
    plan(scenario.flips) { [self] in engine.flip(self) }
    plan(scenario.outages) { [self] in
      let end = now + .milliseconds(dice.roll(60_000))
      outages.append(now..<end)
      // Tasks keep their slots until the breaker has closed: it opens for up to 66 s, and for up to 132 after a probe that failed.
      engine.trouble(now..<(end + .seconds(135)))
    }
  }

  var isOutage: Bool { isFaulty && outages.contains { $0.contains(now) } }

  // MARK: Clients

  /// A client that submits until it has an answer, and now and then again although it has one.
  private func submit(_ number: Int) {
    let lane: TaskLane = [.critical, .high, .high, .normal, .normal, .normal, .normal, .bulk, .bulk, .bulk][number % 10]
    let isPoison = number % 23 == 7
    let plan = [UInt8(1 + number % 4), isPoison ? 1 : 0]
    let task = NewTask(
      lane: lane, key: TaskKey("k\(number)"), payload: plan, attempts: isPoison ? 3 : 50, fairnessKey: "t\(number % 3)")
    let shard = number % engine.queues.count
    call(isCut: { false }, { engine, now -> Submission? in try? engine.queues[shard].submit([task], now: now).first }) {
      [self] answer in
      guard let answer = answer ?? nil else {
        after(.milliseconds(500 + dice.roll(1_000))) { [self] in submit(number) }
        return
      }
      if let known = acknowledged["k\(number)"], known != answer.id {
        violate("k\(number) is \(known) and \(answer.id)")
      }
      acknowledged["k\(number)"] = answer.id
      if isFaulty, dice.roll(10) == 0 { after(.milliseconds(dice.roll(5_000))) { [self] in submit(number) } }
    }
  }

  // MARK: Network

  /// Sends a request to the engine and gives its answer, or nil after 5 s; each message may be lost, late, or come twice.
  func call<Answer>(
    isCut: @escaping () -> Bool, _ request: @escaping (inout EngineModel, Duration) -> Answer,
    _ reply: @escaping (Answer?) -> Void
  ) {
    var isAnswered = false
    func answer(_ value: Answer?) {
      guard !isAnswered else { return }
      isAnswered = true
      reply(value)
    }
    let copies = isFaulty && dice.roll(1_000) < scenario.duplication ? 2 : 1
    for copy in 0..<copies {
      guard !isCut(), !isLost() else { continue }
      // The second copy may come long after what followed the first one.
      after(delay() + .milliseconds(copy * dice.roll(15_000))) { [self] in
        guard !engine.isAway(now) else { return }
        let value = request(&engine, now)
        // Carried out, and the answer is lost with the leader.
        guard !isCut(), !isLost() else { return }
        after(delay()) { if !isCut() { answer(value) } }
      }
    }
    after(.seconds(5)) { answer(nil) }
  }

  private func isLost() -> Bool { isFaulty && dice.roll(1_000) < scenario.loss }

  private func delay() -> Duration { .microseconds(300 + dice.roll(1_000 * (isFaulty ? scenario.delay : 2))) }

  // MARK: Invariants

  /// What is looked at every two seconds, being too much for each step.
  private func scan() {
    for (key, id) in acknowledged {
      guard (try? engine.queues[engine.shard(of: id)].record(id)) != nil else {
        return violate("\(key), \(id), is lost")
      }
    }
    if engine.leaderEpochs.count != Set(engine.leaderEpochs).count { violate("a leader's epoch was given twice") }
  }

  /// Whether each task has ended and nobody holds anything.
  var isDrained: Bool {
    acknowledged.count == scenario.tasks && engine.queues.indices.allSatisfy { engine.outstanding($0, now) == 0 }
      && pods.allSatisfy(\.isIdle)
  }

  private func finish() {
    guard violations.isEmpty else { return }
    guard tally.drainedAfter != nil else {
      let left = engine.queues.indices.map { engine.outstanding($0, now) }
      let holding = pods.filter { !$0.isIdle }.map(\.description)
      return violate(
        "it doesn't drain: \(acknowledged.count) of \(scenario.tasks) acknowledged, \(left) outstanding, \(holding)")
    }
    for index in engine.queues.indices {
      let statistics = engine.queues[index].statistics(now: now)
      tally.committed += statistics.done
      tally.dead += statistics.dead
      tally.stale += statistics.stale
      if statistics.leased > 0 { violate("leases without a holder") }
    }
    tally.acknowledged = acknowledged.count
    if !engine.isEmpty { violate("left in the store: \(engine.residue)") }
    for (key, id) in acknowledged.sorted(by: { $0.key < $1.key }) {
      guard let record = try? engine.queues[engine.shard(of: id)].record(id) else { continue }
      let isPoison = record.task.attempts == 3
      switch record.state.name {
      case .done where !isPoison, .dead where isPoison: break
      default: violate("\(key) ended as \(record.state)")
      }
    }
    tally.leaderships = engine.leaderEpochs.count
    for (key, count) in calls {
      tally.calls += count
      tally.repeated += count - 1
      // Each claim of the task may have been in that call when it ended.
      let claims = Int(engine.epochs[String(key.prefix { $0 != "/" })] ?? 1)
      if count > claims { violate("call \(key) was made \(count) times in \(claims) claims") }
    }
  }
}
