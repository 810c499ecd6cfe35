import SlowTests
import Testing

@testable import TaskQueue

/// Seconds on the queue's clock.
private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

extension TaskQueue {
  /// Claims and completes tasks one by one, as one worker does it.
  fileprivate mutating func work(_ count: Int, now: Duration) throws -> [ClaimedTask] {
    var done: [ClaimedTask] = []
    for _ in 0..<count {
      guard let task = try claim(worker: "w", maximum: 1, lease: nil, now: now).first else { break }
      _ = try complete(task.ticket, result: [], now: now)
      done.append(task)
    }
    return done
  }

  fileprivate mutating func fill(_ lane: TaskLane, _ count: Int, key: String = "", cost: Int? = nil, now: Duration)
    throws
  {
    for start in stride(from: 0, to: count, by: 1_000) {
      let tasks = (start..<min(count, start + 1_000)).map { _ in
        NewTask(lane: lane, payload: [], fairnessKey: key, cost: cost)
      }
      _ = try submit(tasks, now: now)
    }
  }
}

@Suite struct LaneTests {
  private var queue = TaskQueue(name: "q", instance: "s")

  @Test(
    "With all lanes full critical gets its tenth and half of high's turns, and the others share the rest 16 to 4 to 1")
  mutating func shares() throws {
    for lane in TaskLane.allCases { try queue.fill(lane, 4_000, now: at(0)) }
    // The burst of the start is over.
    _ = try queue.work(200, now: at(0))
    let done = try queue.work(2_100, now: at(0))
    let taken = TaskLane.allCases.map { lane in done.count { $0.lane == lane } }
    // 210 first, and of the other 1,890: 90 bulk, 360 normal, 1,440 for high and what is critical beyond its share.
    for (count, expected) in zip(taken, [930, 720, 360, 90]) { #expect(abs(count - expected) <= 12, "\(taken)") }
  }

  @Test("Critical tasks within their share come before all others", arguments: 1...9)
  mutating func criticalFirst(percent: Int) throws {
    for lane in [TaskLane.high, .normal, .bulk] { try queue.fill(lane, 2_000, now: at(0)) }
    var arrived = 0
    for claim in 0..<1_000 where claim * percent / 100 > arrived || claim == 0 {
      arrived += 1
      try queue.fill(.critical, 1, now: at(claim))
      #expect(try queue.work(1, now: at(claim)).map(\.lane) == [.critical])
      _ = try queue.work(100 / percent - 1, now: at(claim))
    }
    #expect(arrived > 5)
  }

  @Test("A flood of critical tasks leaves the other lanes what is theirs")
  mutating func criticalFlood() throws {
    try queue.fill(.critical, 20_000, now: at(0))
    try queue.fill(.normal, 2_000, now: at(1))
    try queue.fill(.bulk, 2_000, now: at(1))
    let done = try queue.work(5_000, now: at(2))
    #expect(done.count { $0.lane == .bulk } >= 5_000 * 4 / 100)
    #expect(done.count { $0.lane == .normal } >= 5_000 * 16 / 100)
  }

  @Test("A lane that had nothing for long, or for which nobody had room, doesn't make up for it")
  mutating func noCredit() throws {
    for _ in 0..<5 {
      try queue.fill(.high, 100, now: at(0))
      _ = try queue.work(100, now: at(0))
    }
    try queue.fill(.bulk, 2_000, now: at(1))
    try queue.fill(.high, 2_000, now: at(1))
    for _ in 0..<50 {
      let room = LaneCounts(critical: 1, high: 10, normal: 10, bulk: 0)
      #expect(
        try queue.claim(worker: "w", maximum: 10, lease: nil, room: room, now: at(1)).allSatisfy { $0.lane == .high })
    }
    let next = try queue.work(51, now: at(1))
    #expect((2...4).contains(next.count { $0.lane == .bulk }))
  }

  @Test("The keys of a lane share it evenly, however much each has submitted and whoever came first")
  mutating func keys() throws {
    try queue.fill(.normal, 5_000, key: "flood", now: at(0))
    _ = try queue.work(1_000, now: at(0))
    for key in ["a", "b", "c"] { try queue.fill(.normal, 50, key: key, now: at(1)) }
    // 200 claims for four keys, of which 50 each: all tasks of the small ones are through.
    let done = try queue.work(201, now: at(1))
    #expect(done.count { $0.age == at(0) } == 150)
  }

