import AgentMessages
import MessageFrames
import PayloadCompression
import Synchronization

/// Row 9: how many writes messages take; and what lanes do for the critical ones.
struct BatchingBenchmark {
  let rounds: Int

  func run(_ report: inout Report) async throws {
    try await writes(&report)
    try await delay(&report)
    perTask(&report)
    lanes(&report)
    LaneBenchmark().run(&report)
  }

  /// Counts what is sent.
  private final class CountingTransport: MessageTransport {
    let base = InProcessTransport()
    let sends = Atomic<Int>(0)
    var frameBytes: Int { base.frameBytes }
    func send(_ frame: [UInt8], to place: MessagePlace) async throws {
      sends.add(1, ordering: .relaxed)
      try await base.send(frame, to: place)
    }
    func listen(at place: MessagePlace) async throws -> FrameSubscription { try await base.listen(at: place) }
  }

  /// Runs two messengers while `body` runs.
  private func withPair<Result: Sendable>(
    _ configuration: MessengerConfiguration, transport: any MessageTransport,
    _ body: @escaping @Sendable (_ client: AgentMessenger, _ target: AgentAddress) async throws -> Result
  ) async throws -> Result {
    let codec = PayloadCodec()
    let server = AgentMessenger(node: "server", transport: transport, compressor: codec, configuration: configuration)
    let client = AgentMessenger(node: "client", transport: transport, compressor: codec, configuration: configuration)
    server.register("echo", .init(limit: 1_000, mailbox: 100_000) { $0.payload })
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      for messenger in [server, client] {
        group.addTask {
          try await messenger.run()
          return nil
        }
      }
      while !server.isRunning || !client.isRunning { await Task.yield() }
      group.addTask { try await body(client, AgentAddress(node: "server", agent: "echo")) }
      defer { group.cancelAll() }
      while let result = try await group.next() {
        if let result { return result }
      }
      throw MessagingError.stopped
    }
  }

  private static let payload = [UInt8](repeating: 7, count: 128)

  /// 9a: 100 tasks that each make calls; a call is two messages.
  private func writes(_ report: inout Report) async throws {
    let (agents, calls) = (100, 200)
    func count(_ configuration: MessengerConfiguration) async throws -> (sends: Int, seconds: Double) {
      let transport = CountingTransport()
      let clock = ContinuousClock()
      let time = try await withPair(configuration, transport: transport) { client, target in
        try await clock.measure {
          try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<agents {
              group.addTask {
                for _ in 0..<calls { _ = try await client.request(Self.payload, to: target) }
              }
            }
            try await group.waitForAll()
          }
        }
      }
      return (transport.sends.load(ordering: .relaxed), time / .seconds(1))
    }
    let single = try await count(MessengerConfiguration(frameMessages: 1))
    let batched = try await count(MessengerConfiguration())
    let messages = Double(2 * agents * calls)
    let saved = 100 - 100 * Double(batched.sends) / messages
    report.add(
      "9a", "writes for \(Int(messages)) messages (100 agents call)", baseline: "\(single.sends) writes, one a message",
      seed: "70–85 %", target: "≥ 95 %",
      measured:
        "\(batched.sends) writes: −\(saved.text()) %, \((messages / Double(batched.sends)).text()) messages a write",
      isMet: saved >= 95)
    report.note(
      "9a took \(single.seconds.text(2)) s with a write a message, \(batched.seconds.text(2)) s in batches: \((messages / 2 / batched.seconds / 1_000).text()) k calls/s over the transport in the process."
    )
  }

  /// What batching adds where there is nothing to batch.
  private func delay(_ report: inout Report) async throws {
    func times(_ configuration: MessengerConfiguration) async throws -> [Double] {
      try await withPair(configuration, transport: InProcessTransport()) { client, target in
        var times: [Double] = []
        let clock = ContinuousClock()
        for turn in 0..<3_000 {
          let time = try await clock.measure { _ = try await client.request(Self.payload, to: target) }
          if turn >= 500 { times.append(time / .microseconds(1)) }
        }
        return times
      }
    }
    var differences: [Double] = []
    var (single, batched): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
      single = try await times(MessengerConfiguration(frameMessages: 1))
      batched = try await times(MessengerConfiguration())
      differences.append(quantile(0.5, of: batched) - quantile(0.5, of: single))
    }
    let added = median(differences)
    report.add(
      "9a", "delay that batching adds at idle (one call at a time)",
      baseline: "p50 \(quantile(0.5, of: single).text()) µs, p99 \(quantile(0.99, of: single).text()) µs without",
      target: "≤ 0 (within 5 % of p50)",
      measured:
        "p50 \(added.text()) µs more; p50 \(quantile(0.5, of: batched).text()) µs, p99 \(quantile(0.99, of: batched).text()) µs with",
      isMet: added <= 0.05 * quantile(0.5, of: single))
  }

  /// 9b in virtual time: what a pod with 64 agents writes for tasks of 200 ms with ten messages of progress each.
  private func perTask(_ report: inout Report) {
    let (agents, seconds) = (64, 20)
    struct Due {
      var time: Duration
      var lane: MessageLane
    }
    var random = Seeded(state: 9)
    var due: [Due] = []
    var tasks = 0
    for _ in 0..<agents {
      var start = Duration.microseconds(random.below(200_000))
      while start < .seconds(seconds) {
        tasks += 1
        for step in 1...10 { due.append(Due(time: start + .milliseconds(20 * step - 1), lane: .bulk)) }
        // The result of a pod's tasks is gathered as progress is: every 50 ms.
        due.append(Due(time: start + .milliseconds(200), lane: .bulk))
        start += .milliseconds(200) + .microseconds(random.below(2_000))
      }
    }
    due.sort { $0.time < $1.time }
    var batcher = Batcher<Int>(.init(messages: 64, linger: .milliseconds(50)))
    var (wake, writing): (Duration?, Duration?) = (nil, nil)
    var held: [Double] = []
    var times: [Duration] = []
    func take(_ action: Batcher<Int>.Action, _ now: Duration) {
      wake = nil
      switch action {
      case .wait: break
      case .waitUntil(let time): wake = time
      case .write:
        let items = batcher.takeBatch()
        for item in items { held.append((now - times[item]) / .milliseconds(1)) }
        writing = now + .microseconds(300)
      }
    }
    func passTime(to time: Duration) {
      while let next = [wake, writing].compactMap({ $0 }).min(), next <= time {
        if next == writing {
          writing = nil
          take(batcher.written(now: next), next)
        } else {
          take(batcher.look(now: next), next)
        }
      }
    }
    for (index, message) in due.enumerated() {
      passTime(to: message.time)
      times.append(message.time)
      if case .taken(let action) = batcher.add(index, bytes: 200, lane: message.lane, now: message.time) {
        take(action, message.time)
      }
    }
    passTime(to: .seconds(seconds + 10))
    // Claims come by the pull, one for as many tasks as there are free slots: 8 on average here. Acknowledgements are single.
    let written = Double(batcher.writes) / Double(tasks)
    let total = written + 1 + 1.0 / 8
    let saved = 100 - 100 * total / 13
    report.add(
      "9b", "messages of the protocol for a task with 10 events (64 agents, virtual time)", baseline: "13 unbatched",
      seed: "70–85 %", target: "≥ 90 %",
      measured:
        "\(written.text(2)) for progress and results, measured, + 1 ack + 1/8 claim, by design = \(total.text(2)): −\(saved.text()) %; held \(quantile(0.5, of: held).text()) ms p50, \(quantile(0.999, of: held).text()) ms p99.9",
      isMet: saved >= 90)
  }

  /// Critical messages behind a link that is full, in virtual time.
  private func lanes(_ report: inout Report) {
    func waits(_ load: Double, isFlat: Bool) -> (critical: [Double], bulk: Double) {
      var random = Seeded(state: 12)
      var batcher = Batcher<(MessageLane, Duration)>(.init(messages: 16, bytes: 64 << 10, waitingMessages: 2_000))
      var (now, writing, next) = (Duration.zero, Duration?.none, Duration.zero)
      var critical: [Double] = []
      var (bulk, all) = (0, 0)
      func take(_ action: Batcher<(MessageLane, Duration)>.Action) {
        guard case .write = action else { return }
        let items = batcher.takeBatch()
        // A write takes 100 µs and 10 µs for each message.
        writing = now + .microseconds(100 + 10 * items.count)
        for (lane, time) in items {
          all += 1
          if lane == .critical { critical.append((now - time) / .microseconds(1)) }
          if lane == .bulk { bulk += 1 }
        }
      }
      // Full writes carry 16 messages in 260 µs.
      let gap = 260.0 / 16 / load
      while now < .seconds(20) {
        if let end = writing, end <= next {
          now = end
          writing = nil
          take(batcher.written(now: now))
          continue
        }
        now = next
        let draw = random.below(100)
        let lane: MessageLane = draw < 2 ? .critical : draw < 20 ? .high : draw < 60 ? .normal : .bulk
        if case .taken(let action) = batcher.add((lane, now), bytes: 1_000, lane: isFlat ? .normal : lane, now: now) {
          take(action)
        }
        next += .nanoseconds(Int(gap * 2_000 * Double(random.below(1_000)) / 1_000))
      }
      return (critical, 100 * Double(bulk) / Double(all))
    }
    for load in [0.9, 1.1, 2.0] {
      let (first, lanes) = (waits(load, isFlat: true), waits(load, isFlat: false))
      let (before, after) = (quantile(0.99, of: first.critical), quantile(0.99, of: lanes.critical))
      report.add(
        "12m", "critical messages on a link at \(Int(load * 100)) % (virtual time)",
        baseline: "first come, first served: p99 \(before.text(0)) µs",
        measured:
          "p99 \(after.text(0)) µs: −\((100 - 100 * after / before).text()) %, one write; bulk gets \(lanes.bulk.text()) % of the link"
      )
    }
  }
}
