import CoordinationCore
import TaskQueue

/// A process with agents: what a pod does with the cores, and the faults that processes have.
final class Pod: CustomStringConvertible {
  /// A task at work.
  final class Job {
    let task: ClaimedTask
    var journal: StepJournal?
    var chain: CheckpointChain?
    var step: UInt64 = 0
    var answers: [UInt8] = []
    /// Whether it is still this process's.
    var isOver = false
    /// Whether the answers are there and are being handed over.
    var isHandedOver = false
    var name: String { "\(task.ticket.id)" }

    init(_ task: ClaimedTask) { self.task = task }
  }

  unowned let world: World
  let name: String
  private(set) var incarnation: UInt64 = 0
  private var intake: SlotIntake
  private var outbox = Outbox()
  private var aggregator = ResultAggregator<String>()
  private var ladder = DegradationLadder()
  private var breaker = CircuitBreaker()
  /// By the ticket's text; in the order of their claims.
  private var jobs: [(key: String, job: Job)] = []
  private var pausedUntil = Duration.zero
  private var cutUntil = Duration.zero
  private var beat: UInt64 = 0
  private var lastAnswer = Duration.zero
  private var isClaiming = false
  private var isDraining = false
  private var plan: FleetPlan?

  init(_ number: Int, _ world: World) {
    self.world = world
    name = "pod\(number)"
    intake = SlotIntake(slots: world.scenario.slots)
  }

  var description: String { "\(name) with \(jobs.count) tasks, \(outbox.count) results, \(ladder.rung)" }

  var isIdle: Bool { jobs.isEmpty && outbox.count == 0 }

  // MARK: The process

  func start() {
    incarnation += 1
    beat = 0
    lastAnswer = world.now
    every(.seconds(5)) { [self] in sayBeat() }
    every(.seconds(10)) { [self] in renew() }
    every(.milliseconds(500)) { [self] in pull() }
    every(.seconds(2)) { [self] in fetchPlan() }
    every(.seconds(1)) { [self] in tick() }
    sayBeat()
  }

  func crash() {
    world.note("\(name) is killed with \(jobs.count) tasks")
    for (_, job) in jobs { job.isOver = true }
    jobs = []
    intake = SlotIntake(slots: world.scenario.slots)
    (outbox, aggregator, ladder, breaker) = (
      Outbox(), ResultAggregator<String>(), DegradationLadder(), CircuitBreaker()
    )
    started = []
    (isClaiming, isDraining) = (false, false)
    plan = nil
    incarnation += 1
    let dead = incarnation
    world.after(.milliseconds(500 + world.dice.roll(20_000))) { [self] in if incarnation == dead { start() } }
  }

  /// Told to go: it takes nothing new, hands back what it hasn't begun (C10), finishes the rest, and says goodbye. It is back later.
  func drain() {
    guard !isDraining, world.now >= pausedUntil else { return }
    world.note("\(name) drains with \(jobs.count) tasks")
    isDraining = true
    let unbegun = jobs.filter { !started.contains($0.key) }
    let tickets = unbegun.map(\.job.task.ticket)
    call({ engine, now in engine.release(tickets, now) }) { _ in }
    for (_, job) in unbegun { abandon(job) }
    leave()
  }

  private func leave() {
    guard isIdle else { return after(.milliseconds(500)) { [self] in leave() } }
    let (name, own) = (name, incarnation)
    call({ engine, _ in if engine.beats[name]?.incarnation == own { engine.beats[name] = nil } }) { _ in }
    world.note("\(name) is drained")
    crash()
  }

  func pause(_ length: Duration) {
    world.note("\(name) stands still for \(length)")
    pausedUntil = max(pausedUntil, world.now + length)
  }

  func cut(_ length: Duration) {
    world.note("\(name) is cut off for \(length)")
    cutUntil = max(cutUntil, world.now + length)
  }

  func heal() { (pausedUntil, cutUntil) = (world.now, world.now) }

  /// Does something in this process, later, if it still lives; when it stands still, when it goes on.
  private func after(_ delay: Duration, _ action: @escaping () -> Void) {
    let own = incarnation
    world.after(delay) { [self] in
      guard incarnation == own else { return }
      if world.now < pausedUntil { after(pausedUntil - world.now, action) } else { action() }
    }
  }

  private func every(_ interval: Duration, _ action: @escaping () -> Void) {
    after(interval) { [self] in
      action()
      every(interval, action)
    }
  }