  @Test("Ever new keys don't keep an old one waiting")
  mutating func newKeys() throws {
    try queue.fill(.normal, 100, key: "tenant", now: at(0))
    for number in 0..<200 {
      try queue.fill(.normal, 2, key: "request \(number)", now: at(1))
      _ = try queue.work(2, now: at(1))
    }
    #expect(queue.statistics(now: at(1)).oldestPending == at(1))
    let left = queue.statistics(now: at(1)).ready[2]
    // The tenant takes its turn with however many keys wait, whose number grows with each turn that it takes: about thirty times.
    let tenants = try queue.work(left, now: at(1)).count { $0.age == at(1) }
    #expect(tenants < 80, "\(tenants) of 100 are left")
  }

  @Test("A key pays by cost: tasks ten times as dear are claimed a tenth as often")
  mutating func costs() throws {
    try queue.fill(.normal, 2_000, key: "dear", cost: 10, now: at(0))
    try queue.fill(.normal, 2_000, key: "cheap", cost: 1, now: at(1))
    let done = try queue.work(1_100, now: at(1))
    #expect(abs(done.count { $0.age == at(1) } - 100) <= 2)
    // Without a cost the payload tells: 40 KiB are eleven units.
    #expect(NewTask(payload: [UInt8](repeating: 0, count: 40_960)).fairnessCost == 11)
  }

  @Test("Bulk is turned away while its oldest task has waited beyond its deadline, with the time to come again")
  mutating func shedding() throws {
    try queue.fill(.bulk, 10, now: at(0))
    try queue.fill(.bulk, 10, now: at(3_600))
    let shed = TaskQueueError.shed(queue: "q", lane: .bulk, age: at(3_640), retryAfter: at(40))
    #expect(throws: shed) {
      _ = try queue.submit([NewTask(lane: .high, payload: []), NewTask(lane: .bulk, payload: [])], now: at(3_640))
    }
    // The other lanes are open, and so is a task that is known already.
    try queue.fill(.normal, 1, now: at(3_640))
    #expect(queue.statistics(now: at(3_640)).shed == 1)
    #expect(queue.statistics(now: at(3_640)).submitted == 21)
    #expect(throws: TaskQueueError.shed(queue: "q", lane: .bulk, age: at(9_000), retryAfter: at(300))) {
      try queue.fill(.bulk, 1, now: at(9_000))
    }
    // The oldest are done: those that are left are young enough.
    _ = try queue.work(11, now: at(3_700))
    try queue.fill(.bulk, 1, now: at(3_700))
  }

  @Test("A known key is answered although its lane is shed")
  mutating func duplicateWhileShedding() throws {
    let task = NewTask(lane: .bulk, key: TaskKey("k"), payload: [])
    let first = try queue.submit([task], now: at(0))
    #expect(try queue.submit([task], now: at(9_000)) == [Submission(id: first[0].id, isDuplicate: true)])
  }

  @Test("What is taken back comes no more, wherever it stood, and the others' order stays", arguments: 0..<20)
  func withdrawn(seed: UInt64) {
    var dice = Dice(state: seed)
    var (lane, left) = (FairLane(), [UInt64: String]())
    for number in 0..<UInt64(300) {
      let key = "k\(dice.roll(seed % 4 == 0 ? 80 : 3))"
      lane.push(FairLane.Waiting(number: number, cost: number % 5 + 1, submitted: .zero), key: key)
      left[number] = key
      if dice.roll(3) == 0,
        let (number, key) = left.sorted(by: { $0.key < $1.key })[...].dropFirst(dice.roll(left.count)).first
      {
        lane.withdraw(number, key: key)
        left[number] = nil
        // Half of them come back, some of those are taken back again.
        for _ in 0..<dice.roll(3) {
          lane.push(FairLane.Waiting(number: number, cost: number % 5 + 1, submitted: .zero), key: key)
          guard dice.roll(2) == 0 else {
            left[number] = key
            break
          }
          lane.withdraw(number, key: key)
        }
      }
      if dice.roll(4) == 0, let next = lane.pop() { #expect(left.removeValue(forKey: next.number) != nil) }
      #expect(lane.count == left.count && lane.keyCount == Set(left.values).count)
      #expect(lane.oldest?.number == left.keys.min())
    }
    var last: [String: UInt64] = [:]
    while let next = lane.pop() {
      guard let key = left.removeValue(forKey: next.number) else {
        Issue.record("\(next.number) was taken back")
        return
      }
      #expect(last[key].map { $0 < next.number } ?? true)
      last[key] = next.number
    }
    #expect(left.isEmpty && lane.count == 0 && lane.keyCount == 0)
  }

  @Test("A hundred thousand keys leave nothing behind")
  func forgotten() {
    var lane = FairLane()
    for number in 0..<100_000 {
      lane.push(FairLane.Waiting(number: UInt64(number), cost: 3, submitted: .zero), key: "k\(number)")
      if number % 4 == 3 {
        for _ in 0..<4 where lane.count > 1 { _ = lane.pop() }
      }
    }
    #expect(lane.keyCount <= 4)
    while lane.pop() != nil {}
    #expect(lane.keyCount == 0 && lane.count == 0)
  }

  @Test(
    "What can't be meant is refused",
    arguments: [NewTask(payload: [], cost: 0), NewTask(payload: [], fairnessKey: String(repeating: "t", count: 254))])
  mutating func invalid(task: NewTask) {
    #expect(throws: TaskQueueError.self) { try queue.submit([task], now: .zero) }
  }
}

