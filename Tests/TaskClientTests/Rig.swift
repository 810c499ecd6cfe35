import KubernetesCore
import KubernetesRuntime
import LocalEngine
import Logging
import RateBudget
import ServiceLifecycle
import SidecarServer
import SwarmCoordination
import Synchronization
import TaskQueue
import TaskQueueServer

/// A queue of tasks behind HTTP, and workers in front of it: the real server, real connections.
struct QueueRig: Sendable {
  let local: LocalEngine
  let url: String

  var engine: any TaskEngine { local.tasks }

  /// Runs a queue around `body`.
  static func with<Result: Sendable>(
    policy: TaskRetryPolicy = TaskRetryPolicy(), tasks limit: Int? = nil,
    _ body: @Sendable (QueueRig) async throws -> Result
  ) async throws -> Result {
    var limits = TaskQueueLimits()
    limits.tasks = limit ?? limits.tasks
    return try await serving(LocalEngine(limits: limits, policy: policy, time: SystemTimeSource()), body)
  }

  /// Serves an engine around `body`.
  static func serving<Result: Sendable>(
    _ engine: LocalEngine, port: Int = 0, _ body: @Sendable (QueueRig) async throws -> Result
  ) async throws -> Result {
    let listening = AsyncStream.makeStream(of: Int.self)
    let logger = Logger(label: "queue") { _ in SwiftLogNoOpLogHandler() }
    let server = TaskQueueServer(engine: engine, port: port, logger: logger) { listening.continuation.yield($0) }
    let group = ServiceGroup(
      services: [server], logger: Logger(label: "queue") { _ in SwiftLogNoOpLogHandler() })
    return try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      var ports = listening.stream.makeAsyncIterator()
      let rig = QueueRig(local: engine, url: "http://127.0.0.1:\(await ports.next() ?? 0)")
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(rig)) } catch { result = .failure(error) }
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
      return try result.get()
    }
  }

  /// Submits tasks with numbers as payloads.
  func submit(_ count: Int, queue: String = "q") async throws {
    _ = try await engine.submit((0..<count).map { NewTask(payload: Array("{\"n\":\($0)}".utf8)) }, to: queue)
  }

  func statistics(queue: String = "q") async throws -> TaskQueueStatistics {
    try await engine.statistics(of: queue)[queue] ?? TaskQueueStatistics()
  }

  /// Joins a swarm whose queue this is; `outbox`: where results are kept.
  func join<Result>(
    slots: Int = 2, outbox: String? = nil, _ body: (Swarm) async throws -> Result
  ) async throws -> Result {
    var environment = ["SWARMSCALE_TASKS": url, "ANTHROPIC_API_KEY": "none"]
    environment["SWARMSCALE_OUTBOX"] = outbox
    var configuration = try SwarmConfiguration(environment: environment)
    configuration.slots = slots
    configuration.logger = Logger(label: "worker") { _ in SwiftLogNoOpLogHandler() }
    return try await Swarm.join(configuration, body)
  }
}

/// Counts up, and lets others wait for a count.
final class Tally: Sendable {
  private let state = Mutex<(count: Int, waiters: [(Int, CheckedContinuation<Void, Never>)])>((0, []))

  var count: Int { state.withLock { $0.count } }

  func add() {
    let ready = state.withLock { state in
      state.count += 1
      let ready = state.waiters.filter { $0.0 <= state.count }
      state.waiters.removeAll { $0.0 <= state.count }
      return ready
    }
    for (_, waiter) in ready { waiter.resume() }
  }

  func reaches(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.count >= count { return true }
        state.waiters.append((count, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }
}

extension TaskRetryPolicy {
  /// The default policy, changed.
  static func with(_ change: (inout TaskRetryPolicy) -> Void) -> TaskRetryPolicy {
    var policy = TaskRetryPolicy()
    change(&policy)
    return policy
  }
}

/// A text that one task leaves for another.
final class Note: Sendable {
  private let state = Mutex("")

  var text: String {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