  private func call<Answer>(
    _ request: @escaping (inout EngineModel, Duration) -> Answer, _ reply: @escaping (Answer?) -> Void
  ) {
    let own = incarnation
    world.call(isCut: { [self] in world.now < cutUntil }, request) { [self] answer in
      guard incarnation == own else { return }
      after(.zero) { [self] in
        if answer != nil { heard() }
        reply(answer)
      }
    }
  }

  // MARK: The engine, near and far

  private func heard() {
    let wasAway = world.now - lastAnswer > .seconds(6)
    lastAnswer = world.now
    if wasAway { send(outbox.handle(.connected, now: world.now)) }
  }

  private func tick() {
    let away = Int((world.now - lastAnswer).components.seconds)
    if away > 6 { _ = outbox.handle(.disconnected, now: world.now) }
    // Beats come every 5 s: what is younger says nothing.
    _ = ladder.handle(.measured(.engine, max(0, away - 5)), now: world.now)
    _ = ladder.handle(.measured(.outbox, outbox.fillPercent), now: world.now)
    send(outbox.handle(.tick, now: world.now))
    frames(aggregator.handle(.tick, now: world.now))
  }

  private func sayBeat() {
    beat += 1
    let (own, slots, number) = (incarnation, world.scenario.slots, beat)
    call({ [name] engine, _ in
      let known = engine.beats[name]
      // A message of an earlier run, or one that was overtaken.
      if known.map({ ($0.incarnation, $0.number) < (own, number) }) ?? true {
        engine.beats[name] = (own, slots, number)
      }
      return engine.refused[name] == own
    }) { [self] isRefused in
      guard isRefused == true else { return }
      world.note("\(name) must join anew")
      // Its claims are guarded by their own leases.
      let jobs = jobs
      for (_, job) in jobs { abandon(job) }
      crash()
    }
  }

  private func fetchPlan() {
    call({ engine, _ in engine.plan }) { [self] answer in
      guard let next = answer ?? nil, next.epoch >= plan?.epoch ?? 0 else { return }
      plan = next
    }
  }

  /// The shards that it asks: those of its cell, and those it may help; all of them as long as nobody has told it.
  private func shards() -> [Int] {
    let all = Array(world.engine.queues.indices)
    guard let plan, let cell = plan.cells.first(where: { $0.value[name] != nil })?.key else { return all }
    let own = all.filter { plan.shards[$0] == cell }
    let others = plan.transfers.filter { $0.to == cell }.map(\.from)
    return own + all.filter { shard in plan.shards[shard].map { others.contains($0) } ?? true }
  }

  // MARK: Claims

  private func pull() {
    guard !isClaiming, !isDraining, ladder.rung < .noNewTasks, outbox.fillPercent < 50 else { return }
    let room = intake.room(now: world.now)
    guard room.maximum > 0 else { return }
    isClaiming = true
    let (name, shards) = (name, shards())
    call({ engine, now in engine.claim(name, shards: shards, maximum: room.maximum, room: room.lanes, now: now) }) {
      [self] answer in
      isClaiming = false
      guard let answer else { return }
      if answer.hasCritical { intake.noteCritical(now: world.now) }
      // What was asked for before the drain goes back.
      guard !isDraining else {
        let tickets = answer.tasks.map(\.ticket)
        return call({ engine, now in engine.release(tickets, now) }) { _ in }
      }
      for task in answer.tasks { take(task) }
      begin()
    }
  }

  private func take(_ task: ClaimedTask) {
    let key = "\(task.ticket.id)@\(task.ticket.epoch)"
    guard !jobs.contains(where: { $0.key == key }) else { return world.violate("\(key) was delivered twice") }
    intake.claimed(task.lane, now: world.now)
    jobs.append((key, Job(task)))
  }

  private func begin() {
    while let lane = intake.begin(now: world.now) {
      guard let job = jobs.first(where: { $0.job.task.lane == lane && !$0.job.isOver && !started.contains($0.key) })
      else {
        world.violate("\(name) has no \(lane.name) task to begin")
        return
      }
      started.insert(job.key)
      load(job.job)
    }
  }

  private var started: Set<String> = []

  private func key(_ job: Job) -> String { "\(job.task.ticket.id)@\(job.task.ticket.epoch)" }

  /// Drops a task that isn't this process's any more.
  private func abandon(_ job: Job) {
    guard !job.isOver else { return }
    job.isOver = true
    let key = key(job)
    jobs.removeAll { $0.key == key }
    if started.remove(key) != nil {
      if !job.isHandedOver { intake.finished(job.task.lane) }
    } else {
      intake.returned(job.task.lane)
    }
    send(outbox.handle(.refused(key), now: world.now))
    begin()
  }