/// Tasks that come at random to one server of several slots, in virtual time; waits by lane.
private struct LaneLoad {
  var dice: Dice
  /// Arrivals of each lane in percent of all.
  var mix: LaneCounts
  /// Offered work in percent of what the slots can do.
  var load: Int
  var slots = 16
  var reserves = true
  /// Whether all tasks go through one lane, as a queue without lanes has them.
  var isOneLane = false
  var policy = LanePolicy()

  struct Outcome {
    var waits: [TaskLane: [Duration]] = [:]
    var arrived = LaneCounts(all: 0)
    var started = LaneCounts(all: 0)

    func mean(_ lane: TaskLane) -> Duration {
      guard let waits = waits[lane], !waits.isEmpty else { return .zero }
      return waits.reduce(.zero, +) / waits.count
    }

    func percentile(_ lane: TaskLane, _ percent: Int) -> Duration {
      guard let waits = waits[lane]?.sorted(), !waits.isEmpty else { return .zero }
      return waits[min(waits.count - 1, waits.count * percent / 100)]
    }
  }

  /// A time whose mean is `mean` milliseconds, now and then many times that: a fair coin's run of heads, and an even rest.
  private mutating func time(_ mean: Int) -> Duration {
    var halvings = 0
    while dice.roll(2) == 0, halvings < 10 { halvings += 1 }
    return .microseconds((halvings * 1_000 + dice.roll(1_000)) * mean * 1_000 / 1_500)
  }

