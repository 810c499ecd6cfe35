import CoordinationProtocol
package import NIOHTTP1
import RateBudget
import Synchronization

/// The queue of tasks for workers that speak HTTP: what they say on loopback goes to the queue, and the pool knows what they hold.
///
/// A task that is handed out takes a slot until it is completed, failed or released, or its lease has ended without a heartbeat: so
/// a fleet's coordinator sees workers in other languages as well as those in Swift. While the worker drains it gets no tasks.
/// Leases are the worker's: a sidecar that renewed them would keep the tasks of a worker that hangs or has died.
package final class TaskRelay: Sendable {
  /// What a worker is answered.
  package struct Answer: Sendable {
    /// The status of HTTP.
    package var status: Int
    /// The body: JSON.
    package var body: [UInt8]
    /// When it may be said again, in seconds.
    package var retryAfter: Int?
    /// Tasks that are handed out: `takeBack` them if the answer can't be delivered.
    package var handedOut: [TaskClaim] = []
  }

  private struct Shared {
    var leases = HeldLeases()
    var slots: [String: UInt64] = [:]
    /// The most that claims on their way may bring.
    var reserved = 0
    /// The queues that the worker takes from.
    var queues: Set<String> = []
  }

  private let link: TaskQueueLink
  private let pool: AgentPool
  private let worker: String
  private let shared = Mutex(Shared())
  private let changed = Wakeup()
  private let found = AsyncStream.makeStream(
    of: String.self, bufferingPolicy: .bufferingOldest(ProtocolLimits.queues))
  /// The longest wait for tasks, in seconds, as the queue has it.
  private static let longestWait = 60
  /// The most tasks in one claim, as the queue has it.
  private static let batch = 100

  /// Makes a relay; `worker` stands in claims that name none.
  package init(link: TaskQueueLink, pool: AgentPool, worker: String) {
    self.link = link
    self.pool = pool
    self.worker = worker
  }

  /// Frees the slots of tasks whose lease has ended, and watches the queues that the worker takes from, until the task is cancelled.
  package func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.freeSlots() }
      defer { group.cancelAll() }
      for await queue in found.stream {
        group.addTask { [link, pool] in try await link.watch(queue, for: pool) }
      }
      try await group.waitForAll()
    }
  }

  /// Notes that the worker takes from a queue; those beyond what a report has room for aren't watched.
  private func note(queue: String) {
    let isNew = shared.withLock { shared in
      shared.queues.count < ProtocolLimits.queues && shared.queues.insert(queue).inserted
    }
    if isNew { found.continuation.yield(queue) }
  }

  private func freeSlots() async throws {
    while true {
      let (ended, next) = shared.withLock { shared in
        let ended = shared.leases.dropEnded(now: link.clock.now).compactMap { shared.slots.removeValue(forKey: $0) }
        return (ended, shared.leases.nextEnd)
      }
      for slot in ended { pool.giveBack(slot) }
      try await changed.wait(until: next, now: link.clock.now) { [clock = link.clock] in
        try await clock.sleep(until: $0)
      }
    }
  }

  /// Answers a request whose path is `/v1/tasks` or below; `target` with its query.
  package func respond(method: HTTPMethod, target: String, body: [UInt8]) async throws -> Answer {
    let path = target.prefix { $0 != "?" }
    do {
      if method == .POST, path == "/v1/tasks/next" { return try await next(target, body) }
      let answer = try await link.call(method, target, method == .GET ? nil : body)
      if method == .POST { note(path, answer, body) }
      return Self.relayed(answer)
    } catch let error as TaskQueueUnreachable {
      return Self.error(503, "engine_unavailable", "\(error)", retryAfter: 1)
    }
  }

  /// Hands back what couldn't be delivered.
  package func takeBack(_ claims: [TaskClaim]) async {
    for claim in claims {
      let body = Array(#"{"epoch":\#(claim.epoch)}"#.utf8)
      // Where that fails the lease runs out: nothing is lost.
      _ = try? await link.call(.POST, "/v1/tasks/\(claim.id)/release", body)
      drop(claim.id)
    }
  }

  // MARK: Claims

  private func next(_ target: String, _ body: [UInt8]) async throws -> Answer {
    guard let members = JSONSlice(body)?.members else {
      return Self.error(
        400, "invalid_request_error", #"the body: a JSON object is needed, such as {"queue":"reviewers"}"#)
    }
    let wait = Self.wait(target)
    let deadline = link.clock.now + .seconds(wait)
    guard try await hasRoom(until: deadline) else { return Self.none(isDraining: pool.isDraining) }
    // A worker that asks for more than it has slots for would hold what others could begin.
    let asked = members["max"]?.integer.map { Int(clamping: $0) } ?? 1
    let room = pool.slots == 0 ? Self.batch : pool.slots - pool.busy
    let count = shared.withLock { shared in
      let count = asked < 1 ? asked : max(1, min(asked, room - shared.reserved))
      shared.reserved += max(0, count)
      return count
    }
    defer { shared.withLock { $0.reserved -= max(0, count) } }
    let request = Self.request(members, count: count, worker: worker)
    let (fetched, slots) = try await pool.fetching {
      () async throws -> ((TaskQueueLink.Answer, [TaskClaim])?, slots: Int) in
      guard let answer = try await self.fetch(target, request) else { return (nil, 0) }
      let claims = answer.isSuccess ? TaskClaim.claims(answer.body) ?? [] : []
      return ((answer, claims), claims.count)
    }
    guard let (answer, claims) = fetched else { return Self.none(isDraining: true) }
    if answer.isSuccess, let queue = members["queue"]?.string { note(queue: queue) }
    let now = link.clock.now
    shared.withLock { shared in
      for (claim, slot) in zip(claims, slots) {
        shared.leases.hold(claim.id, lease: claim.lease, now: now)
        shared.slots[claim.id] = slot
      }
    }
    changed.signal()
    var relayed = Self.relayed(answer)
    relayed.handedOut = claims
    return relayed
  }

  /// Waits for a slot; false when there is none in time, or the worker drains.
  private func hasRoom(until deadline: BudgetTime) async throws -> Bool {
    if pool.isDraining { return false }
    // Who doesn't wait is served when there is room now, however slow the machine is.
    if pool.hasRoom { return true }
    let (pool, clock) = (pool, link.clock)
    guard deadline > clock.now else { return false }
    return try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask { try await pool.untilRoomOrDraining() }
      group.addTask {
        try await clock.sleep(until: deadline)
        return false
      }
      defer { group.cancelAll() }
      return try await group.next() ?? false
    }
  }

  /// Claims tasks; nil when the worker began to drain before there were any. A claim that is given up is taken back by the queue.
  private func fetch(_ target: String, _ body: [UInt8]) async throws -> TaskQueueLink.Answer? {
    let (pool, link) = (pool, link)
    return try await withThrowingTaskGroup(of: TaskQueueLink.Answer?.self) { group in
      group.addTask { try await link.call(.POST, target, body) }
      group.addTask {
        try await pool.untilDraining()
        return nil
      }
      let first = try await group.next() ?? nil
      group.cancelAll()
      guard first == nil else { return first }
      // It may have come at the same moment.
      return try? await group.next() ?? nil
    }
  }

  /// The worker's claim, with as many tasks as there is room for.
  private static func request(_ members: [String: JSONSlice], count: Int, worker: String) -> [UInt8] {
    var fields = members.filter { $0.key != "max" }.sorted { $0.key < $1.key }.map { name, value in
      "\(JSONSlice.quoted(name)):\(String(decoding: value.bytes, as: UTF8.self))"
    }
    if members["worker"] == nil { fields.append(#""worker":\#(JSONSlice.quoted(worker))"#) }
    fields.append(#""max":\#(count)"#)
    return Array("{\(fields.joined(separator: ","))}".utf8)
  }

  private static func wait(_ target: String) -> Int64 {
    for pair in target.drop(while: { $0 != "?" }).dropFirst().split(separator: "&") where pair.hasPrefix("wait=") {
      return min(max(Int64(pair.dropFirst(5)) ?? 0, 0), Int64(longestWait))
    }
    return 0
  }

  // MARK: Steps

  /// Notes what a step with a task, or with several, means for their slots.
  private func note(_ path: Substring, _ answer: TaskQueueLink.Answer, _ body: [UInt8]) {
    let parts = path.split(separator: "/")
    guard !answer.isTemporary else { return }
    switch parts.count {
    case 3: noteEach(parts[2], answer, body)
    case 4:
      note(
        String(parts[2]), parts[3], answer.status, lease: JSONSlice(answer.body)?.members?["leaseSeconds"]?.seconds)
    default: break
    }
  }

  private func noteEach(_ verb: Substring, _ answer: TaskQueueLink.Answer, _ body: [UInt8]) {
    guard answer.isSuccess, let tasks = JSONSlice(body)?.members?["tasks"]?.elements,
      let answers = JSONSlice(answer.body)?.members?["tasks"]?.elements, tasks.count == answers.count
    else { return }
    for (task, answer) in zip(tasks, answers) {
      guard let id = task.members?["id"]?.string, let members = answer.members else { continue }
      let isHeld: Bool
      switch members["error"]?.members?["type"]?.string {
      case "stale_epoch"?, "unknown_task"?, "wrong_state"?: isHeld = false
      case nil: isHeld = true
      // Such as a result that is too large: it may come again.
      default: continue
      }
      note(id, verb, isHeld ? 200 : 409, lease: members["leaseSeconds"]?.seconds)
    }
  }

  private func note(_ id: String, _ verb: Substring, _ status: Int, lease: Duration?) {
    switch (verb, status) {
    case ("heartbeat", 200..<300):
      guard let lease else { return }
      let now = link.clock.now
      shared.withLock { shared in
        if shared.leases.holds(id) { shared.leases.hold(id, lease: lease, now: now) }
      }
      changed.signal()
    // What the ticket is no good for any more the worker doesn't hold.
    case ("complete", 200..<300), ("fail", 200..<300), ("release", 200..<300), (_, 404), (_, 409): drop(id)
    default: break
    }
  }

  private func drop(_ id: String) {
    let slot = shared.withLock { shared in
      shared.leases.drop(id)
      return shared.slots.removeValue(forKey: id)
    }
    if let slot { pool.giveBack(slot) }
  }

  // MARK: Answers

  private static func relayed(_ answer: TaskQueueLink.Answer) -> Answer {
    Answer(
      status: answer.status, body: answer.body, retryAfter: answer.retryAfter.map { Int($0.components.seconds) })
  }

  private static func none(isDraining: Bool) -> Answer {
    Answer(status: 200, body: Array((#"{"tasks":[],"draining":\#(isDraining)}"# + "\n").utf8))
  }

  /// An error in the form of the queue's own.
  package static func error(_ status: Int, _ type: String, _ message: String, retryAfter: Int? = nil) -> Answer {
    let text = #"{"type":"error","error":{"type":"\#(type)","message":\#(JSONSlice.quoted(message))}}"# + "\n"
    return Answer(status: status, body: Array(text.utf8), retryAfter: retryAfter)
  }
}
