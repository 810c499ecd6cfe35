import MessageFrames
import PayloadCompression
import Testing

@testable import AgentMessages

@Suite struct AgentMessengerTests {
  private let transport = InProcessTransport()
  private let target = AgentAddress(node: "server", agent: "echo")

  private func messenger(
    _ node: String, _ configuration: MessengerConfiguration = MessengerConfiguration(),
    clock: any MessengerClock = SystemMessengerClock(), transport: (any MessageTransport)? = nil
  ) -> AgentMessenger {
    AgentMessenger(
      node: node, transport: transport ?? self.transport, compressor: PayloadCodec(), configuration: configuration,
      clock: clock)
  }

  private static let echo = AgentMessenger.Service(limit: 64, mailbox: 10_000) { call in call.payload }

  @Test("Many clients that ask one agent at the same moment each get their own answers")
  func requests() async throws {
    let server = messenger("server")
    let clients = (0..<4).map { messenger("client-\($0)") }
    server.register("echo", Self.echo)
    try await running([server] + clients) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<400 {
          let client = clients[number % 4]
          group.addTask {
            let question = Array("\(client.node)/\(number)/".utf8) + [UInt8](repeating: 1, count: number * 7)
            let answer = try await client.request(
              question, to: target, lane: MessageLane.allCases[number % 4], timeout: .seconds(60))
            #expect(answer == question)
          }
        }
        try await group.waitForAll()
      }
      for messenger in clients + [server] {
        #expect(messenger.statistics.strayAnswers == 0 && messenger.statistics.malformed == 0)
        #expect(messenger.openCounts.calls == 0)
      }
      let sent = clients.reduce(0) { $0 + $1.statistics.sentMessages }
      #expect(sent == 400 && clients.allSatisfy { $0.statistics.writes <= $0.statistics.sentMessages })
    }
  }

  @Test("What keeps an agent from answering is told: no such agent or process, its own error, its own words")
  func failures() async throws {
    let (server, client) = (messenger("server"), messenger("client"))
    struct Broken: Error, CustomStringConvertible { let description = "the repository is gone" }
    server.register("broken", .init { _ in throw Broken() })
    try await running([server, client]) {
      await #expect(throws: MessagingError.unknownAgent("nobody")) {
        try await client.request([], to: AgentAddress(node: "server", agent: "nobody"))
      }
      await #expect(throws: MessagingError.failed("the repository is gone")) {
        try await client.request([], to: AgentAddress(node: "server", agent: "broken"))
      }
      let failure = await #expect(throws: MessagingError.self) {
        try await client.request([], to: AgentAddress(node: "elsewhere", agent: "x"))
      }
      guard case .unreachable = failure else { return #expect(Bool(false), "\(String(describing: failure))") }
      await #expect(throws: MessagingError.self) {
        try await client.request([UInt8](repeating: 0, count: 2 << 20), to: target)
      }
      await #expect(throws: MessagingError.self) {
        try await client.request([], to: AgentAddress(node: "", agent: "x"))
      }
    }
    await #expect(throws: MessagingError.stopped) { try await client.request([], to: target) }
  }

  @Test("An answer that doesn't come in time is an error, and the other agent is stopped")
  func timeout() async throws {
    let clock = ManualClock()
    let (server, client) = (messenger("server", clock: clock), messenger("client", clock: clock))
    let (stopped, started) = (Box(false), Box(false))
    let never = WakeSignal()
    server.register(
      "slow",
      .init { _ in
        started.withLock { $0 = true }
        await never.wait()
        stopped.withLock { $0 = Task.isCancelled }
        try Task.checkCancellation()
        return []
      })
    try await running([server, client]) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          await #expect(throws: MessagingError.timedOut(after: .seconds(5))) {
            try await client.request([], to: AgentAddress(node: "server", agent: "slow"), timeout: .seconds(5))
          }
        }
        while !started.withLock({ $0 }) || clock.nextWake != .seconds(5), !Task.isCancelled { await Task.yield() }
        clock.advance(to: .seconds(5))
        try await group.waitForAll()
      }
      while !stopped.withLock({ $0 }) || server.load(of: "slow").running > 0, !Task.isCancelled { await Task.yield() }
      #expect(client.statistics.timeouts == 1 && server.openCounts.serving == 0)
    }
  }

  @Test("A caller that is cancelled stops the other agent's work")
  func cancellation() async throws {
    let (server, client) = (messenger("server"), messenger("client"))
    let (started, stopped, never) = (WakeSignal(), WakeSignal(), WakeSignal())
    server.register(
      "slow",
      .init { _ in
        started.set()
        await never.wait()
        if Task.isCancelled { stopped.set() }
        return []
      })
    try await running([server, client]) {
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          await #expect(throws: CancellationError.self) {
            try await client.request([], to: AgentAddress(node: "server", agent: "slow"))
          }
        }
        await started.wait()
        group.cancelAll()
      }
      await stopped.wait()
      #expect(client.openCounts.calls == 0)
    }
  }

  @Test("An agent with as many calls waiting as it takes refuses more at once, and takes the critical one next")
  func overload() async throws {
    let (server, client) = (messenger("server"), messenger("client"))
    let (gate, order) = (WakeSignal(), Box<[UInt8]>([]))
    server.register(
      "one",
      .init(limit: 1, mailbox: 2) { call in
        if call.payload == [0] { await gate.wait() }
        order.withLock { $0 += call.payload }
        return call.payload
      })
    let one = AgentAddress(node: "server", agent: "one")
    try await running([server, client]) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await client.request([0], to: one) }
        while server.load(of: "one").running == 0, !Task.isCancelled { await Task.yield() }
        group.addTask { _ = try await client.request([1], to: one, lane: .bulk) }
        while server.load(of: "one").waiting < 1, !Task.isCancelled { await Task.yield() }
        group.addTask { _ = try await client.request([2], to: one, lane: .critical) }
        while server.load(of: "one").waiting < 2, !Task.isCancelled { await Task.yield() }
        await #expect(throws: MessagingError.overloaded("one")) { try await client.request([3], to: one) }
        gate.set()
        try await group.waitForAll()
      }
      #expect(order.withLock { $0 } == [0, 2, 1] && server.statistics.refusedCalls == 1)
    }
  }

  private static let counting = AgentMessenger.Service { _ in
    []
  } stream: { call, writer in
    for number in 0..<Int(call.payload[0]) { try await writer.send([UInt8(number)]) }
  }

  @Test("A stream's parts come in order, to its end", arguments: [0, 1, 31, 32, 33, 200])
  func stream(count: Int) async throws {
    let (server, client) = (messenger("server"), messenger("client"))
    server.register("counting", Self.counting)
    try await running([server, client]) {
      let parts = try await client.withStream(
        [UInt8(count)], to: AgentAddress(node: "server", agent: "counting")
      ) { stream in
        var parts: [UInt8] = []
        while let part = try await stream.next() { parts += part }
        return parts
      }
      #expect(parts == (0..<count).map { UInt8($0) })
      #expect(client.openCounts.calls == 0)
    }
  }

  @Test("Who sends a stream waits for a slow reader, and stops when the reader does")
  func streamBackPressure() async throws {
    let (server, client) = (messenger("server", .init(streamWindow: 4)), messenger("client", .init(streamWindow: 4)))
    let sent = Box(0)
    let ended = WakeSignal()
    server.register(
      "endless",
      .init { _ in
        []
      } stream: { _, writer in
        defer { ended.set() }
        while true {
          try await writer.send([1])
          sent.withLock { $0 += 1 }
        }
      })
    try await running([server, client]) {
      try await client.withStream([], to: AgentAddress(node: "server", agent: "endless")) { stream in
        for read in 1...20 {
          _ = try await stream.next()
          #expect(sent.withLock { $0 } <= read + 4, "more than the window is under way")
        }
      }
      await ended.wait()
      while server.load(of: "endless").running > 0, !Task.isCancelled { await Task.yield() }
      #expect(server.openCounts.serving == 0 && client.openCounts.calls == 0)
    }
  }

  /// Loses the frames that `isLost` says.
  private struct LossyTransport: MessageTransport {
    let base: InProcessTransport
    let isLost: @Sendable ([UInt8]) -> Bool
    var frameBytes: Int { base.frameBytes }
    func send(_ frame: [UInt8], to place: MessagePlace) async throws {
      if !isLost(frame) { try await base.send(frame, to: place) }
    }
    func listen(at place: MessagePlace) async throws -> FrameSubscription { try await base.listen(at: place) }
  }

  @Test("A lost part of a stream is an error, never a stream with a hole")
  func streamGap() async throws {
    let lost = Box(0)
    let lossy = LossyTransport(base: transport) { frame in
      guard let messages = try? FrameCodec(compressor: PayloadCodec()).decode(frame) else { return false }
      let isThird = messages.contains {
        if case .item(_, let sequence, _) = Envelope($0.payload)?.content { sequence == 2 } else { false }
      }
      if isThird { lost.withLock { $0 += 1 } }
      return isThird
    }
    let server = messenger("server", .init(frameMessages: 1, streamWindow: 4), transport: lossy)
    let client = messenger("client", .init(streamWindow: 4))
    server.register("counting", Self.counting)
    try await running([server, client]) {
      await #expect(throws: MessagingError.gap(expected: 2, actual: 3)) {
        try await client.withStream([50], to: AgentAddress(node: "server", agent: "counting")) { stream in
          while try await stream.next() != nil {}
        }
      }
      #expect(lost.withLock { $0 } == 1)
    }
  }

  @Test("Whoever listens to a topic gets what is published; who reads too slowly is told how much was missed")
  func topics() async throws {
    let (sender, reader) = (messenger("sender"), messenger("reader"))
    try await running([sender, reader]) {
      try await reader.withSubscription(to: "progress", buffer: 1_000) { first in
        try await reader.withSubscription(to: "progress", buffer: 4) { second in
          try await sender.publish([255], topic: "elsewhere")
          for number in 0..<100 {
            try await sender.publish([UInt8(number)], topic: "progress", kind: .result, lane: .high)
          }
          var seen: [UInt8] = []
          while seen.count < 100, let message = try await first.next() {
            #expect(message.from == "sender" && message.kind == .result && message.missed == 0)
            seen += message.payload
          }
          #expect(seen == Array(0..<100))
          var (last, counted) = (UInt8(0), 0)
          while last < 99, let message = try await second.next() {
            counted += 1 + message.missed
            last = message.payload[0]
          }
          #expect(counted == 100)
        }
      }
    }
    #expect(transport.listenerCount == 0)
  }

  @Test("Progress of the bulk lane shares writes: fifty messages in two")
  func linger() async throws {
    let clock = ManualClock()
    let (sender, reader) = (messenger("sender", clock: clock), messenger("reader", clock: clock))
    try await running([sender, reader]) {
      try await reader.withSubscription(to: "progress") { subscription in
        for number in 0..<50 {
          try await sender.publish([UInt8(number)], topic: "progress", kind: .result, lane: .bulk)
          while sender.statistics.writes < 1, !Task.isCancelled { await Task.yield() }
        }
        while clock.nextWake != .milliseconds(50), !Task.isCancelled { await Task.yield() }
        clock.advance(to: .milliseconds(50))
        var seen: [UInt8] = []
        while seen.count < 50, let message = try await subscription.next() { seen += message.payload }
        #expect(seen == Array(0..<50) && sender.statistics.writes == 2)
      }
    }
  }

  /// Takes frames only when told.
  private final class GatedTransport: MessageTransport {
    let base: InProcessTransport
    let gate = WakeSignal()
    let isOpen = Box(false)
    let isWaiting = Box(false)
    init(_ base: InProcessTransport) { self.base = base }
    var frameBytes: Int { base.frameBytes }
    func send(_ frame: [UInt8], to place: MessagePlace) async throws {
      isWaiting.withLock { $0 = true }
      if !isOpen.withLock({ $0 }) { await gate.wait() }
      isOpen.withLock { $0 = true }
      try await base.send(frame, to: place)
    }
    func listen(at place: MessagePlace) async throws -> FrameSubscription { try await base.listen(at: place) }
  }

  @Test(
    "While the transport takes nothing, publishers wait: no more than the bound is kept; then all goes")
  func backPressure() async throws {
    let gated = GatedTransport(transport)
    let sender = messenger("sender", .init(waitingMessages: 8), transport: gated)
    let reader = messenger("reader")
    let published = Box(0)
    try await running([sender, reader]) {
      try await reader.withSubscription(to: "t", buffer: 1_000) { subscription in
        try await sender.publish([255], topic: "t", lane: .high)
        while !gated.isWaiting.withLock({ $0 }), !Task.isCancelled { await Task.yield() }
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<100 {
            group.addTask {
              try await sender.publish([UInt8(number)], topic: "t", lane: .high)
              published.withLock { $0 += 1 }
            }
          }
          // One is being written, eight wait for it, and the rest with their publishers.
          while published.withLock({ $0 }) < 8, !Task.isCancelled { await Task.yield() }
          for _ in 0..<200 { await Task.yield() }
          #expect(published.withLock { $0 } == 8)
          gated.gate.set()
          try await group.waitForAll()
        }
        var seen: Set<UInt8> = []
        while seen.count < 101, let message = try await subscription.next() { seen.insert(message.payload[0]) }
        #expect(published.withLock { $0 } == 100)
      }
    }
  }

  @Test("When the transport ends, the messenger says so and every call ends")
  func transportEnds() async throws {
    struct Ending: MessageTransport {
      let base: InProcessTransport
      let end: WakeSignal
      var frameBytes: Int { base.frameBytes }
      func send(_ frame: [UInt8], to place: MessagePlace) async throws {}
      func listen(at place: MessagePlace) async throws -> FrameSubscription {
        FrameSubscription {
          await end.wait()
          return nil
        } cancel: {
        }
      }
    }
    let end = WakeSignal()
    let client = messenger("client", transport: Ending(base: transport, end: end))
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        await #expect(throws: MessagingError.unreachable("the transport has ended")) { try await client.run() }
      }
      while !client.isRunning, !Task.isCancelled { await Task.yield() }
      group.addTask {
        await #expect(throws: MessagingError.stopped) { try await client.request([], to: target) }
      }
      while client.openCounts.calls == 0, !Task.isCancelled { await Task.yield() }
      end.set()
    }
    #expect(client.openCounts.calls == 0)
  }
}

@Suite struct AnsweringTaskTests {
  @Test("A task that is cancelled before it begins, while it runs or after it has ended is treated as such")
  func cancelled() async {
    let early = AnsweringTask()
    early.cancel()
    await withTaskGroup(of: Bool.self) { group in
      group.addTask { await early.run { Task.isCancelled } }
      #expect(await group.next() == true)
    }
    let (running, started, never) = (AnsweringTask(), WakeSignal(), WakeSignal())
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        await running.run {
          started.set()
          await never.wait()
          return Task.isCancelled
        }
      }
      await started.wait()
      running.cancel()
      #expect(await group.next() == true)
    }
    running.cancel()
    let calm = AnsweringTask()
    await withTaskGroup(of: Bool.self) { group in
      group.addTask { await calm.run { Task.isCancelled } }
      #expect(await group.next() == false)
    }
  }
}
