import CoordinationEngine
import CoordinationProtocol
import JSON
import Logging
import NIOHTTP1
import PayloadCompression
import RateBudget
import Synchronization
import TaskQueue
import TaskRecovery

/// A queue of tasks, as this worker sees it.
///
/// Tasks are done at least once, and one result of each is committed: a worker that was away for longer than its lease finds its result
/// refused. Leases are renewed by a timer of their own, however long the work takes.
public final class SwarmTasks: Sendable {
  /// The queue's name.
  public let queue: String
  private let worker: String
  private let link: TaskQueueLink
  private let agents: AgentPool
  private let logger: Logger
  /// Where steps and checkpoints are kept; nil: nowhere.
  private let engine: (any CoordinationEngine)?
  /// Where results are kept while the queue is away; nil: in memory.
  private let outboxFolder: String?
  private let shared = Mutex(Shared())
  private let changed = Wakeup()
  private let settled = Wakeup()

  private struct Shared {
    var leases = HeldLeases()
    var claims: [String: TaskClaim] = [:]
    /// Told when somebody else may have the task.
    var lost: [String: Wakeup] = [:]
    /// Of tasks whose result the queue has: what is to be removed.
    var finished: [TaskProgress] = []
    /// Handed out, and not begun.
    var ready: [TaskClaim] = []

    /// Whether the claim holds: it is neither lost nor followed by a later one.
    func holds(_ claim: TaskClaim) -> Bool { leases.holds(claim.id) && claims[claim.id]?.epoch == claim.epoch }
  }

  /// How long a claim waits for tasks, in seconds: below the timeouts of proxies.
  private static let wait = 20
  /// The most tasks in one claim.
  private static let batch = 100
  /// How long giving a task back may take when the worker was cancelled.
  private static let goodbye = Duration.seconds(2)

  /// From so many percent of the outbox on no new tasks are begun: what is at work must find room.
  private static let fullOutbox = 50
  /// Packs checkpoints; one for the process.
  private static let codec = PayloadCodec()

  init(
    queue: String, worker: String, link: TaskQueueLink, agents: AgentPool, logger: Logger,
    engine: (any CoordinationEngine)? = nil, outboxFolder: String? = nil
  ) {
    self.engine = engine
    self.outboxFolder = outboxFolder
    self.queue = queue
    self.worker = worker
    self.link = link
    self.agents = agents
    self.logger = logger
  }

  // MARK: Submitting