  /// Tasks arrive for `length` and take 2 s each.
  mutating func run(for length: Duration) throws -> Outcome {
    var limits = TaskQueueLimits()
    limits.rememberedResults = 10
    policy.deadlines = [:]
    var queue = TaskQueue(name: "q", instance: "s", limits: limits, lanes: policy)
    var outcome = Outcome()
    var intakePolicy = SlotIntake.Policy()
    if !reserves { intakePolicy.slotsPerReserved = 1_000 }
    intakePolicy.prefetchPercent = LaneCounts(all: 0)
    var intake = SlotIntake(slots: slots, policy: intakePolicy)
    var ends: [(at: Duration, task: ClaimedTask)] = []
    var lanes: [TaskID: TaskLane] = [:]
    var nextArrival = Duration.zero
    var now = Duration.zero
    while now < length {
      if now == nextArrival {
        let lane = pick()
        outcome.arrived[lane] += 1
        let task = NewTask(lane: isOneLane ? .normal : lane, payload: [])
        lanes[try queue.submit([task], now: now)[0].id] = lane
        if task.lane == .critical { intake.noteCritical(now: now) }
        nextArrival += max(time(2_000 * 100 / (load * slots)), .microseconds(1))
      }
      while let end = ends.first, end.at <= now {
        ends.removeFirst()
        intake.finished(end.task.lane)
        _ = try queue.complete(end.task.ticket, result: [], now: now)
      }
      var begun = -1
      while begun != 0 {
        begun = 0
        let room = intake.room(now: now)
        guard room.maximum > 0 else { break }
        for task in try queue.claim(
          worker: "w", maximum: room.maximum, lease: .seconds(3_600), room: room.lanes, now: now)
        {
          begun += 1
          intake.claimed(task.lane, now: now)
          #expect(intake.begin(now: now) == task.lane)
          outcome.waits[lanes[task.ticket.id] ?? .bulk, default: []].append(task.age)
          let end = now + max(time(2_000), .microseconds(1))
          ends.insert((end, task), at: ends.firstIndex { $0.at > end } ?? ends.count)
        }
      }
      now = min(nextArrival, ends.first?.at ?? nextArrival)
    }
    outcome.started = LaneCounts(all: 0)
    for (lane, waits) in outcome.waits { outcome.started[lane] = waits.count }
    // Who still waits has waited as well.
    while let left = try queue.claim(worker: "end", maximum: 1, lease: nil, now: now).first {
      outcome.waits[lanes[left.ticket.id] ?? .bulk, default: []].append(left.age)
    }
    return outcome
  }

  private mutating func pick() -> TaskLane {
    var left = dice.roll(mix.total)
    for lane in TaskLane.allCases {
      left -= mix[lane]
      if left < 0 { return lane }
    }
    return .bulk
  }
}

@Suite struct LanePropertyTests {
  @Test("Whatever the mix, high waits no longer than normal on average", .slow, arguments: [70, 85, 95, 110, 150, 200])
  func highBeforeNormal(load: Int) throws {
    var (high, normal) = (Duration.zero, Duration.zero)
    for seed in 0..<4 {
      var dice = Dice(state: UInt64(100 * load + seed))
      let mix = LaneCounts(
        critical: dice.roll(5), high: 5 + dice.roll(90), normal: 5 + dice.roll(90), bulk: dice.roll(60))
      var run = LaneLoad(dice: dice, mix: mix, load: load, reserves: seed % 2 == 0)
      let outcome = try run.run(for: at(1_500))
      high += outcome.mean(.high)
      normal += outcome.mean(.normal)
    }
    print("\(load) %: high \(high / 4), normal \(normal / 4)")
    #expect(high <= normal)
  }

  @Test("A normal task is never claimed before a high one that is older", arguments: 0..<20)
  func neverOvertakes(seed: Int) throws {
    var dice = Dice(state: UInt64(seed))
    var queue = TaskQueue(name: "q", instance: "s")
    var high: [TaskID: Duration] = [:]
    let share = 1 + dice.roll(9)
    for step in 0..<500 {
      let lanes: [TaskLane] = (0..<dice.roll(4)).map { _ in
        dice.roll(10) < share ? .high : TaskLane.allCases[dice.roll(4)]
      }
      if !lanes.isEmpty {
        let answers = try queue.submit(lanes.map { NewTask(lane: $0, payload: []) }, now: at(step))
        for (lane, answer) in zip(lanes, answers) where lane == .high { high[answer.id] = at(step) }
      }
      for task in try queue.claim(worker: "w", maximum: 1, lease: .seconds(3_600), now: at(step)) {
        high[task.ticket.id] = nil
        guard task.lane == .normal else { continue }
        #expect(high.values.allSatisfy { $0 >= at(step) - task.age })
      }
    }
  }

