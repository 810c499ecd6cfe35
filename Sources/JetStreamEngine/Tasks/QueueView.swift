import NATSClient
import NIOCore
import Synchronization
import TaskQueue

/// What the records of a queue say, followed as they change: for counts and lists. Only engines that are asked for such have one; claims don't need it.
final class QueueView: Sendable {
  private struct State {
    var records: [UInt64: StoredRecord] = [:]
    var sequence: UInt64 = 0
    var waiters: [(sequence: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
    var isEnded = false
  }

  private let link: EngineLink
  private let queue: String
  private let state = Mutex(State())

  init(_ link: EngineLink, queue: String) {
    self.link = link
    self.queue = queue
  }

  /// Follows the records until the client ends or the stream is gone.
  func run() async {
    let subjects = link.layout.recordSubject(queue, 0).dropLast(1)
    let consumer = OrderedConsumer(
      link.jetStream, stream: link.layout.recordStream(queue),
      filters: ["\(subjects)>", link.layout.barrierSubject(queue)], deliver: .lastPerSubject, headersOnly: true,
      batch: 1024)
    while !link.isClosed {
      do {
        let batch = try await consumer.nextBatch(max: 1024)
        if batch.isEmpty { break }
        take(batch)
      } catch  where EngineLink.isAbsence(error) {
        do { try await link.client.pause(.milliseconds(100)) } catch { break }
      } catch {
        break
      }
    }
    let waiters = state.withLock { state in
      state.isEnded = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume() }
    await consumer.stop()
  }

  private func take(_ batch: [JetStreamMessage]) {
    let ready = state.withLock { state in
      for message in batch {
        state.sequence = message.metadata.streamSequence
        guard let number = message.subject.split(separator: ".").last.flatMap({ UInt64($0) }) else { continue }
        // A marker of an expired record has none.
        state.records[number] = StoredRecord(message.headers)
      }
      let ready = state.waiters.filter { $0.sequence <= state.sequence }
      state.waiters.removeAll { $0.sequence <= state.sequence }
      return ready
    }
    for waiter in ready { waiter.continuation.resume() }
  }

  /// Waits until everything that was stored before this call is seen.
  func sync() async throws {
    let layout = link.layout
    let sequence = try await link.patiently {
      try await link.jetStream.publish(layout.barrierSubject(queue)).sequence
    }
    let client = link.client
    let timer = client.eventLoop.scheduleTask(in: .nanoseconds(link.configuration.patience.nanoseconds)) {
      self.give(sequence)
    }
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.sequence >= sequence || state.isEnded { return true }
        state.waiters.append((sequence, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
    timer.cancel()
    guard state.withLock({ $0.sequence >= sequence }) else {
      throw EngineLink.Away(text: "the records of the queue \(queue) can't be followed at the moment; ask again")
    }
  }

  private func give(_ sequence: UInt64) {
    let late = state.withLock { state in
      let late = state.waiters.filter { $0.sequence == sequence }
      state.waiters.removeAll { $0.sequence == sequence }
      return late
    }
    for waiter in late { waiter.continuation.resume() }
  }

  var isEnded: Bool { state.withLock { $0.isEnded } }

  /// Numbers of tasks in a state, in their order.
  func numbers(_ query: TaskListQuery, now: Duration) -> [UInt64] {
    state.withLock { state in
      state.records.filter { number, record in
        number > query.after && record.state != .discarded
          && (query.state == nil || record.name(at: now) == query.state)
      }.keys.sorted()
    }
  }

  func statistics(now: Duration) -> TaskQueueStatistics {
    state.withLock { state in
      var counts = TaskQueueStatistics()
      var oldest: Duration?
      for record in state.records.values {
        counts.submitted += 1
        counts.claims += Int(record.epoch)
        counts.failures += record.failures
        counts.expired += record.expired + (record.isExpired(now) ? 1 : 0)
        counts.released += record.released
        if record.state != .done, record.state != .discarded { counts.payloadBytes += record.payloadBytes }
        switch record.state {
        case .done: counts.done += 1
        case .dead: counts.dead += 1
        case .discarded: counts.discarded += 1
        case .ready, .delayed, .leased:
          let name = record.name(at: now)
          if name == .leased {
            counts.leased += 1
          } else {
            counts.pending += 1
            if name == .delayed { counts.delayed += 1 } else { counts.ready[record.lane.rawValue] += 1 }
            oldest = min(oldest ?? record.submitted, record.submitted)
          }
        }
      }
      if let oldest { counts.oldestPending = max(.zero, now - oldest) }
      return counts
    }
  }
}