  /// Submits tasks: the queue takes all of them or none. Says so until the queue has heard it.
  ///
  /// - Parameter patience: how long to wait while the queue takes no more, because it is full or the lane's backlog is too old; it says when to come
  ///   again. Default 10 minutes.
  /// - Returns: their ids, in their order.
  /// - Throws: `TaskQueueRefusal` when a field can't be meant, or the queue takes no more for longer than `patience`; `CancellationError`.
  @discardableResult
  public func submit(_ tasks: [SwarmTaskRequest], patience: Duration = .seconds(600)) async throws -> [String] {
    let items = tasks.map { task in
      let key = task.key ?? "\(worker)-\(String(UInt64.random(in: .min ... .max), radix: 36))"
      var fields = [
        #""lane":\#(JSONSlice.quoted(task.lane))"#, #""key":\#(JSONSlice.quoted(key))"#,
        #""payload":\#(String(decoding: task.payload, as: UTF8.self))"#,
      ]
      if !task.fairnessKey.isEmpty { fields.append(#""fairnessKey":\#(JSONSlice.quoted(task.fairnessKey))"#) }
      if task.delay > .zero { fields.append(#""delaySeconds":\#(task.delay.secondsText)"#) }
      if let attempts = task.maxAttempts { fields.append(#""maxAttempts":\#(attempts)"#) }
      return "{\(fields.joined(separator: ","))}"
    }
    let body = #"{"queue":\#(JSONSlice.quoted(queue)),"tasks":[\#(items.joined(separator: ","))]}"#
    let answer = try await link.insist("/v1/tasks", Array(body.utf8), patience: patience) { [logger] answer, pause in
      logger.warning(
        "the task queue takes no more now; waiting",
        metadata: ["queue": "\(queue)", "error": "\(answer.message)", "pause.seconds": "\(pause.components.seconds)"])
    }
    guard answer.isSuccess, let made = JSONSlice(answer.body)?.members?["tasks"]?.elements else {
      throw TaskQueueRefusal(status: answer.status, message: answer.message)
    }
    return made.compactMap { $0.members?["id"]?.string }
  }

  // MARK: Working

  /// Works on the queue's tasks: as many at once as the worker has slots, none while it drains. Returns after `agents.drain()` was
  /// called and all work is done.
  ///
  /// - Parameter body: does the work; gives the result, which is JSON (empty: null). What it throws is the end of the attempt: see
  ///   `TaskFailure`; `AgentPool.Draining`, as `agents.checkpoint()` throws it, hands the task back. It is cancelled when its lease
  ///   was lost: somebody else has the task then.
  /// - Throws: `TaskQueueRefusal` when the queue can't be worked on at all; `SwarmConfigurationError` when results can't be kept where
  ///   `SWARMSCALE_OUTBOX` says; `CancellationError`: what was in hand is given back.
  public func work(_ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8]) async throws {
    let outbox = try makeOutbox()
    agents.outboxes.open(outbox)
    do {
      try await work(body, outbox)
    } catch {
      await agents.outboxes.close(outbox)
      throw error
    }
    await agents.outboxes.close(outbox)
  }

  private func work(
    _ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8], _ outbox: ResultOutbox
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.keepLeases() }
      group.addTask { try await self.handBackWhileDraining() }
      group.addTask { [self] in try await link.watch(queue, for: agents) }
      group.addTask { try await outbox.run() }
      group.addTask {
        while true {
          await self.removeFinished()
          try await self.settled.wait()
        }
      }
      defer { group.cancelAll() }
      do {
        try await agents.work(
          kind: queue,
          taking: {
            try await outbox.untilBelow(percent: Self.fullOutbox)
            return try await self.next(outbox)
          }
        ) { try await self.attempt($0, outbox, body) }
      } catch {
        await handBack()
        throw error
      }
      await handBack()
      // Results are said until the queue has heard them.
      try await outbox.untilBelow(percent: 0)
    }
    // What the group's end has interrupted, too.
    await removeFinished()
  }

  // MARK: Results

  /// Removes steps and checkpoints of tasks that are done: not before the queue has their results, which may still be lost until then.
  private func removeFinished() async {
    while !Task.isCancelled, let progress = shared.withLock({ $0.finished.popLast() }) {
      await progress.finish()
      // It may have been cut short: somebody else does it.
      if Task.isCancelled { shared.withLock { $0.finished.append(progress) } }
    }
  }

  private func makeOutbox() throws(SwarmConfigurationError) -> ResultOutbox {
    let log: OutboxLog?
    do throws(OutboxLog.Failure) {
      // A folder for each queue: names of queues are names of files.
      log = try outboxFolder.map { folder throws(OutboxLog.Failure) in try OutboxLog(folder: "\(folder)/\(queue)") }
    } catch {
      throw SwarmConfigurationError(
        SwarmEnvironment.Variable.outbox, outboxFolder,
        "\(error); name a folder that exists, that this process may write, and that no other one uses")
    }
    if let log, !log.recovered.isEmpty || log.damaged > 0 {
      logger.info(
        "saying results that an earlier process has left behind",
        metadata: ["results": "\(log.recovered.count)", "damaged": "\(log.damaged)"])
    }
    return ResultOutbox(log: log, clock: RecoveryTime(clock: link.clock)) { [link, logger] items in
      await Self.commit(items, link, logger)
    }
  }

  /// Says results together, and those again one by one that the queue doesn't take so: it says then what is wrong with each.
  private static func commit(
    _ items: [OutboxLog.Item], _ link: TaskQueueLink, _ logger: Logger
  ) async -> [ResultOutbox.Delivery] {
    // What is no JSON would spoil the whole request, or say something else in it.
    var single = items.indices.filter { (try? JSONValue(parsing: items[$0].payload)) == nil }
    let together = items.indices.filter { !single.contains($0) }
    var answers = [ResultOutbox.Delivery](repeating: .later, count: items.count)
    if together.count > 1 {
      let tasks = together.map {
        #"{"id":\#(JSONSlice.quoted(taskID(items[$0]))),"#
          + String(decoding: items[$0].payload.dropFirst(), as: UTF8.self)
      }
      let body = Array(#"{"tasks":[\#(tasks.joined(separator: ","))]}"#.utf8)
      guard let answer = try? await link.call(.POST, "/v1/tasks/complete", body), !answer.isTemporary else {
        return answers
      }
      let told = JSONSlice(answer.body)?.members?["tasks"]?.elements ?? []
      for (place, number) in together.enumerated() {
        if answer.isSuccess, told.count == together.count, let one = told[place].members, one["error"] == nil {
          answers[number] = .delivered
        } else {
          single.append(number)
        }
      }
    } else {
      single += together
    }
    await withTaskGroup(of: (Int, ResultOutbox.Delivery).self) { group in
      for number in single { group.addTask { (number, await Self.commit(items[number], link, logger)) } }
      for await (number, answer) in group { answers[number] = answer }
    }
    return answers
  }

  /// The task that a result is of: its key is that and the claim.
  private static func taskID(_ item: OutboxLog.Item) -> Substring { item.key.prefix { $0 != "/" } }

  /// Says one result.
  private static func commit(
    _ item: OutboxLog.Item, _ link: TaskQueueLink, _ logger: Logger
  ) async -> ResultOutbox.Delivery {
    let id = taskID(item)
    guard let answer = try? await link.call(.POST, "/v1/tasks/\(id)/complete", item.payload), !answer.isTemporary else {
      return .later
    }
    if answer.isSuccess { return .delivered }
    logger.warning(
      "the task queue refuses what came of a task",
      metadata: ["task": "\(id)", "step": "complete", "error": "\(answer.message)"])
    guard answer.status == 400 || answer.status == 413 else { return .refused }
    // From the key: a result that is no JSON makes the whole text none.
    let epoch = item.key.dropFirst(id.count + 1)
    // The result itself can't be kept: it would be so at each further attempt.
    let reason = JSONSlice.quoted("the result is refused: \(answer.message)")
    let failure = #"{"epoch":\#(epoch),"retry":false,"reason":\#(reason)}"#
    guard let answer = try? await link.call(.POST, "/v1/tasks/\(id)/fail", Array(failure.utf8)), !answer.isTemporary
    else { return .later }
    return .refused
  }

  /// Where a task stands, if its queue keeps that.
  private func progress(_ claim: TaskClaim) -> TaskProgress? {
    guard let engine, let id = TaskID(claim.id), let epoch = UInt64(exactly: claim.epoch) else { return nil }
    return TaskProgress(
      ticket: TaskTicket(id: id, epoch: epoch),
      head: claim.checkpoint.map { CheckpointHead(step: $0.step, reference: $0.reference) }, engine: engine,
      codec: Self.codec, clock: RecoveryTime(clock: link.clock))
  }

  /// Says first what the queue didn't hear while it was away: leases may have run out, and whoever claims gets the oldest task, which may be
  /// this worker's own. Whether it was heard.
  private func catchUp(_ outbox: ResultOutbox) async throws -> Bool {
    let missed = shared.withLock { shared in shared.leases.missed.compactMap { shared.claims[$0] } }
    if !missed.isEmpty {
      await withTaskGroup(of: Void.self) { group in
        for claim in missed { group.addTask { await self.renew(claim) } }
      }
      guard shared.withLock({ $0.leases.missed.isEmpty }) else { return false }
    }
    try await outbox.untilHeard()
    return true
  }

  /// The next task, waiting for it.
  private func next(_ outbox: ResultOutbox) async throws -> TaskClaim? {
    while true {
      if let claim = shared.withLock({ $0.ready.isEmpty ? nil : $0.ready.removeFirst() }) { return claim }
      guard try await catchUp(outbox) else {
        try await pause(nil)
        continue
      }
      let room = agents.room(for: queue, most: Self.batch)
      let body = #"{"queue":\#(JSONSlice.quoted(queue)),"worker":\#(JSONSlice.quoted(worker)),"max":\#(room)}"#
      do {
        let answer = try await link.call(.POST, "/v1/tasks/next?wait=\(Self.wait)", Array(body.utf8))
        if answer.isTemporary {
          logger.debug("the task queue has no answer now", metadata: ["error": "\(answer.message)"])
          try await pause(answer.retryAfter)
          continue
        }
        guard answer.isSuccess, let claims = TaskClaim.claims(answer.body) else {
          throw TaskQueueRefusal(status: answer.status, message: answer.message)
        }
        hold(claims)
        // An order to drain that came meanwhile found nothing to hand back.
        if agents.isDraining { await handBack() }
      } catch let error as TaskQueueUnreachable {
        logger.debug("waiting for the task queue", metadata: ["error": "\(error)"])
        try await pause(nil)
      }
    }
  }

  private func pause(_ time: Duration?) async throws {
    try await link.clock.sleep(until: link.clock.now + (time ?? .seconds(1)))
  }

  private func hold(_ claims: [TaskClaim]) {
    guard !claims.isEmpty else { return }
    let now = link.clock.now
    let lost = shared.withLock { shared in
      var lost: [Wakeup] = []
      for claim in claims {
        // An earlier claim of the same task, which somebody has ended meanwhile.
        if let wakeup = shared.lost.removeValue(forKey: claim.id) { lost.append(wakeup) }
        shared.leases.hold(claim.id, lease: claim.lease, now: now)
        shared.claims[claim.id] = claim
        shared.ready.append(claim)
      }
      return lost
    }
    for wakeup in lost { wakeup.signal() }
    changed.signal()
  }

  private enum Ending: Sendable {
    case result([UInt8])
    case failure(any Error)
    case lost
  }

  /// Works on one task, and says how that ended. Throws only when the worker is cancelled.
  private func attempt(
    _ claim: TaskClaim, _ outbox: ResultOutbox, _ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8]
  ) async throws {
    let progress = progress(claim)
    let lost = Wakeup()
    let isHeld = shared.withLock { shared in
      guard shared.holds(claim) else { return false }
      shared.lost[claim.id] = lost
      return true
    }
    guard isHeld else { return }
    var isQueued = false
    defer { if !isQueued { drop(claim) } }
    let ending = await withTaskGroup(of: Ending.self) { group in
      group.addTask {
        do { return .result(try await body(SwarmTask(claim, progress: progress))) } catch { return .failure(error) }
      }
      group.addTask {
        do { try await lost.wait() } catch { return .failure(error) }
        return .lost
      }
      let first = await group.next() ?? .lost
      group.cancelAll()
      return first
    }
    switch ending {
    case .lost:
      logger.warning(
        "a task was lost to another worker: its lease couldn't be renewed in time", metadata: ["task": "\(claim.id)"])
    case .result(let result):
      let text = result.isEmpty ? "null" : String(decoding: result, as: UTF8.self)
      // The lease goes on until the queue has heard the result; the slot is free at once.
      isQueued = true
      let key = "\(claim.id)/\(claim.epoch)"
      try await outbox.put(key, Array(#"{"epoch":\#(claim.epoch),"result":\#(text)}"#.utf8)) { isDelivered in
        self.drop(claim)
        guard isDelivered, let progress else { return }
        self.shared.withLock { $0.finished.append(progress) }
        self.settled.signal()
      }
    case .failure(is AgentPool.Draining): _ = try await say(claim, "release", "")
    case .failure(let error):
      if Task.isCancelled {
        await release([claim])
        throw CancellationError()
      }
      try await fail(claim, error)
    }
  }

  private func fail(_ claim: TaskClaim, _ error: any Error) async throws {
    let failure =
      switch error {
      case let failure as TaskFailure: failure
      case let error as ClaudeError: TaskFailure("\(error)", isWorthRetrying: error.isWorthRetrying)
      default: TaskFailure("\(error)")
      }
    logger.debug("a task failed", metadata: ["task": "\(claim.id)", "error": "\(failure.reason)"])
    let delay = failure.delay.map { #","delaySeconds":\#($0.secondsText)"# } ?? ""
    _ = try await say(
      claim, "fail",
      #","reason":\#(JSONSlice.quoted(failure.reason.prefix(1_000))),"retry":\#(failure.isWorthRetrying)\#(delay)"#)
  }

  /// Says a step until it is heard. What the queue refuses then is refused for good: the claim is over.
  private func say(_ claim: TaskClaim, _ verb: String, _ members: String) async throws -> TaskQueueLink.Answer {
    let answer = try await link.insist(
      "/v1/tasks/\(claim.id)/\(verb)", Array(#"{"epoch":\#(claim.epoch)\#(members)}"#.utf8))
    if !answer.isSuccess {
      logger.warning(
        "the task queue refuses what came of a task",
        metadata: ["task": "\(claim.id)", "step": "\(verb)", "error": "\(answer.message)"])
    }
    return answer
  }

  /// Lets go of a claim, and of no later one of the same task.
  private func drop(_ claim: TaskClaim) {
    shared.withLock { shared in
      guard shared.claims[claim.id]?.epoch == claim.epoch else { return }
      shared.leases.drop(claim.id)
      shared.claims[claim.id] = nil
      shared.lost[claim.id] = nil
    }
  }

  // MARK: Leases

  /// Renews what is due, until it is cancelled.
  private func keepLeases() async throws {
    while true {
      let (due, next) = shared.withLock { shared in
        (shared.leases.due(now: link.clock.now).compactMap { shared.claims[$0] }, shared.leases.nextRenewal)
      }
      guard !due.isEmpty else {
        try await changed.wait(until: next, now: link.clock.now) { [clock = link.clock] in
          try await clock.sleep(until: $0)
        }
        continue
      }
      await withTaskGroup(of: Void.self) { group in
        for claim in due { group.addTask { await self.renew(claim) } }
      }
      try Task.checkCancellation()
    }
  }

  private func renew(_ claim: TaskClaim) async {
    let asked = link.clock.now
    let answer = try? await link.call(
      .POST, "/v1/tasks/\(claim.id)/heartbeat", Array(#"{"epoch":\#(claim.epoch)}"#.utf8))
    let lost = shared.withLock { shared -> Wakeup? in
      guard shared.holds(claim) else { return nil }
      guard let answer, !answer.isTemporary else {
        shared.leases.missed(claim.id, now: link.clock.now)
        return nil
      }
      if answer.isSuccess {
        let lease = JSONSlice(answer.body)?.members?["leaseSeconds"]?.seconds ?? claim.lease
        // The queue counts from when it heard it, which isn't before it was said.
        shared.leases.hold(claim.id, lease: lease, now: asked)
        return nil
      }
      shared.leases.drop(claim.id)
      shared.ready.removeAll { $0.id == claim.id }
      return shared.lost[claim.id]
    }
    lost?.signal()
  }

  // MARK: Giving back

  /// Hands back what was not begun whenever a drain begins.
  private func handBackWhileDraining() async throws {
    repeat {
      try await agents.untilDraining()
      await handBack()
      try await agents.untilServing()
      // Closed for good: nothing is fetched any more, and `next` hands back what comes late.
    } while !agents.isDraining
  }

  private func handBack() async {
    let claims = shared.withLock { shared in
      defer { shared.ready = [] }
      return shared.ready
    }
    await release(claims)
    for claim in claims { drop(claim) }
  }

  /// Gives tasks back, also when this task is cancelled: who waits for them shouldn't have to wait for the leases to end.
  private func release(_ claims: [TaskClaim]) async {
    guard !claims.isEmpty else { return }
    let (link, clock) = (link, link.clock)
    // Owned: awaited here, with a limit. Calls of a cancelled task are cancelled.
    await Task {
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          await withTaskGroup(of: Void.self) { calls in
            for claim in claims {
              calls.addTask {
                _ = try? await link.call(
                  .POST, "/v1/tasks/\(claim.id)/release", Array(#"{"epoch":\#(claim.epoch)}"#.utf8))
              }
            }
          }
        }
        group.addTask { try? await clock.sleep(until: clock.now + Self.goodbye) }
        await group.next()
        group.cancelAll()
      }
    }.value
  }
}

/// The library's time, for recovery.
private struct RecoveryTime: RecoveryClock {
  let clock: any CoordinationClock

  var now: Duration { clock.now - .zero }

  func sleep(until time: Duration) async throws { try await clock.sleep(until: .zero + time) }
}

extension Duration {
  /// Seconds to the millisecond, as JSON.
  var secondsText: String {
    let (seconds, attoseconds) = components
    let milliseconds = attoseconds / 1_000_000_000_000_000
    guard milliseconds > 0 else { return "\(seconds)" }
    let digits = "\(milliseconds)"
    return "\(seconds).\(String(repeating: "0", count: 3 - digits.count))\(digits)"
  }
}