  /// Renews all leases in one message, on a clock of its own (C01).
  private func renew() {
    let held = jobs.map { (key: $0.key, job: $0.job) }
    guard !held.isEmpty else { return }
    let tickets = held.map(\.job.task.ticket)
    call({ engine, now in
      tickets.map { (try? engine.queues[engine.shard(of: $0.id)].renew($0, lease: .seconds(30), now: now)) != nil }
    }) { [self] answer in
      for (entry, isHeld) in zip(held, answer ?? []) where !isHeld { abandon(entry.job) }
    }
  }

  // MARK: Work

  private func load(_ job: Job) {
    let ticket = job.task.ticket
    call({ engine, _ in (engine.trails["\(ticket.id)"] ?? EngineModel.Trail(), engine.blobs) }) { [self] answer in
      guard !job.isOver else { return }
      guard let (trail, blobs) = answer else { return after(.seconds(1)) { [self] in if !job.isOver { load(job) } } }
      do {
        try resume(job, trail, blobs)
        next(job)
      } catch {
        // A later claim has written.
        abandon(job)
      }
    }
  }

  private func resume(_ job: Job, _ trail: EngineModel.Trail, _ blobs: [String: [UInt8]]) throws {
    let epoch = job.task.ticket.epoch
    var base: UInt64 = 0
    if let head = trail.head {
      world.tally.resumed += 1
      let found = try? CheckpointChain.restore(head) { blobs["\($0)"] }
      for digest in [head.digest] + head.history where blobs["\(digest)"] == nil {
        world.violate("checkpoint \(digest) of \(job.name) is gone")
      }
      for digest in found?.damaged ?? [] where !world.engine.damaged.contains("\(digest)") {
        world.violate("a checkpoint that nobody damaged can't be read")
      }
      if let found, let frame = found.frames.last {
        if found.step < head.step, found.damaged.isEmpty { world.violate("\(job.name) goes back without need") }
        job.step = found.step
        base = UInt64(frame.payload.first ?? 0)
        job.answers = Array(frame.payload.dropFirst())
      }
      job.chain = try CheckpointChain(epoch: epoch, head: head, restored: found)
    } else {
      job.chain = try CheckpointChain(epoch: epoch)
    }
    job.journal = try StepJournal(task: job.name, epoch: epoch, base: base, recovered: trail.journal)
  }

  private func next(_ job: Job) {
    guard !job.isOver else { return }
    guard job.step < UInt64(job.task.payload[0]) else { return finish(job) }
    journal(job, .call(Digest256(of: [UInt8(job.step)])))
  }

  private func journal(_ job: Job, _ event: StepJournal.Event) {
    guard !job.isOver else { return }
    do {
      for effect in try job.journal?.handle(event) ?? [] { perform(effect, job) }
    } catch {
      world.violate("\(job.name): \(error)")
    }
  }

  private func perform(_ effect: StepJournal.Effect, _ job: Job) {
    switch effect {
    case .record(let entry): record(entry, job)
    case .perform(let key, _): ask(key, job)
    case .deliver(let bytes):
      job.answers += bytes
      job.step += 1
      checkpoint(job)
    }
  }

  private func record(_ entry: StepJournal.Entry, _ job: Job) {
    let ticket = job.task.ticket
    call({ engine, _ in engine.append(entry, ticket) }) { [self] answer in
      guard !job.isOver else { return }
      switch answer {
      case true: journal(job, .recorded)
      case false: abandon(job)
      default: after(.milliseconds(500)) { [self] in if !job.isOver { record(entry, job) } }
      }
    }
  }

  /// Calls the API, behind the breaker.
  private func ask(_ key: String, _ job: Job) {
    guard !job.isOver else { return }
    let permit = breaker.permit(now: world.now)
    if case .wait(let until) = permit {
      return after(max(until - world.now, .milliseconds(10))) { [self] in ask(key, job) }
    }
    if let epoch = world.engine.answered[key], epoch < job.task.ticket.epoch {
      world.violate("call \(key) is made again although claim \(epoch) has recorded its response")
    }
    let isDown = world.isOutage
    if !isDown { world.calls[key, default: 0] += 1 }
    after(.milliseconds(isDown ? 100 : 500 + world.dice.roll(4_000))) { [self] in
      _ = breaker.handle(
        .ended(permit, isDown ? .failure : .success, jitter: UInt32.random(in: 0 ... .max, using: &world.dice)),
        now: world.now)
      guard !job.isOver else { return }
      guard isDown else { return journal(job, .answered([UInt8(job.step)])) }
      journal(job, .failed)
      after(.milliseconds(500 + world.dice.roll(2_000))) { [self] in next(job) }
    }
  }

