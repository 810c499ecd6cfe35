package import AgentRuntime
import CoordinationCore
package import CoordinationProtocol
import Logging
import PayloadCompression
import RateBudget
import Synchronization

/// The places of a worker's agents: so many at once, first come, first served, none while the worker drains.
///
/// The coordinator hears what the pool does (slots, busy, waiting, age of the oldest) and may order it to drain: then
/// whoever waits or comes is turned away, and the coordinator is told when the last slot is free. An order can be taken
/// back, and it ends by itself when its time is over.
public final class AgentPool: Sendable {
  /// Why no slot is given: the pool drains. Put the task back; another worker takes it.
  public struct Draining: Error, Hashable, Sendable, CustomStringConvertible {
    init() {}
    /// What to do.
    public var description: String { "this worker drains and takes no new work; put the task back for another one" }
  }

  private typealias Waiter = CheckedContinuation<Result<Void, any Error>, Never>

  private struct Core {
    var state: AgentPoolState
    var waiters: [UInt64: Waiter] = [:]
    var watchers: [UInt64: AsyncStream<Void>.Continuation] = [:]
    var lastWatcher: UInt64 = 0
    var manager: AgentManager?
    /// The memory that is set aside for what runs in a slot.
    var admissions: [UInt64: ResourceManager.Admission] = [:]
    /// Whether steps are finished and no further ones begun.
    var isFinishingSteps = false
  }

  /// Results of the queues that it works on.
  let outboxes = Outboxes()
  private let core: Mutex<Core>
  private let clock: any CoordinationClock
  private let traffic: Mutex<@Sendable () -> ClaudeGateway.Activity>
  private let changed = Wakeup()
  /// How long changes are gathered before the coordinator is told.
  private static let batch = Duration.milliseconds(100)

  /// Makes a pool; `slots` 0 is one without limit. `quiet`: see `AgentPoolState`.
  package init(slots: Int, clock: any CoordinationClock, quiet: Duration = .seconds(10)) {
    self.clock = clock
    traffic = Mutex({ ClaudeGateway.Activity() })
    core = Mutex(Core(state: AgentPoolState(slots: slots, quiet: quiet, now: clock.now)))
  }

  // MARK: Slots

  /// How many agents at once; 0: no limit.
  public var slots: Int { core.withLock { $0.state.slots } }
  /// How many slots are taken.
  public var busy: Int { core.withLock { $0.state.busy } }
  /// How many tasks wait for a slot.
  public var waiting: Int { core.withLock { $0.state.waiting } }
  /// Whether the pool takes no new work now.
  public var isDraining: Bool { core.withLock { $0.state.isDraining } }

  /// Runs `body` in a slot; waits for one in the order of the calls.
  ///
  /// - Throws: `Draining` when the pool drains, or begins to before there was a slot; `CancellationError` when the task is
  ///   cancelled before; what `body` throws.
  public nonisolated(nonsending) func withSlot<Result>(_ body: () async throws -> Result) async throws -> Result {
    let number = try await enter()
    setAside(for: number, kind: "")
    defer { leave(number) }
    return try await within({ number }) { try await body() }
  }

  /// Runs `body` as the work of a slot that is taken; an agent that waited has another one afterwards.
  nonisolated(nonsending) func within<Result>(
    _ slot: @escaping @Sendable () -> UInt64?, _ body: () async throws -> Result
  ) async rethrows -> Result {
    try await Self.$slot.withValue(slot) { try await body() }
  }

  /// The slot in which the present task works.
  @TaskLocal private static var slot: (@Sendable () -> UInt64?)?

  /// Marks the boundary between two steps of work, behind which nothing of it would be lost: what was done is saved.
  ///
  /// Call it in a slot after each step that has been saved. The coordinator then knows how little an end would cost, and a pool
  /// that drains, or that runs so short of memory that no further step should begin, ends the work here.
  ///
  /// - Throws: `Draining` then: end the work, and put the rest of the task back for another worker.
  public func checkpoint() throws(Draining) {
    let now = clock.now
    let slot = Self.slot?()
    let isDraining = core.withLock { core in
      if let slot { core.state.save(slot, now: now) }
      return core.state.isDraining || core.isFinishingSteps
    }
    changed.signal()
    if isDraining { throw Draining() }
  }

  /// Works on tasks until there are no more: takes one whenever a slot is free and the pool doesn't drain, and runs `body`
  /// on it in that slot.
  ///
  /// - Parameters:
  ///   - next: gives the next task, waiting for it; nil: there are no more. It is cancelled when the pool begins to drain,
  ///     so that no task is taken then; one that it gives nevertheless is worked on.
  ///   - body: the work. An error of it cancels all other work and is thrown; catch what concerns one task alone.
  /// - Throws: what `next` and `body` throw; `CancellationError`. It returns when there are no more tasks or `drain` was
  ///   called, and all work is done.
  public func work<Work: Sendable>(
    taking next: @escaping @Sendable () async throws -> Work?, _ body: @escaping @Sendable (Work) async throws -> Void
  ) async throws {
    try await work(kind: "", taking: next, body)
  }