  @Test(
    "The loads of the design: critical waits a claim, high before normal before bulk, and bulk gets its 4 %",
    .slow, arguments: [90, 110, 200])
  func design(load: Int) throws {
    let mix = LaneCounts(critical: 2, high: 18, normal: 40, bulk: 40)
    var run = LaneLoad(dice: Dice(state: 5), mix: mix, load: load)
    let outcome = try run.run(for: at(4_000))
    var oneLane = LaneLoad(dice: Dice(state: 5), mix: mix, load: load, isOneLane: true)
    let fifo = try oneLane.run(for: at(4_000))
    let words = TaskLane.allCases.map {
      "\($0.name) p50 \(outcome.percentile($0, 50)) p99 \(outcome.percentile($0, 99)) (one lane \(fifo.percentile($0, 99))), "
        + "\(outcome.started[$0]) of \(outcome.arrived[$0])"
    }
    print("\(load) %:", words.joined(separator: "; "))
    #expect(outcome.percentile(.critical, 50) == .zero, "\(words)")
    let part = load < 100 ? 10 : 100
    #expect(outcome.percentile(.critical, 99) * part < fifo.percentile(.critical, 99), "\(words)")
    #expect(outcome.percentile(.high, 99) < .seconds(3), "\(words)")
    #expect(outcome.mean(.normal) <= outcome.mean(.bulk), "\(words)")
    #expect(outcome.started.bulk * 100 >= 4 * outcome.started.total, "\(words)")
  }

  @Test("Reserved slots make the critical wait shorter by far, also in overload", .slow, arguments: [90, 110, 200])
  func reserved(load: Int) throws {
    let mix = LaneCounts(critical: 2, high: 18, normal: 40, bulk: 40)
    var with = LaneLoad(dice: Dice(state: 9), mix: mix, load: load)
    var without = LaneLoad(dice: Dice(state: 9), mix: mix, load: load, reserves: false)
    let (first, second) = (try with.run(for: at(2_000)), try without.run(for: at(2_000)))
    print("\(load) %: \(first.mean(.critical)) instead of \(second.mean(.critical))")
    #expect(first.mean(.critical) * 2 < second.mean(.critical))
  }

  @Test("Each waiting task is claimed within a bound, whatever comes after it", arguments: 0..<30)
  func boundedWait(seed: Int) throws {
    var dice = Dice(state: UInt64(seed))
    var queue = TaskQueue(name: "q", instance: "s")
    let keys = 1 + dice.roll(5)
    var watched: [TaskID: (lane: TaskLane, bound: Int)] = [:]
    var ahead: [TaskLane: [String: Int]] = [:]
    var claims = 0
    for step in 0..<400 {
      // More comes than is done, of all lanes and keys, and one key floods.
      let new = (0..<5).map { _ in
        NewTask(
          lane: TaskLane.allCases[dice.roll(4)], payload: [],
          fairnessKey: dice.roll(2) == 0 ? "k0" : "k\(dice.roll(keys))")
      }
      for (task, answer) in zip(new, try queue.submit(new, now: at(step))) {
        let own = ahead[task.lane]?[task.fairnessKey] ?? 0
        // Its key's turns, each after one of every other key; a lane's turns; older tasks of high before normal.
        let turns = (own + 1) * keys
        let older = task.lane == .normal ? queue.statistics(now: at(step)).ready[1] * keys : 0
        let perTurn = [2, 3, 7, 25][task.lane.rawValue]
        watched[answer.id] = (task.lane, claims + turns * perTurn + 2 * older + 64)
        ahead[task.lane, default: [:]][task.fairnessKey, default: 0] += 1
      }
      for task in try queue.claim(worker: "w", maximum: 2, lease: nil, now: at(step)) {
        claims += 1
        let record = try queue.record(task.ticket.id)
        ahead[task.lane]?[record.task.fairnessKey]! -= 1
        _ = try queue.complete(task.ticket, result: [], now: at(step))
        watched[task.ticket.id] = nil
      }
      for (id, entry) in watched where claims > entry.bound {
        watched[id] = nil
        Issue.record("\(id) of \(entry.lane.name) waits beyond its bound \(entry.bound) of claims")
      }
    }
    #expect(claims == 800)
  }
}

@Suite struct SlotIntakeTests {
  @Test("A slot is reserved only while critical tasks have been seen, and only where it isn't too much")
  func elastic() {
    var intake = SlotIntake(slots: 16)
    #expect(intake.room(now: at(0)).lanes.normal == 16)
    intake.noteCritical(now: at(0))
    #expect(intake.reserved(now: at(60)) == 1 && intake.reserved(now: at(61)) == 0)
    let room = intake.room(now: at(1))
    #expect(room.maximum == 15 && room.lanes == LaneCounts(all: 15))
    #expect(SlotIntake(slots: 64).reserved(now: at(0)) == 0)
    for (slots, reserved) in [(1, 0), (3, 0), (4, 1), (31, 1), (32, 2)] {
      var intake = SlotIntake(slots: slots)
      intake.noteCritical(now: at(0))
      #expect(intake.reserved(now: at(1)) == reserved)
    }
  }

