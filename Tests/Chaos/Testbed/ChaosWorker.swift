import CoordinationEngine
import Foundation
import JetStreamEngine
import Synchronization
import TaskQueue

/// Agents that work off the queue `q`: each task is so many calls of MockClaude, with a checkpoint after each.
///
/// `servers`, `lease` (seconds), `name`, `agents`, `steps` (a task), `mock` (its port), `log` (a file). Ends on SIGTERM, when what is held is done.
struct ChaosWorker: Sendable {
  private let engine: JetStreamEngine
  private let stop: StopSignal
  private let log: EventLog
  private let mock: MockCalls
  private let name: String
  private let lease: Duration
  private let agents: Int
  private let steps: UInt64
  private let held = Held()

  private final class Held: Sendable {
    let tickets = Mutex<Set<TaskTicket>>([])
  }

  init(_ settings: Settings, _ engine: JetStreamEngine, _ stop: StopSignal) throws {
    self.engine = engine
    self.stop = stop
    log = try EventLog(settings.text("log"))
    mock = MockCalls(port: Int(try settings.number("mock")))
    name = try settings.text("name")
    lease = try settings.seconds("lease")
    agents = Int(try settings.number("agents"))
    steps = UInt64(try settings.number("steps"))
  }

  func run() async throws {
    let slots = Slots(agents)
    stop.whenSet { slots.end() }
    try log.add("start \(name)")
    await withTaskGroup(of: Void.self) { keeper in
      keeper.addTask { await keep() }
      await withDiscardingTaskGroup { group in
        while true {
          let free = await slots.free()
          if free == 0 { break }
          for task in await claim(free) {
            slots.take(1)
            _ = held.tickets.withLock { $0.insert(task.ticket) }
            group.addTask {
              await work(task)
              _ = held.tickets.withLock { $0.remove(task.ticket) }
              slots.give()
            }
          }
        }
      }
      keeper.cancelAll()
    }
    try? await engine.state.delete("member.\(name)")
    try log.add("end \(name)")
  }

  private func claim(_ free: Int) async -> [ClaimedTask] {
    do {
      let request = ClaimRequest(queue: "q", worker: name, maximum: min(free, 100), lease: lease)
      return try await engine.tasks.claim(request, wait: .seconds(10))
    } catch {
      // The engine was away for longer than its patience.
      try? log.add("away \(error)")
      await pause()
      return []
    }
  }

  /// Before the same is said again: the engine has no event for "is back".
  private func pause() async { try? await Task.sleep(for: .milliseconds(200)) }

  /// Renews all leases in one call, and this worker's own key, three times a lease.
  private func keep() async {
    while !Task.isCancelled {
      _ = try? await engine.state.put("member.\(name)", Array(name.utf8), ttl: lease * 2)
      let tickets = held.tickets.withLock { Array($0) }
      if !tickets.isEmpty { _ = try? await engine.tasks.renew(tickets, lease: lease) }
      do { try await Task.sleep(for: lease / 3) } catch { return }
    }
  }

  private func work(_ task: ClaimedTask) async {
    let number = String(decoding: task.payload, as: UTF8.self)
    let place = "\(number) \(task.ticket.epoch)"
    do {
      try log.add("claim \(place) \(task.attempt) \(name)")
      var step = task.checkpoint?.step ?? 0
      while step < steps {
        try log.add("call \(place) \(step)")
        try await mock.call(session: "\(number).\(step).\(task.ticket.epoch)", words: 10)
        let before = step == 0 ? nil : step
        step += 1
        let head = CheckpointHead(step: step, reference: Array("\(name) \(step)".utf8))
        try await untilSaid { try await engine.tasks.checkpoint(task.ticket, head, replacing: before) }
      }
      let result = Array("\(place) \(name)".utf8)
      let completion = try await untilSaid { try await engine.tasks.complete(task.ticket, result: result) }
      try log.add("\(completion) \(place)")
    } catch TaskQueueError.staleTicket {
      try? log.add("stale \(place)")
    } catch {
      try? log.add("failed \(place) \(error)")
      _ = try? await untilSaid {
        try await engine.tasks.fail(task.ticket, reason: "\(error)", isRetryable: true, delay: nil)
      }
    }
  }

  /// As an outbox does: until the engine has taken it, or has refused it.
  private func untilSaid<Answer>(_ body: () async throws -> Answer) async throws -> Answer {
    while true {
      do { return try await body() } catch TaskQueueError.unavailable { await pause() }
    }
  }
}