  /// The same; what is learned of memory is learned by kind.
  func work<Work: Sendable>(
    kind: String, taking next: @escaping @Sendable () async throws -> Work?,
    _ body: @escaping @Sendable (Work) async throws -> Void
  ) async throws {
    let failure = Failure()
    try await withThrowingDiscardingTaskGroup { agents in
      while true {
        try await wait { $0.hasRoom || $0.isClosing || failure.isNoted }
        guard !isClosing, !failure.isNoted else { return }
        guard let (number, work) = try await fetch(next, unless: { $0.isDraining || failure.isNoted }) else { return }
        guard let number, let work else { continue }
        setAside(for: number, kind: kind)
        agents.addTask {
          defer { self.leave(number) }
          do {
            try await self.within({ number }) { try await body(work) }
          } catch {
            // The group ends when this task has; the loop must not wait for a task until then.
            failure.note()
            throw error
          }
        }
      }
    }
  }

  private var isClosing: Bool { core.withLock { $0.state.isClosing } }

  private enum Taken<Work: Sendable>: Sendable {
    case work(Work?)
    case interrupted
  }

  /// Fetches the next task and takes a slot for it; both nil: `condition` became true before; nil: there are no more tasks.
  ///
  /// All the while the pool isn't idle: an order to drain is answered `drained` only when no task can come any more.
  private func fetch<Work: Sendable>(
    _ next: @escaping @Sendable () async throws -> Work?, unless condition: @escaping @Sendable (AgentPoolState) -> Bool
  ) async throws -> (number: UInt64?, work: Work?)? {
    core.withLock { $0.state.beginFetch() }
    defer {
      core.withLock { $0.state.endFetch() }
      notify()
    }
    switch try await take(next, unless: condition) {
    case .interrupted: return (nil, nil)
    case .work(nil): return nil
    case .work(let work?):
      let now = clock.now
      return (core.withLock { $0.state.take(now: now) }, work)
    }
  }

  /// Takes the next task, unless `condition` becomes true before there is one.
  private func take<Work: Sendable>(
    _ next: @escaping @Sendable () async throws -> Work?, unless condition: @escaping @Sendable (AgentPoolState) -> Bool
  ) async throws -> Taken<Work> {
    try await withThrowingTaskGroup(of: Taken<Work>.self) { group in
      group.addTask { .work(try await next()) }
      group.addTask {
        try await self.wait(for: condition)
        return .interrupted
      }
      let first = try await group.next() ?? .interrupted
      group.cancelAll()
      guard case .interrupted = first else { return first }
      // It may have had one in hand.
      if case .work(let work?)? = try? await group.next() { return .work(work) }
      try Task.checkCancellation()
      return .interrupted
    }
  }

  /// Waits until a slot is free and the pool doesn't drain: the time to look for the next task.
  ///
  /// - Throws: `Draining` when `drain` was called, `CancellationError` when the task is cancelled.
  public func ready() async throws {
    try await wait { $0.hasRoom || $0.isClosing }
    if isClosing { throw Draining() }
  }

