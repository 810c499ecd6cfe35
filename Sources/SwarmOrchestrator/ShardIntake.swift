import Synchronization
import TaskQueue

/// Claims that wait at several shards at once: one listener at each shard for all claims of this pod.
///
/// A listener isn't cancelled when another shard was faster, since a claim that is cancelled on its way may leave a task leased to nobody; what it
/// gets when nobody waits any more it hands back.
final class ShardIntake: Sendable {
  /// How long a listener waits before it looks whether it is still needed.
  private static let listening = Duration.seconds(5)

  /// A claim that waits.
  private final class Waiter: Sendable {
    let room: LaneCounts?
    private let state = Mutex<(task: ClaimedTask?, isOver: Bool)>((nil, false))
    private let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    init(room: LaneCounts?) { self.room = room }

    /// Hands a task over; false when it is too late, or not wanted.
    func give(_ task: ClaimedTask) -> Bool {
      guard room.map({ $0[task.lane] > 0 }) ?? true else { return false }
      let isTaken = state.withLock { state in
        guard !state.isOver, state.task == nil else { return false }
        state = (task, true)
        return true
      }
      if isTaken { wake.finish() }
      return isTaken
    }

    func end() { wake.finish() }

    /// Whether it still wants something: what it has got it may not have looked at yet.
    var isOpen: Bool { state.withLock { !$0.isOver } }

    /// What it has got by a time; nothing comes after that.
    func value(_ clock: any FleetClock, until deadline: Duration) async -> ClaimedTask? {
      await withTaskGroup(of: Void.self) { group in
        group.addTask { for await _ in self.wakes {} }
        group.addTask { try? await clock.sleep(until: deadline) }
        await group.next()
        group.cancelAll()
      }
      return state.withLock { state in
        state.isOver = true
        return state.task
      }
    }
  }

  private struct Listener: Sendable {
    var shard: String
    var queue: String
    var request: ClaimRequest
    var engine: any TaskEngine
  }

  private struct State {
    var isRunning = false
    var isEnding = false
    var waiters: [String: [Waiter]] = [:]
    var listening: Set<String> = []
  }

  private let state = Mutex(State())
  // One a shard, and none twice.
  private let (starts, start) = AsyncStream.makeStream(of: Listener.self, bufferingPolicy: .bufferingOldest(4_096))

  /// Whether listeners run.
  var isRunning: Bool { state.withLock { $0.isRunning } }

  func run() async {
    state.withLock { $0.isRunning = true }
    await withDiscardingTaskGroup { group in
      for await listener in starts { group.addTask { await self.listen(listener) } }
      group.cancelAll()
    }
    state.withLock { $0.isRunning = false }
  }

  func end() {
    start.finish()
    for waiter in state.withLock({ state in
      state.isEnding = true
      return state.waiters.values.flatMap { $0 }
    }) { waiter.end() }
  }

  /// Waits for a task at one of the shards; nil when none came in time.
  func wait(
    _ request: ClaimRequest, at shards: [String], _ engine: any TaskEngine, _ clock: any FleetClock,
    until deadline: Duration
  ) async throws -> ClaimedTask? {
    let waiter = Waiter(room: request.room)
    let missing = state.withLock { state -> [String] in
      state.waiters[request.queue, default: []].append(waiter)
      guard state.isRunning, !state.isEnding else { return [] }
      return shards.filter { state.listening.insert($0).inserted }
    }
    for shard in missing {
      start.yield(Listener(shard: shard, queue: request.queue, request: request, engine: engine))
    }
    let task = await waiter.value(clock, until: deadline)
    state.withLock { $0.waiters[request.queue]?.removeAll { $0 === waiter } }
    if task == nil { try Task.checkCancellation() }
    return task
  }

  private func listen(_ listener: Listener) async {
    var request = listener.request
    request.queue = listener.shard
    request.maximum = 1
    while !Task.isCancelled {
      let room = state.withLock { state -> LaneCounts?? in
        guard let waiter = state.waiters[listener.queue]?.first(where: \.isOpen), !state.isEnding else {
          state.listening.remove(listener.shard)
          return .none
        }
        return .some(waiter.room)
      }
      guard let room else { return }
      request.room = room
      guard let tasks = try? await listener.engine.claim(request, wait: Self.listening) else { break }
      for task in tasks { await handOver(task, listener) }
    }
    // Whoever waits next begins anew.
    _ = state.withLock { $0.listening.remove(listener.shard) }
  }

  private func handOver(_ task: ClaimedTask, _ listener: Listener) async {
    let waiters = state.withLock { $0.waiters[listener.queue] ?? [] }
    if waiters.contains(where: { $0.give(task) }) { return }
    // Nobody wants it any more: others may. A lease that isn't given back ends by itself.
    _ = try? await listener.engine.release(task.ticket)
  }
}
