import NATSClient
import NIOCore
import Synchronization
import TaskQueue

/// Claims that wait, and the orders that are open for them: one order of one message in each lane that a waiting claim has room for, shared by all claims of
/// this engine. What comes when nobody waits any more goes back at once.
final class LaneIntake: Sendable {
  private struct Waiter {
    var id: UInt64
    var room: LaneCounts
    var continuation: CheckedContinuation<JetStreamMessage?, Never>
  }

  private struct State {
    var waiters: [Waiter] = []
    var nextID: UInt64 = 0
    var ordered = LaneCounts(all: 0)
    /// When something last came, or an order was opened while none was.
    var quietSince: [TaskLane: NIODeadline] = [:]
    var consumers: [TaskLane: PullConsumer] = [:]
    var isEnded = false
  }

  /// Orders that expire leave nothing behind when a process dies; they are renewed as long as somebody waits.
  private static let expires = Duration.seconds(5)
  /// Open orders of a lane, at most.
  private static let maximumOrders = 64

  private let client: NATSClient
  private let inbox: String
  private let subscription: NATSSubscription
  private let state: Mutex<State>

  init(_ client: NATSClient, consumers: [TaskLane: PullConsumer]) throws {
    self.client = client
    inbox = client.makeInbox()
    subscription = try client.subscribe(
      "\(inbox).*", queue: nil, limits: SubscriptionLimits(messages: 16 * 1024), marksReconnects: true)
    state = Mutex(State(consumers: consumers))
  }

  /// A consumer was made anew: its orders are gone.
  func replace(_ lane: TaskLane, _ consumer: PullConsumer) {
    state.withLock { state in
      state.consumers[lane] = consumer
      state.ordered[lane] = 0
      state.quietSince[lane] = nil
    }
    order()
  }

  /// Waits for a token; nil when the moment came first, the task was cancelled, or waiting has ended.
  func wait(room: LaneCounts, until deadline: NIODeadline) async -> JetStreamMessage? {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let timer = client.eventLoop.scheduleTask(deadline: deadline) { self.give(nil, to: id) }
    defer { timer.cancel() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isRefused = state.withLock { state in
          if state.isEnded || Task.isCancelled || client.eventLoop.now >= deadline { return true }
          state.waiters.append(Waiter(id: id, room: room, continuation: continuation))
          return false
        }
        if isRefused { continuation.resume(returning: nil) } else { order() }
      }
    } onCancel: {
      give(nil, to: id)
    }
  }

  private func give(_ message: JetStreamMessage?, to id: UInt64) {
    let waiter = state.withLock { state in
      state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
    }
    waiter?.continuation.resume(returning: message)
  }

  /// No claim waits from now on.
  func endWaiting() {
    let waiters = state.withLock { state in
      state.isEnded = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume(returning: nil) }
  }

  /// Orders what is missing.
  private func order() {
    let orders = state.withLock { state in
      var orders: [(TaskLane, PullConsumer, Int)] = []
      for lane in TaskLane.allCases {
        let wanted = min(Self.maximumOrders, state.waiters.count { $0.room[lane] > 0 })
        let missing = wanted - state.ordered[lane]
        guard missing > 0, let consumer = state.consumers[lane] else { continue }
        if state.ordered[lane] == 0 { state.quietSince[lane] = client.eventLoop.now }
        state.ordered[lane] = wanted
        orders.append((lane, consumer, missing))
      }
      return orders
    }
    for (lane, consumer, count) in orders {
      do {
        try consumer.order(count, expires: Self.expires, reply: "\(inbox).\(lane.name)")
      } catch {
        // Not connected, and the buffer is full: the next connection's mark orders anew.
        state.withLock { $0.ordered[lane] = 0 }
      }
    }
  }

  /// Hands out what comes until the client or `stop` ends it.
  func run() async {
    while let batch = try? await subscription.nextBatch(), !batch.isEmpty {
      var isUnavailable = false
      for message in batch {
        if let status = message.status {
          isUnavailable = note(status, message) || isUnavailable
        } else if let token = JetStreamMessage(message, client: client) {
          hand(token)
        }
      }
      // No leader, no consumer: the order would fail again at once.
      if isUnavailable { try? await client.pause(.milliseconds(100)) }
      order()
    }
    endWaiting()
  }

  func stop() {
    endWaiting()
    subscription.unsubscribe()
  }

  private func hand(_ token: JetStreamMessage) {
    let waiter = state.withLock { state -> Waiter? in
      guard let lane = TaskLane(name: token.metadata.consumer) else { return nil }
      state.ordered[lane] = max(0, state.ordered[lane] - 1)
      state.quietSince[lane] = client.eventLoop.now
      return state.waiters.firstIndex { $0.room[lane] > 0 }.map { state.waiters.remove(at: $0) }
    }
    if let waiter { waiter.continuation.resume(returning: token) } else { try? token.nak() }
  }

  /// Returns whether it is no use to order again at once.
  private func note(_ status: NATSStatus, _ message: NATSMessage) -> Bool {
    state.withLock { state in
      if status.code == NATSStatus.reconnected {
        state.ordered = LaneCounts(all: 0)
        return false
      }
      guard let lane = message.subject.split(separator: ".").last.flatMap({ TaskLane(name: String($0)) }) else {
        return false
      }
      if status.code == NATSStatus.idle { return false }
      let unfilled = message.headers["Nats-Pending-Messages"].flatMap { Int($0) }
      state.ordered[lane] = max(0, state.ordered[lane] - (unfilled ?? state.ordered[lane]))
      return status.code != NATSStatus.requestTimeout && status.code != NATSStatus.noMessages
    }
  }

  /// The lanes for which orders are open and from which nothing has come since a moment.
  func quiet(since moment: NIODeadline) -> [TaskLane] {
    state.withLock { state in
      TaskLane.allCases.filter { lane in
        state.ordered[lane] > 0 && !state.waiters.isEmpty && state.quietSince[lane].map { $0 <= moment } ?? false
      }
    }
  }
}
