package import CoordinationProtocol
package import RateBudget

/// The coordinator of the rate budgets: who is there, what they hold, what they are told.
///
/// A pure state machine: each stimulus gives the effects that a driver carries out, in order. Grants are given by
/// `advance`, so that a driver decides how many requests are looked at together. Streams come and go; what a worker
/// holds is kept by its client name, which outlasts them.
package struct CoordinatorState: Sendable {
  struct Session: Sendable {
    var identity: WorkerIdentity
    var stream: StreamID?
    /// Since when it has had no stream.
    var lostAt: BudgetTime?
    var groups: [GroupKey] = []
    var activity: WorkerActivity?
    var activityAt = BudgetTime.zero
    var drain: DrainRecord?
  }

  struct DrainRecord: Hashable, Sendable {
    var order: DrainOrder
    var orderedAt: BudgetTime
    var answer: DrainState?
    var answeredAt = BudgetTime.zero
  }

  /// How it is run.
  package private(set) var configuration: CoordinatorConfiguration
  /// Its name; differs for each coordinator.
  package let name: String
  var budgets = RateBudgets()
  var sessions: [String: Session] = [:]
  var streams: [StreamID: String] = [:]
  /// The pieces of work that the workers of each fleet have finished under this coordinator.
  var completed: [String: UInt64] = [:]
  private var generator: SplitMix
  var learningUntil: BudgetTime?
  private var nextTick: BudgetTime
  private var lastTick: BudgetTime
  private var round: Round
  private var lastOrder: UInt64
  private var wall: (at: BudgetTime, time: WallTime)

  /// Makes a coordinator. A `isSuccessor` learns for one lease: it grants no more than what the workers that join bring
  /// with them, because those that haven't joined yet still use their shares. `seed` spreads second attempts.
  package init(
    configuration: CoordinatorConfiguration, name: String, isSuccessor: Bool, seed: UInt64, wall: WallTime,
    now: BudgetTime
  ) {
    self.configuration = configuration
    self.name = name
    generator = SplitMix(state: seed)
    learningUntil = isSuccessor ? now + configuration.lease : nil
    nextTick = now + configuration.sharesEvery
    lastTick = now
    round = Round([], from: now, over: .zero)
    // Orders of a later coordinator are greater than those of the one before.
    lastOrder = UInt64(max(wall.milliseconds, 0)) << 16
    self.wall = (now, wall)
  }

  // MARK: Streams

  /// Takes in a worker's hello.
  package mutating func join(_ hello: WorkerHello, stream: StreamID, now: BudgetTime) -> [CoordinatorEffect] {
    let client = hello.identity.client
    var effects: [CoordinatorEffect] = []
    if let old = sessions[client]?.stream {
      streams[old] = nil
      effects.append(.close(old, .replaced))
    } else if sessions[client] == nil, sessions.count >= configuration.sessionLimit {
      return [.close(stream, .tooManyWorkers(limit: configuration.sessionLimit))]
    }
    forgetPredecessors(of: hello.identity, now: now)
    var session = sessions[client] ?? Session(identity: hello.identity)
    session.identity = hello.identity
    session.stream = stream
    session.lostAt = nil
    session.groups = []
    sessions[client] = session
    streams[stream] = client
    for memory in hello.groups {
      connect(client, to: memory.key, memory, now: now)
    }
    if let activity = hello.activity { note(activity, of: client, now: now) }
    adopt(hello.drain, of: client, now: now)
    effects.append(
      .welcome(
        stream,
        CoordinatorWelcome(
          coordinator: name, lease: configuration.lease,
          groups: configuration.groups.filter { $0.isOpen(to: hello.identity.namespace) })))
    // Also one that the worker has just brought: it answers again, since an answer may have been lost with the old stream.
    if let drain = sessions[client]?.drain { effects.append(.tell(stream, .drain(drain.order))) }
    return effects
  }

  /// Takes over the order that a worker keeps to and that the coordinator before gave: who drains is known to the next leader
  /// as it was to the last, so that it goes on with it, or takes it back.
  private mutating func adopt(_ standing: StandingDrain?, of client: String, now: BudgetTime) {
    guard let standing, sessions[client]?.drain.map({ $0.order.order < standing.order }) ?? true else { return }
    lastOrder = max(lastOrder, min(standing.order, .max - 1))
    sessions[client]?.drain = DrainRecord(
      order: DrainOrder(order: standing.order, timeout: .zero), orderedAt: now + (.zero - standing.age),
      answer: standing.state, answeredAt: now)
  }

  /// Notes that a stream is lost. The worker goes on alone; what it may use is kept free.
  package mutating func disconnect(_ stream: StreamID, now: BudgetTime) {
    guard let client = streams.removeValue(forKey: stream), sessions[client]?.stream == stream else { return }
    sessions[client]?.stream = nil
    sessions[client]?.lostAt = now
    for key in sessions[client]?.groups ?? [] {
      _ = budgets.with(key) { $0.disconnect(client: client, now: now) }
    }
  }

  private mutating func leave(_ stream: StreamID, now: BudgetTime) {
    guard let client = streams.removeValue(forKey: stream) else { return }
    forget(client, now: now)
  }

  /// Forgets a worker that is gone for good: its share is free.
  private mutating func forget(_ client: String, now: BudgetTime) {
    for key in sessions[client]?.groups ?? [] { _ = budgets.with(key) { $0.remove(client: client, now: now) } }
    sessions[client] = nil
  }

  /// A process that begins in a pod follows one that ended there: what that one may use alone needn't be kept free.
  private mutating func forgetPredecessors(of identity: WorkerIdentity, now: BudgetTime) {
    let gone = sessions.filter { client, session in
      session.stream == nil && client != identity.client && session.identity.pod == identity.pod
        && session.identity.namespace == identity.namespace
    }
    for client in gone.keys.sorted() { forget(client, now: now) }
  }

  /// Forgets workers without a stream whose pods are known to be gone, by client; those with one stay.
  package mutating func forgetLost(_ clients: [String], now: BudgetTime) {
    for client in clients where sessions[client]?.stream == nil { forget(client, now: now) }
  }

  private mutating func connect(
    _ client: String, to key: GroupKey, _ memory: GroupMemory? = nil, now: BudgetTime
  ) {
    // What a worker asks of a group that it isn't connected to is refused by `submit`, and else goes nowhere.
    guard let session = sessions[client], GroupKey.isOpen(key.modelGroup, to: session.identity.namespace),
      makeBudget(key, now: now)
    else { return }
    if !session.groups.contains(key) { sessions[client]?.groups.append(key) }
    _ = budgets.with(key) {
      $0.connect(
        client: client, fleet: session.identity.fleetName, share: memory?.share, outstanding: memory?.outstanding ?? [],
        used: memory?.used, now: now)
    }
    // A new worker is told its share soon, many new ones together.
    nextTick = min(nextTick, max(now, lastTick + min(.seconds(1), configuration.sharesEvery)))
  }

  /// Makes the budget of a group unless there is one; false: there are as many as may be.
  private mutating func makeBudget(_ key: GroupKey, now: BudgetTime) -> Bool {
    if budgets.with(key, { _ in true }) ?? false { return true }
    guard budgets.keys.count < configuration.groupLimit else { return false }
    var budget = GroupBudget(configuration: configuration.budget(of: key), now: now)
    budget.setWallClock(wallTime(at: now), now: now)
    if let learningUntil, now < learningUntil { budget.startLearning(now: now) }
    budgets.set(budget, for: key)
    return true
  }

  private func wallTime(at now: BudgetTime) -> WallTime { wall.time + (now - wall.at) }

  // MARK: Frames

  /// Takes in what a worker says; grants come with the next `advance`.
  package mutating func handle(_ frame: WorkerFrame, from stream: StreamID, now: BudgetTime) -> [CoordinatorEffect] {
    guard let client = streams[stream], let namespace = sessions[client]?.identity.namespace else { return [] }
    var effects: [CoordinatorEffect] = []
    for key in frame.groups { connect(client, to: key, now: now) }
    for (key, headers) in frame.observations where GroupKey.isOpen(key.modelGroup, to: namespace) {
      _ = budgets.with(key) { $0.observe(headers, now: now) }
    }
    for note in frame.settlements {
      let id = GrantID(client: client, number: note.number)
      _ = budgets.with(note.group) { budget in
        switch note.kind {
        case .progress: budget.settle(id, usage: note.usage, isFinal: false, now: now)
        case .final: budget.settle(id, usage: note.usage, isFinal: true, now: now)
        case .released: budget.release(id, now: now)
        }
      }
    }
    for note in frame.rejections { effects.append(.tell(stream, .answer(reject(note, client: client, now: now)))) }
    for note in frame.requests {
      if let answer = submit(note, client: client, now: now) { effects.append(.tell(stream, answer)) }
    }
    for note in frame.cancellations {
      let id = GrantID(client: client, number: note.number)
      // The worker hasn't seen a grant: if one is on its way to it, it is given back.
      _ = budgets.with(note.group) { if !$0.cancel(id, now: now) { $0.release(id, now: now) } }
    }
    if let activity = frame.activity { self.note(activity, of: client, now: now) }
    for answer in frame.drainAnswers
    where sessions[client]?.drain?.order.order == answer.order && sessions[client]?.drain?.answer != answer.state {
      sessions[client]?.drain?.answer = answer.state
      sessions[client]?.drain?.answeredAt = now
    }
    if frame.isGoodbye {
      leave(stream, now: now)
      effects.append(.close(stream, .goodbye))
    }
    return effects
  }

  private mutating func submit(_ note: RequestNote, client: String, now: BudgetTime) -> CoordinatorNote? {
    let number = note.request.id.number
    var request = note.request
    request.id = GrantID(client: client, number: number)
    let isConnected = sessions[client]?.groups.contains(note.group) ?? false
    switch isConnected ? budgets.with(note.group, { $0.submit(request, now: now) }) : nil {
    case .queued, .alreadyQueued: return nil
    case .alreadyGranted(let grant): return .grant(Self.note(grant, now: now))
    case .refused(let refusal): return .refusal(RefusalNote(number: number, refusal: refusal))
    case nil:
      return .refusal(RefusalNote(number: number, refusal: .tooManyClients(limit: configuration.groupLimit)))
    }
  }

  private mutating func reject(_ note: RejectionNote, client: String, now: BudgetTime) -> RejectionAnswer {
    var generator = generator
    let id = GrantID(client: client, number: note.number)
    let decision = budgets.with(note.group) {
      $0.reject(id, verdict: note.verdict, headers: note.headers, now: now, using: &generator)
    }
    self.generator = generator
    switch decision {
    case .requeued(let notBefore): return RejectionAnswer(number: note.number, decision: .requeued(notBefore - now))
    case .tellClient(let refusal): return RejectionAnswer(number: note.number, decision: .tellClient(refusal))
    case .unknown, nil: return RejectionAnswer(number: note.number, decision: .unknown)
    }
  }

  private mutating func note(_ activity: WorkerActivity, of client: String, now: BudgetTime) {
    if let session = sessions[client], let old = session.activity {
      // Only what was finished since this coordinator has known the process: so the sum never falls.
      completed[session.identity.fleetName, default: 0] +=
        activity.completed > old.completed ? activity.completed - old.completed : 0
    }
    sessions[client]?.activity = activity
    sessions[client]?.activityAt = now
  }

  private static func note(_ grant: Grant, now: BudgetTime) -> GrantNote {
    GrantNote(
      number: grant.id.number, waited: grant.waited, lease: max(.zero, grant.expires - now), attempt: grant.attempt)
  }

  // MARK: Time

  /// Grants what fits now, and tells shares when it is time.
  package mutating func advance(now: BudgetTime) -> [CoordinatorEffect] {
    var effects: [CoordinatorEffect] = []
    for (key, outcome) in budgets.advance(now: now) {
      guard let stream = sessions[outcome.id.client]?.stream else {
        // Nobody is there to use it.
        if case .granted(let grant) = outcome { _ = budgets.with(key) { $0.release(grant.id, now: now) } }
        continue
      }
      switch outcome {
      case .granted(let grant): effects.append(.tell(stream, .grant(Self.note(grant, now: now))))
      case .expired(let id): effects.append(.tell(stream, .refusal(RefusalNote(number: id.number, refusal: nil))))
      case .refused(let id, let refusal):
        effects.append(.tell(stream, .refusal(RefusalNote(number: id.number, refusal: refusal))))
      }
    }
    if now >= nextTick { tick(now: now, into: &effects) }
    while let due = round.due, now >= due { tellPart(into: &effects) }
    return effects
  }

  private mutating func tick(now: BudgetTime, into effects: inout [CoordinatorEffect]) {
    while round.due != nil { tellPart(into: &effects) }
    lastTick = now
    nextTick = now + configuration.sharesEvery
    var notices: [StreamID: [(key: GroupKey, notice: ShareNotice)]] = [:]
    budgets.forEach { key, budget in
      for notice in budget.shares(now: now) {
        if let stream = sessions[notice.client]?.stream { notices[stream, default: []].append((key, notice)) }
      }
    }
    let cut = Set(notices.filter { $0.value.contains(where: \.notice.isCut) }.keys)
    let order = streams.keys.sorted().filter { cut.contains($0) } + streams.keys.sorted().filter { !cut.contains($0) }
    round = Round(
      order.map { ($0, notices[$0] ?? []) }, from: now, over: min(Self.roundTime, configuration.sharesEvery))
    if completed.count > 2 * sessions.count + 16 {
      let fleets = Set(sessions.values.map(\.identity.fleetName))
      completed = completed.filter { fleets.contains($0.key) }
    }
    let gone = sessions.filter { $0.value.lostAt.map { now - $0 > configuration.forgetAfter } ?? false }
    for client in gone.keys.sorted() { forget(client, now: now) }
  }

  /// Tells the next few streams their shares, and that the lease begins anew.
  private mutating func tellPart(into effects: inout [CoordinatorEffect]) {
    for (stream, notices) in round.next() where streams[stream] != nil {
      for (key, notice) in notices {
        _ = budgets.with(key) { $0.noteTold(notice) }
        effects.append(.tell(stream, .share(key, notice.share)))
      }
      effects.append(.tell(stream, .lease(configuration.lease)))
    }
  }

  /// When `advance` has something to do next.
  package mutating func nextDeadline(now: BudgetTime) -> BudgetTime {
    min(nextTick, round.due ?? nextTick, budgets.nextDeadline(now: now) ?? nextTick)
  }

  /// How long a round of telling takes at most: told all at once, a thousand workers kept both cores of a small machine
  /// busy for 150 ms, and every grant waited for that.
  private static let roundTime = Duration.seconds(1)

  /// The streams that are still to be told, in parts.
  private struct Round: Sendable {
    private let entries: [(stream: StreamID, notices: [(key: GroupKey, notice: ShareNotice)])]
    private let size: Int
    private let interval: Duration
    private var begin = 0
    /// When the next part is to be told; nil: all are.
    private(set) var due: BudgetTime?

    /// A round in at most a hundred parts of ten or more, the first of them due at once.
    init(
      _ entries: [(stream: StreamID, notices: [(key: GroupKey, notice: ShareNotice)])], from start: BudgetTime,
      over time: Duration
    ) {
      self.entries = entries
      size = max(10, (entries.count + 99) / 100)
      interval = time / max(1, (entries.count + size - 1) / size)
      due = entries.isEmpty ? nil : start
    }

    /// Takes the next part.
    mutating func next() -> ArraySlice<(stream: StreamID, notices: [(key: GroupKey, notice: ShareNotice)])> {
      let part = entries[begin..<min(begin + size, entries.count)]
      begin = part.endIndex
      due = begin < entries.count ? due.map { $0 + interval } : nil
      return part
    }
  }

  // MARK: Configuration

  /// Follows a changed configuration; workers are told what has changed. The same one changes nothing.
  package mutating func configure(_ new: CoordinatorConfiguration, now: BudgetTime) -> [CoordinatorEffect] {
    guard new != configuration else { return [] }
    let old = Set(configuration.groups)
    configuration = new
    budgets.forEach { key, budget in budget.configure(new.budget(of: key), now: now) }
    let changed = new.groups.filter { !old.contains($0) }
    return streams.keys.sorted().flatMap { stream -> [CoordinatorEffect] in
      let namespace = streams[stream].flatMap { sessions[$0]?.identity.namespace } ?? ""
      return changed.filter { $0.isOpen(to: namespace) }.map { .tell(stream, .group($0)) }
    }
  }

  /// Tells the time of day again: the UTC day of the spend ceiling begins by it.
  package mutating func setWallClock(_ time: WallTime, now: BudgetTime) {
    wall = (now, time)
    budgets.forEach { _, budget in budget.setWallClock(time, now: now) }
  }

  /// Lets a group go on after a pause that money has caused.
  package mutating func resume(_ key: GroupKey, now: BudgetTime) {
    _ = budgets.with(key) { $0.resume(now: now) }
  }

  // MARK: Drain

  /// Orders a pod's workers to take no new work. Nothing when none of them is known.
  package mutating func drain(
    namespace: String, pod: String, timeout: Duration, now: BudgetTime
  ) -> [CoordinatorEffect] {
    lastOrder += 1
    return order(namespace: namespace, pod: pod, now: now) {
      DrainOrder(order: $0, timeout: timeout)
    }
  }

  /// Takes the order back.
  package mutating func withdrawDrain(namespace: String, pod: String, now: BudgetTime) -> [CoordinatorEffect] {
    lastOrder += 1
    return order(namespace: namespace, pod: pod, now: now) {
      DrainOrder(order: $0, timeout: .zero, isWithdrawn: true)
    }
  }

  private mutating func order(
    namespace: String, pod: String, now: BudgetTime, _ make: (UInt64) -> DrainOrder
  ) -> [CoordinatorEffect] {
    var effects: [CoordinatorEffect] = []
    let order = make(lastOrder)
    for client in sessions.keys.sorted() {
      guard let session = sessions[client], session.identity.namespace == namespace, session.identity.pod == pod else {
        continue
      }
      sessions[client]?.drain = DrainRecord(order: order, orderedAt: now)
      if let stream = session.stream { effects.append(.tell(stream, .drain(order))) }
    }
    return effects
  }
}

/// A seeded generator (SplitMix64), so that the state machine owns its randomness.
struct SplitMix: RandomNumberGenerator, Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