  /// Waits until the pool begins to drain; at once when it does already.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  public func untilDraining() async throws {
    try await wait { $0.isDraining }
  }

  /// Takes no new work from now on, and waits until the last slot is free: before the worker ends, for instance on
  /// SIGTERM.
  ///
  /// - Throws: `CancellationError` when the task is cancelled; the pool stays closed.
  public func drain() async throws {
    close()
    try await wait { $0.busy == 0 }
  }

  private func enter() async throws -> UInt64 {
    try Task.checkCancellation()
    let now = clock.now
    let (number, entry) = core.withLock { $0.state.enter(now: now) }
    changed.signal()
    switch entry {
    case .taken: return number
    case .draining: throw Draining()
    case .waiting: break
    }
    try await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: Waiter) in
        // Between `enter` and here its turn may have come, or the task may be cancelled: both leave the line.
        let answer = core.withLock { core -> Result<Void, any Error>? in
          if core.state.holds(number) { return .success(()) }
          guard core.state.waits(number) else { return .failure(Task.isCancelled ? CancellationError() : Draining()) }
          core.waiters[number] = continuation
          return nil
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      giveUp(number)
    }.get()
    return number
  }

  private func giveUp(_ number: UInt64) {
    let waiter = core.withLock { core -> Waiter? in
      // Whose turn has come goes on, and finds the cancellation in its body.
      guard core.state.waits(number) else { return nil }
      _ = core.state.leave(number, now: clock.now)
      return core.waiters.removeValue(forKey: number)
    }
    waiter?.resume(returning: .failure(CancellationError()))
    notify()
  }

  private func leave(_ number: UInt64) {
    let now = clock.now
    let (admitted, admission, manager) = core.withLock { core in
      (
        core.state.leave(number, now: now).compactMap { core.waiters.removeValue(forKey: $0) },
        core.admissions.removeValue(forKey: number), core.manager
      )
    }
    if let admission { manager?.resources.end(admission) }
    for waiter in admitted { waiter.resume(returning: .success(())) }
    notify()
  }

  /// Tells everybody who waits for a condition to look again, and turns away who can't be served.
  private func notify() {
    let (refused, watchers, manager) = core.withLock { core in
      (
        core.state.turnAway().compactMap { core.waiters.removeValue(forKey: $0) }, Array(core.watchers.values),
        core.state.isDraining ? core.manager : nil
      )
    }
    manager?.wake()
    for waiter in refused { waiter.resume(returning: .failure(Draining())) }
    for watcher in watchers { watcher.yield() }
    changed.signal()
  }

  private func wait(for condition: (AgentPoolState) -> Bool) async throws {
    let (changes, watcher) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let id = core.withLock { core in
      core.lastWatcher += 1
      core.watchers[core.lastWatcher] = watcher
      return core.lastWatcher
    }
    defer { core.withLock { _ = $0.watchers.removeValue(forKey: id) } }
    if core.withLock({ condition($0.state) }) { return }
    for await _ in changes where core.withLock({ condition($0.state) }) { return }
    throw CancellationError()
  }

  // MARK: Agents by name, and the memory that they need

  /// Has agents and memory managed by `manager`. Say it before there is work.
  package func manage(by manager: AgentManager) {
    core.withLock { $0.manager = manager }
    manager.resources.onChange { [weak self] rung in self?.follow(rung, manager.resources) }
  }

  /// Its manager; one without measurements where nobody has named any.
  package var manager: AgentManager {
    if let manager = core.withLock({ $0.manager }) { return manager }
    let logger = Logger(label: "swarmscale")
    let new = AgentManager(
      resources: ResourceManager(inputs: ResourceInputs(), logger: logger), parking: ParkingLot(codec: PayloadCodec()),
      logger: logger, verdict: Self.verdict)
    return core.withLock { core in
      core.manager = core.manager ?? new
      return core.manager ?? new
    }
  }

  /// Looks at memory, CPU and shortages, and serves what agents have in the engine, while `body` runs.
  nonisolated(nonsending) func tended<Result>(_ body: () async throws -> Result) async throws -> Result {
    guard let manager = core.withLock({ $0.manager }) else { return try await body() }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { do { try await manager.tend() } catch is CancellationError {} }
      defer { group.cancelAll() }
      return try await body()
    }
  }

  /// What its agents, memory and the ladder do, as text for Prometheus.
  package func metrics() async -> String { await manager.metrics(results: outboxes.results) }

  /// How many further tasks of a kind there is room for; at least one, for it is asked where there is room.
  func room(for kind: String, most: Int) -> Int {
    let (slots, busy, resources) = core.withLock { ($0.state.slots, $0.state.busy, $0.manager?.resources) }
    let free = slots == 0 ? most : min(most, slots - busy)
    guard let allowance = resources?.allowance(kind, slots: slots) else { return max(1, free) }
    return max(1, min(free, allowance - busy))
  }

  /// How much of the time for an order to drain has passed, in percent; 0: it doesn't drain.
  package var drainPercent: Int {
    let now = clock.now
    return core.withLock { $0.state.drainPercent(now: now) }
  }

  private func setAside(for slot: UInt64, kind: String) {
    guard let resources = core.withLock({ $0.manager?.resources }) else { return }
    let admission = resources.begin(kind)
    core.withLock { $0.admissions[slot] = admission }
  }

  /// Lets in as many as memory, CPU and the rung allow now.
  private func follow(_ rung: DegradationRung, _ resources: ResourceManager) {
    let now = clock.now
    let allowance = resources.allowance(slots: slots)
    let admitted = core.withLock { core in
      core.isFinishingSteps = rung >= .finishSteps
      return core.state.allow(allowance, now: now).compactMap { core.waiters.removeValue(forKey: $0) }
    }
    for waiter in admitted { waiter.resume(returning: .success(())) }
    notify()
  }

  /// Takes a slot, in the order of the calls; what runs there has its own admission.
  func enterSlot() async throws -> UInt64 { try await enter() }

  /// Gives a slot of `enterSlot` back.
  func leaveSlot(_ slot: UInt64) { leave(slot) }

  /// Work begins to wait without a slot: the pool isn't idle meanwhile.
  func beginAside() { core.withLock { $0.state.beginFetch() } }

  /// It has a slot again, or is over.
  func endAside() {
    core.withLock { $0.state.endFetch() }
    notify()
  }

  // MARK: The sidecar's and the link's side

  /// Fetches work that others do: all the while, and until the slots are given back, the pool isn't idle. `body` says how many
  /// slots what it fetched takes.
  ///
  /// - Returns: what `body` gave, and the numbers of the slots: each is given back by `giveBack`.
  package nonisolated(nonsending) func fetching<Result>(
    _ body: () async throws -> (Result, slots: Int)
  ) async throws -> (Result, slots: [UInt64]) {
    core.withLock { $0.state.beginFetch() }
    defer {
      core.withLock { $0.state.endFetch() }
      notify()
    }
    let (result, count) = try await body()
    let now = clock.now
    return (result, core.withLock { core in (0..<count).map { _ in core.state.take(now: now) } })
  }

  /// Whether a slot could be taken now.
  package var hasRoom: Bool { core.withLock { $0.state.hasRoom } }

  /// Whether work is being fetched.
  package var isFetching: Bool { core.withLock { $0.state.isFetching } }

  /// Gives back a slot of `fetching`.
  package func giveBack(_ number: UInt64) { leave(number) }

  /// Waits until a slot is free or the pool drains; says whether there is room.
  package func untilRoomOrDraining() async throws -> Bool {
    try await wait { $0.hasRoom || $0.isDraining }
    return !isDraining
  }

  /// Waits until the pool takes work again, or is closed for good.
  package func untilServing() async throws {
    try await wait { !$0.isDraining || $0.isClosing }
  }

  /// What the gateway of this worker does is work, too.
  package func follow(_ activity: @escaping @Sendable () -> ClaudeGateway.Activity) {
    traffic.withLock { $0 = activity }
  }

  /// Whether it works: a slot is taken, it says so, or a request of it is on its way.
  package var isBusy: Bool {
    let now = activity
    return core.withLock { $0.state.isBusy(now) }
  }

  /// Whether it takes no new work and has none left: nothing is lost when the process ends.
  package var isDrained: Bool {
    let (now, activity) = (clock.now, activity)
    return core.withLock { $0.state.isDrained(activity, now: now) }
  }

  /// The worker's own word; nil: it has said nothing.
  package var reportsBusy: Bool? { core.withLock { $0.state.reportsBusy } }

  private var activity: ClaudeGateway.Activity { traffic.withLock { $0 }() }

  /// The worker says that it is busy, or idle.
  package func say(isBusy: Bool) {
    let now = clock.now
    core.withLock { $0.state.say(isBusy: isBusy, now: now) }
    changed.signal()
  }

  /// What waits in a queue that this worker takes from; nil: it doesn't know any more.
  package func note(queue: String, waiting: Int?) {
    let now = clock.now
    core.withLock { $0.state.note(queue: queue, waiting: waiting, now: now) }
    changed.signal()
  }

  /// The worker ends: it takes no new work from now on.
  package func close() {
    core.withLock { $0.state.close() }
    notify()
  }

  /// The gateway's activity may have changed. Never waits.
  package func noteActivity() { changed.signal() }

  /// The order to drain that it keeps to; nil: none.
  package var standingDrain: StandingDrain? {
    let (now, activity) = (clock.now, activity)
    return core.withLock { $0.state.standingDrain(activity, now: now) }
  }

  /// Takes in an order of the coordinator. Never waits.
  package func receive(_ order: DrainOrder) {
    let (now, activity) = (clock.now, activity)
    core.withLock { $0.state.receive(order, activity, now: now) }
    notify()
  }

  /// Tells the coordinator what the pool does and what it says to orders, until the task is cancelled.
  ///
  /// - Throws: `CancellationError`.
  package func run(reportingTo link: CoordinatorLink) async throws {
    // What another link was told this one doesn't know.
    if let told = core.withLock({ $0.state.lastActivity }) { link.report(told) }
    while true {
      let (now, activity) = (clock.now, activity)
      let (report, wasDraining, isDraining) = core.withLock { core in
        let wasDraining = core.state.isDraining
        return (core.state.report(activity, now: now), wasDraining, core.state.isDraining)
      }
      for answer in report.answers { link.answer(DrainOrder(order: answer.order, timeout: .zero), answer.state) }
      if let activity = report.activity { link.report(activity) }
      // An order whose time is over lets others in again.
      if wasDraining != isDraining { notify() }
      try await changed.wait(until: report.next, now: clock.now) { [clock] in try await clock.sleep(until: $0) }
      try await clock.sleep(until: clock.now + Self.batch)
    }
  }
}

/// Whether some work of a loop has failed.
private final class Failure: Sendable {
  private let state = Mutex(false)
  var isNoted: Bool { state.withLock { $0 } }
  func note() { state.withLock { $0 = true } }
}
