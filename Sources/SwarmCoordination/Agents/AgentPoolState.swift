package import CoordinationProtocol
package import RateBudget

/// What a worker does and may begin: its slots, who waits for one, its own word, orders to drain. Pure; `AgentPool`
/// drives it.
package struct AgentPoolState: Sendable {
  /// What becomes of somebody who wants a slot.
  package enum Entry: Hashable, Sendable {
    /// It has one.
    case taken
    /// It waits for its turn.
    case waiting
    /// The pool takes no new work.
    case draining
  }

  /// What is to be told now, and when to look again.
  package struct Report: Hashable, Sendable {
    /// What the worker does; nil: what was told before is still true.
    package var activity: WorkerActivity?
    /// Answers to orders.
    package var answers: [DrainAnswer] = []
    /// When something changes by time alone; nil: never.
    package var next: BudgetTime?

    /// Nothing to tell.
    package init() {}
  }

  /// How often the age of the oldest work is told while there is work.
  static let refresh = Duration.seconds(5)

  /// How many pieces of work at once; 0: as many as come.
  package let slots: Int
  /// How many there may be for now, where memory, CPU or a shortage allow fewer; nil: as many as there are slots.
  package private(set) var allowance: Int?
  /// How long nothing must have happened until a worker counts as idle that says nothing of itself: an agent sends
  /// nothing while it runs a tool.
  private let quiet: Duration
  private var held: [UInt64: BudgetTime] = [:]
  /// When the work of a slot was saved last, where it says so.
  private var saved: [UInt64: BudgetTime] = [:]
  /// How many tasks are being fetched: one may come although nobody wants it any more.
  private var fetches = 0
  private var completed: UInt64 = 0
  private var line: [UInt64] = []
  private var lastNumber: UInt64 = 0
  private var duty = DrainDuty()
  /// Whether it takes no new work for good.
  package private(set) var isClosing = false
  /// The worker's own word; nil: it has said nothing.
  package private(set) var reportsBusy: Bool?
  private var saidSince = BudgetTime.zero
  private var hasSlots = false
  /// What waits in the queues that it takes from, and when that was seen.
  private var depths: [String: (waiting: Int, at: BudgetTime)] = [:]
  private var lastTraffic: BudgetTime
  private var told: WorkerActivity?
  private var toldAt = BudgetTime.zero
  private var answers: [DrainAnswer] = []

  /// Makes a pool in which nothing happens.
  package init(slots: Int, quiet: Duration = .seconds(10), now: BudgetTime) {
    self.slots = max(0, slots)
    self.quiet = quiet
    lastTraffic = now
  }

  // MARK: Slots

  /// Whether it takes no new work: by order, or because it ends.
  package var isDraining: Bool { isClosing || duty.stands }
  /// How many slots are taken.
  package var busy: Int { held.count }
  /// How many wait for one.
  package var waiting: Int { line.count }
  /// Whether a slot could be taken now.
  package var hasRoom: Bool { !isDraining && line.isEmpty && held.count < capacity }
  private var capacity: Int { min(slots == 0 ? .max : slots, allowance ?? .max) }
  /// How much of the time for an order to drain has passed, in percent; 0: it doesn't drain.
  package func drainPercent(now: BudgetTime) -> Int {
    // Who ends for good has all the time that the end leaves.
    max(isClosing ? 1 : 0, duty.percent(now: now).map { max(1, $0) } ?? 0)
  }

  /// Whether a number has a slot.
  package func holds(_ number: UInt64) -> Bool { held[number] != nil }
  /// Whether a number stands in line.
  package func waits(_ number: UInt64) -> Bool { line.contains(number) }

  /// Asks for a slot; the number is its name from now on.
  package mutating func enter(now: BudgetTime) -> (number: UInt64, entry: Entry) {
    hasSlots = true
    lastNumber += 1
    guard !isDraining else { return (lastNumber, .draining) }
    guard hasRoom else {
      line.append(lastNumber)
      return (lastNumber, .waiting)
    }
    held[lastNumber] = now
    return (lastNumber, .taken)
  }

  /// Takes a slot for work that is there already; the number is its name from now on.
  package mutating func take(now: BudgetTime) -> UInt64 {
    hasSlots = true
    lastNumber += 1
    held[lastNumber] = now
    return lastNumber
  }

  /// Begins to fetch a task: until `endFetch` one may come, and the pool isn't idle.
  package mutating func beginFetch() {
    hasSlots = true
    fetches += 1
  }

  /// Whether a task is being fetched.
  package var isFetching: Bool { fetches > 0 }

  /// The fetch has ended; what it gave has a slot by now.
  package mutating func endFetch() { fetches = max(0, fetches - 1) }

  /// What the work of a slot has done so far is saved: its end would lose nothing of that.
  package mutating func save(_ number: UInt64, now: BudgetTime) {
    if held[number] != nil { saved[number] = now }
  }

  /// Gives a slot back, or a place in line; whose turn it is then.
  package mutating func leave(_ number: UInt64, now: BudgetTime) -> [UInt64] {
    if held.removeValue(forKey: number) != nil { completed += 1 }
    saved[number] = nil
    line.removeAll { $0 == number }
    return admit(now: now)
  }

  /// Allows so many from now on; whose turn it is then.
  package mutating func allow(_ allowance: Int?, now: BudgetTime) -> [UInt64] {
    self.allowance = allowance
    return admit(now: now)
  }

  private mutating func admit(now: BudgetTime) -> [UInt64] {
    var admitted: [UInt64] = []
    while !isDraining, !line.isEmpty, held.count < capacity {
      let number = line.removeFirst()
      held[number] = now
      admitted.append(number)
    }
    return admitted
  }

  /// Turns everybody away who waits: nobody waits while draining.
  package mutating func turnAway() -> [UInt64] {
    guard isDraining else { return [] }
    defer { line = [] }
    return line
  }

  // MARK: Words and orders

  /// The worker says that it is busy, or idle.
  package mutating func say(isBusy: Bool, now: BudgetTime) {
    if reportsBusy != isBusy { saidSince = now }
    reportsBusy = isBusy
  }

  /// The worker ends: it takes no new work from now on.
  package mutating func close() { isClosing = true }

  /// Takes in an order.
  package mutating func receive(_ order: DrainOrder, _ traffic: ClaudeGateway.Activity, now: BudgetTime) {
    note(traffic, now: now)
    if let answer = duty.receive(order, isIdle: isIdle(traffic, now: now), now: now) { answers.append(answer) }
  }

  /// The order to drain that it keeps to; nil: none.
  package func standingDrain(_ traffic: ClaudeGateway.Activity, now: BudgetTime) -> StandingDrain? {
    duty.standing(isIdle: isIdle(traffic, now: now), now: now)
  }

  // MARK: Looking

  /// Whether it works: a slot is taken, it says so, or a request of it is on its way.
  package func isBusy(_ traffic: ClaudeGateway.Activity) -> Bool {
    !held.isEmpty || reportsBusy == true || traffic.inFlight + traffic.waiting > 0
  }

  /// Whether it takes no new work and has none left: nothing is lost when its process ends.
  package func isDrained(_ traffic: ClaudeGateway.Activity, now: BudgetTime) -> Bool {
    isDraining && isIdle(traffic, now: now)
  }

  /// What was told last; nil: nothing yet.
  package var lastActivity: WorkerActivity? { told }

  /// Whether its work is over, as far as can be known.
  private func isIdle(_ traffic: ClaudeGateway.Activity, now: BudgetTime) -> Bool {
    guard !isBusy(traffic), fetches == 0 else { return false }
    return hasSlots || reportsBusy == false || now - lastTraffic >= quiet
  }

  private mutating func note(_ traffic: ClaudeGateway.Activity, now: BudgetTime) {
    if traffic.inFlight + traffic.waiting > 0 { lastTraffic = now }
  }

  /// What is to be told now.
  package mutating func report(_ traffic: ClaudeGateway.Activity, now: BudgetTime) -> Report {
    note(traffic, now: now)
    if let answer = duty.update(isIdle: isIdle(traffic, now: now), now: now) { answers.append(answer) }
    var report = Report()
    report.answers = answers
    report.next = duty.until
    answers = []
    let activity = activity(traffic, now: now)
    let isWorking = activity.busy + activity.inFlight + activity.waiting + activity.queued > 0
    if !isSame(activity, told) || (isWorking && now - toldAt >= Self.refresh) {
      (told, toldAt) = (activity, now)
      report.activity = activity
    }
    if isWorking { report.next = min(report.next ?? toldAt + Self.refresh, toldAt + Self.refresh) }
    if duty.stands, !isBusy(traffic), !isIdle(traffic, now: now) {
      report.next = min(report.next ?? lastTraffic + quiet, lastTraffic + quiet)
    }
    return report
  }

  private func isSame(_ new: WorkerActivity, _ old: WorkerActivity?) -> Bool {
    guard var old else { return false }
    old.oldestAge = new.oldestAge
    old.unsavedAge = new.unsavedAge
    // Said again where a queue has changed.
    if old.queues.map(\.queue) == new.queues.map(\.queue), old.queues.map(\.waiting) == new.queues.map(\.waiting) {
      old.queues = new.queues
    }
    return new == old
  }

  /// What it does. Without slots of its own a worker's requests are its work.
  private func activity(_ traffic: ClaudeGateway.Activity, now: BudgetTime) -> WorkerActivity {
    let requests = traffic.inFlight + traffic.waiting
    var busy = held.count
    var ages = held.values.map { now - $0 }
    if !hasSlots {
      busy = max(reportsBusy == true ? 1 : 0, slots == 0 ? requests : min(requests, slots))
      if let oldest = traffic.oldest { ages.append(oldest) }
      if reportsBusy == true { ages.append(now - saidSince) }
    }
    return WorkerActivity(
      slots: slots, busy: busy, inFlight: traffic.inFlight, waiting: traffic.waiting,
      oldestAge: ages.max() ?? .zero, queued: line.count, completed: hasSlots ? completed : traffic.finished,
      unsavedAge: saved.isEmpty ? nil : held.map { now - (saved[$0.key] ?? $0.value) }.max(),
      queues: depths.sorted { $0.key < $1.key }.prefix(ProtocolLimits.queues).map {
        QueueDepth(queue: $0.key, waiting: $0.value.waiting, age: now - $0.value.at)
      })
  }

  /// What waits in a queue that this worker takes from; nil: it doesn't know any more.
  package mutating func note(queue: String, waiting: Int?, now: BudgetTime) {
    depths[queue] = waiting.map { ($0, now) }
  }
}
