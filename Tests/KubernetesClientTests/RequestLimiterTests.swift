import KubernetesClient
import KubernetesCore
import Synchronization
import Testing

@Suite("RequestLimiterStateMachine")
struct RequestLimiterTests {
  private typealias Machine = RequestLimiterStateMachine<String>
  private let start = MonotonicTime(sinceOrigin: .seconds(1000))

  private func machine(inFlight: Int, waitingEvents: Int = 4) -> Machine {
    Machine(limits: .init(inFlight: inFlight, waitingEvents: waitingEvents))
  }

  @Test(
    "A class starts requests only up to its ceiling, so that a slot is left for those above",
    arguments: [(APIRequest.Priority.write, 32), (.read, 28), (.status, 20), (.event, 12)])
  func ceilings(priority: APIRequest.Priority, ceiling: Int) {
    var limiter = Machine(limits: .init(inFlight: 32))
    for id in 0..<40 {
      let decision = limiter.acquire(UInt64(id), priority, "w\(id)", now: start)
      #expect(decision == (id < ceiling ? .granted : .wait))
    }
    #expect(limiter.inFlight == ceiling)
  }

  @Test("Even one slot lets every class through", arguments: APIRequest.Priority.allCases)
  func oneSlot(priority: APIRequest.Priority) {
    var limiter = machine(inFlight: 1)
    #expect(limiter.acquire(1, priority, "a", now: start) == .granted)
    #expect(limiter.acquire(2, priority, "b", now: start) == .wait)
    #expect(limiter.release() == ["b"])
  }

  @Test("A free slot goes to the most urgent class, and within it to the one that came first")
  func order() {
    var limiter = machine(inFlight: 1)
    #expect(limiter.acquire(1, .read, "running", now: start) == .granted)
    for (id, priority, name) in [
      (2, APIRequest.Priority.event, "event"), (3, .status, "status"), (4, .read, "read 1"), (5, .read, "read 2"),
      (6, .write, "write"),
    ] {
      #expect(limiter.acquire(UInt64(id), priority, name, now: start) == .wait)
    }
    #expect((0..<5).flatMap { _ in limiter.release() } == ["write", "read 1", "read 2", "status", "event"])
    #expect(limiter.release() == [])
    #expect(limiter.inFlight == 0)
  }

  @Test("A cancelled waiter leaves the queue and is never granted")
  func cancellation() {
    var limiter = machine(inFlight: 1)
    _ = limiter.acquire(1, .read, "running", now: start)
    _ = limiter.acquire(2, .read, "cancelled", now: start)
    _ = limiter.acquire(3, .read, "next", now: start)
    let (own, granted) = limiter.cancel(2, .read)
    #expect(own == "cancelled")
    #expect(granted == [])
    #expect(limiter.release() == ["next"])
  }

  @Test("Events over their bound are refused; a granted or cancelled one makes room")
  func eventBound() {
    var limiter = machine(inFlight: 1, waitingEvents: 2)
    _ = limiter.acquire(1, .write, "running", now: start)
    #expect(limiter.acquire(2, .event, "a", now: start) == .wait)
    #expect(limiter.acquire(3, .event, "b", now: start) == .wait)
    #expect(limiter.acquire(4, .event, "c", now: start) == .refused)
    #expect(limiter.release() == ["a"])
    #expect(limiter.acquire(5, .event, "d", now: start) == .wait)
    #expect(limiter.acquire(6, .event, "e", now: start) == .refused)
    _ = limiter.cancel(5, .event)
    #expect(limiter.acquire(7, .event, "f", now: start) == .wait)
  }

  @Test("After a 429 status writes and events sleep, at most the longest hold; reads and writes go on")
  func hold() {
    var limiter = machine(inFlight: 16)
    #expect(limiter.hold(for: .seconds(600), now: start) == [])
    let until = start + .seconds(30)
    #expect(limiter.acquire(1, .event, "e", now: start) == .sleep(until: until))
    #expect(limiter.acquire(2, .status, "s", now: start + .seconds(29)) == .sleep(until: until))
    #expect(limiter.acquire(3, .read, "r", now: start) == .granted)
    #expect(limiter.acquire(4, .write, "w", now: start) == .granted)
    #expect(limiter.acquire(2, .status, "s", now: until) == .granted)
    #expect(limiter.acquire(1, .event, "e", now: until) == .granted)
  }

  @Test("A 429 sends those who wait in the held classes back to ask again; a shorter hold doesn't shorten a longer one")
  func holdWakesWaiters() {
    var limiter = machine(inFlight: 1)
    _ = limiter.acquire(1, .write, "running", now: start)
    _ = limiter.acquire(2, .event, "e", now: start)
    _ = limiter.acquire(3, .status, "s", now: start)
    _ = limiter.acquire(4, .read, "r", now: start)
    #expect(limiter.hold(for: .seconds(10), now: start) == ["s", "e"])
    #expect(limiter.hold(for: .seconds(1), now: start) == [])
    #expect(limiter.acquire(3, .status, "s", now: start) == .sleep(until: start + .seconds(10)))
    #expect(limiter.release() == ["r"])
  }

  @Test("The queue stays correct over many rounds of its storage")
  func manyRounds() {
    var limiter = machine(inFlight: 1)
    _ = limiter.acquire(0, .read, "0", now: start)
    for id in 1...300 { _ = limiter.acquire(UInt64(id), .read, "\(id)", now: start) }
    var order: [String] = []
    for id in 301...900 {
      order += limiter.release()
      _ = limiter.acquire(UInt64(id), .read, "\(id)", now: start)
    }
    for _ in 0..<300 { order += limiter.release() }
    #expect(order == (1...900).map(String.init))
  }
}