  private func checkpoint(_ job: Job) {
    guard !job.isOver, let chain = job.chain else { return }
    let isDelta = !chain.needsFull
    let payload = [UInt8(job.journal?.sequence ?? 0)] + job.answers
    do {
      let frame = try chain.frame(
        step: job.step, codec: .raw, isDelta: isDelta, inflatedLength: UInt64(payload.count), payload: payload)
      store(frame, job)
    } catch CheckpointChain.Failure.wrongStep {
      // The step of a damaged checkpoint is done again from the journal: the head stands there already.
      next(job)
    } catch {
      world.violate("\(error)")
    }
  }

  private func store(_ frame: CheckpointFrame, _ job: Job) {
    let (bytes, ticket) = (frame.encoded, job.task.ticket)
    let digest = Digest256(of: bytes)
    call({ engine, now in engine.put(digest, bytes, now) }) { [self] answer in
      guard !job.isOver, let chain = job.chain else { return }
      guard let answer, let head = try? chain.headAfter(frame, readBack: answer) else {
        // Lost, or damaged on its way to the disk: the one before it stays, and the next step writes another one.
        return answer == nil ? after(.milliseconds(500)) { [self] in store(frame, job) } : next(job)
      }
      move(head, frame, ticket, job)
    }
  }

  private func move(_ head: CheckpointChain.Head, _ frame: CheckpointFrame, _ ticket: TaskTicket, _ job: Job) {
    call({ engine, now in engine.move(head, parent: frame.parent, ticket, now) }) { [self] answer in
      guard !job.isOver else { return }
      switch answer {
      case .none: after(.milliseconds(500)) { [self] in if !job.isOver { move(head, frame, ticket, job) } }
      case .some(.none):
        job.chain?.moved(to: head, isDelta: frame.kind == .delta)
        next(job)
      case .some(.some): abandon(job)
      }
    }
  }

  private func finish(_ job: Job) {
    let ticket = job.task.ticket
    if job.task.payload[1] == 1 {
      let jitter = UInt32.random(in: 0 ... .max, using: &world.dice)
      return call({ engine, now in engine.fail(ticket, jitter: jitter, now) }) { [self] answer in
        // Without an answer it says so again; what was taken is refused then.
        if answer == nil { after(.seconds(1)) { [self] in if !job.isOver { finish(job) } } } else { abandon(job) }
      }
    }
    let expected = (0..<job.task.payload[0]).map { UInt8($0) }
    if job.answers != expected { world.violate("\(job.name) ends with \(job.answers) instead of \(expected)") }
    let key = key(job)
    let effects = outbox.handle(.put(key: key, bytes: job.answers.count), now: world.now)
    if effects.contains(.reject(key)) { return after(.seconds(1)) { [self] in if !job.isOver { finish(job) } } }
    job.isHandedOver = true
    intake.finished(job.task.lane)
    send(effects)
    begin()
  }

  private func send(_ effects: [Outbox.Effect]) {
    for effect in effects {
      if case .send(let key, _) = effect { frames(aggregator.handle(.add(key, bytes: 100), now: world.now)) }
    }
    if let deadline = aggregator.nextDeadline {
      after(max(.zero, deadline - world.now)) { [self] in frames(aggregator.handle(.tick, now: world.now)) }
    }
  }

  private func frames(_ frames: [ResultAggregator<String>.Effect]) {
    for frame in frames {
      let results = frame.items.compactMap { key in jobs.first { $0.key == key }.map { (key, $0.job) } }
      guard !results.isEmpty else { continue }
      let writes = results.map { ($0.1.task.ticket, $0.1.answers) }
      call({ engine, now in writes.map { engine.complete($0.0, $0.1, now) } }) { [self] answer in
        for ((key, job), result) in zip(results, answer ?? []) {
          switch result {
          case .success:
            job.isOver = true
            jobs.removeAll { $0.key == key }
            started.remove(key)
            send(outbox.handle(.acknowledged(key), now: world.now))
          case .failure: abandon(job)
          }
        }
      }
    }
  }
}
