import CoordinationProtocol
import GRPCCore
import GRPCNIOTransportHTTP2
import RateBudget
import Synchronization

/// What a load has measured.
struct LoadResult: Sendable {
  /// From sending to grant, in nanoseconds, sorted.
  var latencies: [Int64]
  /// How long the load ran, in seconds.
  var seconds: Double
  /// CPU seconds of the process meanwhile.
  var cpu: Double

  /// The result in a line.
  func line(_ name: String) -> String {
    guard !latencies.isEmpty else { return "\(name): no grants" }
    func milliseconds(_ part: Double) -> String {
      let place = min(latencies.count - 1, Int(Double(latencies.count) * part))
      let hundredths = latencies[place] / 10_000
      return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
    let perSecond = Int(Double(latencies.count) / seconds)
    let microseconds = Int(cpu * 1_000_000 / Double(latencies.count))
    return "\(name): \(perSecond) grants/s, p50 \(milliseconds(0.5)) ms, p99 \(milliseconds(0.99)) ms, "
      + "p99.9 \(milliseconds(0.999)) ms, \(microseconds) µs of CPU a grant (both sides)"
  }
}

/// Many workers, each by a connection of its own.
struct Load: Sendable {
  /// How a worker asks.
  enum Mode: Sendable {
    /// It keeps so many requests open.
    case open(Int)
    /// All workers together send so many a second, evenly.
    case paced(Int)
  }

  var port: Int
  var streams: Int
  var seconds: Int
  var mode: Mode

  /// One stream's books.
  private final class Books: Sendable {
    struct State {
      var sent: [UInt64: BudgetTime] = [:]
      var granted: [UInt64] = []
      var latencies: [Int64] = []
      var number: UInt64 = 0
    }
    let state = Mutex(State())
    let ready = Wakeup()
  }

  /// Counts the streams that are welcome, and lets all begin together.
  private final class Start: Sendable {
    private let count = Mutex(0)
    let all = Wakeup()
    private let streams: Int
    let begun = Mutex<BudgetTime?>(nil)

    init(streams: Int) { self.streams = streams }

    func arrive() {
      let isLast = count.withLock { count in
        count += 1
        return count == streams
      }
      if isLast { all.signal() }
    }
  }

  /// Runs the load.
  func run() async throws -> LoadResult {
    let clock = SystemBudgetClock()
    let books = (0..<streams).map { _ in Books() }
    let start = Start(streams: streams)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      for index in books.indices {
        group.addTask {
          do {
            try await self.serve(index, books[index], start, clock)
          } catch is CancellationError {
          } catch  where Task.isCancelled {}
        }
      }
      try await start.all.wait()
      let begin = clock.now
      let cpu = cpuSeconds()
      start.begun.withLock { $0 = begin }
      for book in books { book.ready.signal() }
      try await clock.sleep(until: begin + .seconds(seconds))
      let end = clock.now
      let used = cpuSeconds() - cpu
      let latencies = books.flatMap { $0.state.withLock { $0.latencies } }.sorted()
      group.cancelAll()
      while let result = await group.nextResult() { _ = result }
      return LoadResult(
        latencies: latencies, seconds: Double((end - begin).wholeNanoseconds) / 1e9, cpu: used)
    }
  }

  private func serve(_ index: Int, _ books: Books, _ start: Start, _ clock: SystemBudgetClock) async throws {
    let identity = worker(index)
    try await withGRPCClient(
      transport: try HTTP2ClientTransport.Posix(
        target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext)
    ) { client in
      try await WireCoordination.Client(wrapping: client).join { writer in
        try await self.ask(identity, index, books, start, clock, writer)
      } onResponse: { response in
        for try await message in response.messages {
          let now = clock.now
          if case .welcome = message.body { start.arrive() }
          guard case .frame(let frame) = message.body, !frame.grants.isEmpty else { continue }
          books.state.withLock { state in
            for grant in frame.grants {
              guard let sent = state.sent.removeValue(forKey: grant.number) else { continue }
              state.latencies.append((now - sent).wholeNanoseconds)
              state.granted.append(grant.number)
            }
          }
          books.ready.signal()
        }
      }
    }
  }

  private func ask(
    _ identity: WorkerIdentity, _ index: Int, _ books: Books, _ start: Start, _ clock: SystemBudgetClock,
    _ writer: RPCWriter<WireWorkerMessage>
  ) async throws {
    var numbers = GroupNumbers()
    var message = WireWorkerMessage()
    message.hello = WorkerHello(identity: identity).wire(numbers: &numbers, now: clock.now)
    try await writer.write(message)
    try await books.ready.wait()
    var due = clock.now
    if case .paced(let rate) = mode {
      // Spread over the first interval.
      due = due + .nanoseconds(1_000_000_000 * Int64(index) / Int64(rate))
    }
    while true {
      switch mode {
      case .open: break
      case .paced(let rate):
        try await clock.sleep(until: due)
        due = due + .nanoseconds(1_000_000_000 * Int64(streams) / Int64(rate))
      }
      let frame = next(identity, books, clock.now)
      if !frame.isEmpty {
        message.frame = frame.wire(numbers: &numbers, now: clock.now)
        try await writer.write(message)
      }
      if case .open = mode { try await books.ready.wait() }
    }
  }

  /// The next requests, and settlements of what was granted.
  private func next(_ identity: WorkerIdentity, _ books: Books, _ now: BudgetTime) -> WorkerFrame {
    books.state.withLock { state in
      var frame = WorkerFrame()
      frame.settlements = state.granted.map {
        SettlementNote(group: group, number: $0, kind: .final, usage: Usage(input: 900, output: 300))
      }
      state.granted = []
      let wanted = if case .open(let count) = mode { count - state.sent.count } else { 1 }
      for _ in 0..<max(wanted, 0) {
        state.number += 1
        state.sent[state.number] = now
        frame.requests.append(RequestNote(group: group, request: request(state.number, of: identity, now: now)))
      }
      return frame
    }
  }
}