/// A transport that answers when the test says so.
private final class HeldTransport: APITransport {
  private struct State {
    var waiting: [(path: String, continuation: CheckedContinuation<APIResponse, Never>)] = []
    var arrivals: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  func send(_ request: APIRequest) async throws -> APIResponse {
    await withCheckedContinuation { continuation in
      let ready = state.withLock { state in
        state.waiting.append((request.path, continuation))
        let count = state.waiting.count
        defer { state.arrivals.removeAll { $0.count <= count } }
        return state.arrivals.filter { $0.count <= count }.map(\.continuation)
      }
      ready.forEach { $0.resume() }
    }
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    try await body(APIResponseHead(status: 200), APIByteStream { nil })
  }

  /// Waits until `count` requests wait for their answer.
  func arrived(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.waiting.count >= count { return true }
        state.arrivals.append((count, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }

  /// Answers the request that has waited longest; returns its path.
  func answer(status: Int, headers: [APIRequest.HeaderField] = []) -> String? {
    let first = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
    first?.continuation.resume(returning: APIResponse(head: APIResponseHead(status: status, headers: headers)))
    return first?.path
  }
}

@Suite("PrioritizingTransport")
struct PrioritizingTransportTests {
  @Test("At most so many requests reach the transport; a waiting one whose task is cancelled never does")
  func limitAndCancellation() async throws {
    let base = HeldTransport()
    let limited = PrioritizingTransport(base, inFlight: 1, timeSource: ShiftableTimeSource())
    try await withThrowingTaskGroup(of: Int.self) { (group) async throws in
      group.addTask { try await limited.send(APIRequest(path: "/first")).head.status }
      await base.arrived(1)
      let cancelled = Task { try await limited.send(APIRequest(path: "/cancelled")) }
      cancelled.cancel()
      await #expect(throws: CancellationError.self) { try await cancelled.value }
      group.addTask { try await limited.send(APIRequest(path: "/second")).head.status }
      #expect(base.answer(status: 200) == "/first")
      await base.arrived(1)
      #expect(base.answer(status: 201) == "/second")
      #expect(try await group.reduce(0, +) == 401)
    }
    #expect(limited.load.inFlight == 0)
  }

  @Test("A 429 makes the next event wait for Retry-After")
  func holdAfter429() async throws {
    let base = HeldTransport()
    let time = GatedTimeSource()
    let limited = PrioritizingTransport(base, timeSource: time)
    try await withThrowingTaskGroup(of: Int.self) { (group) async throws in
      group.addTask { try await limited.send(APIRequest(path: "/read")).head.status }
      await base.arrived(1)
      _ = base.answer(status: 429, headers: [.init("Retry-After", "7")])
      #expect(try await group.next() == 429)
      group.addTask { try await limited.send(APIRequest(path: "/event", priority: .event)).head.status }
      #expect(await time.nextSleep() == MonotonicTime(sinceOrigin: .seconds(7)))
      time.advanceAndWake(to: MonotonicTime(sinceOrigin: .seconds(7)))
      await base.arrived(1)
      #expect(base.answer(status: 201) == "/event")
      #expect(try await group.next() == 201)
    }
  }

  @Test("Streams pass while every slot is taken")
  func streamsPass() async throws {
    let base = HeldTransport()
    let limited = PrioritizingTransport(base, inFlight: 1, timeSource: ShiftableTimeSource())
    try await withThrowingTaskGroup(of: Void.self) { (group) async throws in
      group.addTask { _ = try await limited.send(APIRequest(path: "/first")) }
      await base.arrived(1)
      #expect(try await limited.withStream(APIRequest(path: "/watch")) { head, _ in head.status } == 200)
      _ = base.answer(status: 200)
      try await group.waitForAll()
    }
  }
}

/// Time that stands still; tells when somebody sleeps, and wakes them when the test says so.
private final class GatedTimeSource: TimeSource {
  private struct State {
    var now = MonotonicTime(sinceOrigin: .zero)
    var sleeper: CheckedContinuation<Void, Never>?
    var deadline: MonotonicTime?
    var watcher: CheckedContinuation<MonotonicTime, Never>?
  }

  private let state = Mutex(State())

  var wallNow: Timestamp { Timestamp(secondsSinceEpoch: 0) }
  var monotonicNow: MonotonicTime { state.withLock { $0.now } }

  func sleep(until deadline: MonotonicTime) async throws {
    await withCheckedContinuation { continuation in
      let watcher = state.withLock { state in
        state.sleeper = continuation
        state.deadline = deadline
        defer { state.watcher = nil }
        return state.watcher
      }
      watcher?.resume(returning: deadline)
    }
  }

  func nextSleep() async -> MonotonicTime {
    await withCheckedContinuation { continuation in
      let deadline = state.withLock { state in
        if state.deadline == nil { state.watcher = continuation }
        return state.deadline
      }
      if let deadline { continuation.resume(returning: deadline) }
    }
  }

  func advanceAndWake(to now: MonotonicTime) {
    let sleeper = state.withLock { state in
      state.now = now
      defer { state.sleeper = nil }
      return state.sleeper
    }
    sleeper?.resume()
  }
}
