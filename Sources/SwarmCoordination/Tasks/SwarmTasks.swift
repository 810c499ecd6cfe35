import CoordinationProtocol
import Logging
import NIOHTTP1
import RateBudget
import Synchronization

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
  private let shared = Mutex(Shared())
  private let changed = Wakeup()

  private struct Shared {
    var leases = HeldLeases()
    var claims: [String: TaskClaim] = [:]
    /// Told when somebody else may have the task.
    var lost: [String: Wakeup] = [:]
    /// Handed out, and not begun.
    var ready: [TaskClaim] = []
  }

  /// How long a claim waits for tasks, in seconds: below the timeouts of proxies.
  private static let wait = 20
  /// The most tasks in one claim.
  private static let batch = 100
  /// How long giving a task back may take when the worker was cancelled.
  private static let goodbye = Duration.seconds(2)

  init(queue: String, worker: String, link: TaskQueueLink, agents: AgentPool, logger: Logger) {
    self.queue = queue
    self.worker = worker
    self.link = link
    self.agents = agents
    self.logger = logger
  }

  // MARK: Submitting

  /// Submits tasks: the queue takes all of them or none. Says so until the queue has heard it.
  ///
  /// - Returns: their ids, in their order.
  /// - Throws: `TaskQueueRefusal` when a field can't be meant or the queue is full; `CancellationError`.
  @discardableResult
  public func submit(_ tasks: [SwarmTaskRequest]) async throws -> [String] {
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
    let answer = try await link.insist("/v1/tasks", Array(body.utf8))
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
  /// - Throws: `TaskQueueRefusal` when the queue can't be worked on at all; `CancellationError`: what was in hand is given back.
  public func work(_ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8]) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.keepLeases() }
      group.addTask { try await self.handBackWhileDraining() }
      defer { group.cancelAll() }
      do {
        try await agents.work(taking: { try await self.next() }) { try await self.attempt($0, body) }
      } catch {
        await handBack()
        throw error
      }
      await handBack()
    }
  }

  /// The next task, waiting for it.
  private func next() async throws -> TaskClaim? {
    while true {
      if let claim = shared.withLock({ $0.ready.isEmpty ? nil : $0.ready.removeFirst() }) { return claim }
      let room = agents.slots == 0 ? Self.batch : max(1, min(agents.slots - agents.busy, Self.batch))
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
    shared.withLock { shared in
      for claim in claims {
        shared.leases.hold(claim.id, lease: claim.lease, now: now)
        shared.claims[claim.id] = claim
        shared.ready.append(claim)
      }
    }
    changed.signal()
  }

  private enum Ending: Sendable {
    case result([UInt8])
    case failure(any Error)
    case lost
  }

  /// Works on one task, and says how that ended. Throws only when the worker is cancelled.
  private func attempt(
    _ claim: TaskClaim, _ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8]
  ) async throws {
    let lost = Wakeup()
    let isHeld = shared.withLock { shared in
      guard shared.leases.holds(claim.id) else { return false }
      shared.lost[claim.id] = lost
      return true
    }
    guard isHeld else { return }
    defer { drop(claim.id) }
    let ending = await withTaskGroup(of: Ending.self) { group in
      group.addTask {
        do { return .result(try await body(SwarmTask(claim))) } catch { return .failure(error) }
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
      let answer = try await say(claim, "complete", #","result":\#(text)"#)
      guard answer.status == 400 || answer.status == 413 else { break }
      // The result itself can't be kept: it would be so at each further attempt.
      _ = try await say(
        claim, "fail", #","retry":false,"reason":\#(JSONSlice.quoted("the result is refused: \(answer.message)"))"#)
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

  private func drop(_ id: String) {
    shared.withLock { shared in
      shared.leases.drop(id)
      shared.claims[id] = nil
      shared.lost[id] = nil
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
      guard shared.leases.holds(claim.id) else { return nil }
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
    for claim in claims { drop(claim.id) }
  }

  /// Gives tasks back, also when this task is cancelled: who waits for them shouldn't have to wait for the leases to end.
  private func release(_ claims: [TaskClaim]) async {
    guard !claims.isEmpty else { return }
    let (link, clock) = (link, link.clock)
    // A task of its own, since calls of a cancelled one are cancelled; it is awaited here and has its limit.
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