  @Test("The reserved slot stays open for critical tasks, and one that runs elsewhere doesn't use it up")
  func reservedSlot() {
    var intake = SlotIntake(slots: 4)
    intake.noteCritical(now: at(0))
    for _ in 0..<3 {
      intake.claimed(.normal, now: at(0))
      #expect(intake.begin(now: at(0)) == .normal)
    }
    intake.claimed(.normal, now: at(0))
    #expect(intake.begin(now: at(0)) == nil)
    #expect(intake.room(now: at(0)).lanes == LaneCounts(critical: 1, high: 0, normal: 0, bulk: 0))
    intake.claimed(.critical, now: at(0))
    #expect(intake.begin(now: at(0)) == .critical)
    // Another slot is kept while the first one is used, and no third.
    intake.finished(.normal)
    #expect(intake.begin(now: at(1)) == nil && intake.room(now: at(1)).lanes.critical == 1)
    intake.claimed(.critical, now: at(0))
    #expect(intake.begin(now: at(1)) == .critical)
    intake.finished(.normal)
    #expect(intake.begin(now: at(1)) == .normal)
    for _ in 0..<2 { intake.finished(.critical) }
    #expect(intake.begin(now: at(2)) == nil && intake.room(now: at(2)).lanes.bulk == 1)
    #expect(intake.room(now: at(62)).lanes.bulk == 2)
  }

  @Test(
    "What was fetched in advance doesn't keep critical tasks from the slots of a worker that is never idle",
    arguments: [2, 3, 8])
  func noInversion(slots: Int) throws {
    var queue = TaskQueue(name: "q", instance: "s")
    for _ in 0..<10 { _ = try queue.submit((0..<100).map { _ in NewTask(lane: .normal, payload: []) }, now: at(0)) }
    var intake = SlotIntake(slots: slots)
    var running: [TaskLane] = []
    var critical = 0
    for step in 0..<200 {
      // One task ends a second, and a critical one comes every 20 s: half of a worker's tenth.
      if step % 20 == 10 { _ = try queue.submit([NewTask(lane: .critical, payload: [])], now: at(step)) }
      if !running.isEmpty { intake.finished(running.removeFirst()) }
      while let lane = intake.begin(now: at(step)) { running.append(lane) }
      var isDone = false
      while !isDone {
        let room = intake.room(now: at(step))
        if queue.claimable(.critical) > 0 { intake.noteCritical(now: at(step)) }
        let claimed =
          room.maximum == 0
          ? []
          : try queue.claim(worker: "w", maximum: room.maximum, lease: .seconds(3_600), room: room.lanes, now: at(step))
        for task in claimed {
          intake.claimed(task.lane, now: at(step))
          if task.lane == .critical {
            critical += 1
            #expect(task.age <= at(slots + 1), "it waited for \(task.age)")
          }
        }
        isDone = claimed.isEmpty
        while let lane = intake.begin(now: at(step)) { running.append(lane) }
      }
    }
    #expect(critical >= 9)
  }

  @Test("Prefetch stays within each lane's cap, and the most urgent begins first")
  func prefetch() {
    var intake = SlotIntake(slots: 8)
    var seen = LaneCounts(all: 0)
    for step in 0..<200 {
      let room = intake.room(now: at(step))
      for lane in TaskLane.allCases where room.lanes[lane] > 0 && lane != .critical {
        intake.claimed(lane, now: at(step))
      }
      var last = -1
      while let lane = intake.begin(now: at(step)) {
        #expect(lane.rawValue >= last)
        last = lane.rawValue
      }
      #expect(intake.running.total <= 8)
      for lane in TaskLane.allCases { seen[lane] = max(seen[lane], intake.waiting[lane]) }
      if step % 3 == 0, let lane = TaskLane.allCases.first(where: { intake.running[$0] > 0 }) { intake.finished(lane) }
    }
    #expect(seen.high == 2 && seen.normal == 4 && seen.critical == 0)
    #expect(seen.bulk == 0)
  }
}
