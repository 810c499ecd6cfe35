import CoordinationEngine
import JetStreamEngine
import LocalEngine
import MessageFrames
import NATSClient
import NATSTestSupport
import PayloadCompression
import SlowTests
import Testing

@testable import AgentMessages

/// The engines that messages are tried on.
enum EngineKind: CaseIterable, Sendable {
  case memory
  case nats

  /// Those that this machine has.
  static var here: [EngineKind] { hasNATSServer ? allCases : [.memory] }
}

/// A connection of its own for each process: in memory all share the engine.
private struct Processes: Sendable {
  let shared: LocalEngine?
  let url: String

  func engine() throws -> any CoordinationEngine {
    if let shared { return shared }
    return JetStreamEngine(try Self.configuration(url))
  }

  static func configuration(_ url: String) throws -> JetStreamEngineConfiguration {
    var client = try NATSConfiguration(urls: [url])
    client.reconnectBase = .milliseconds(10)
    client.reconnectLimit = .milliseconds(100)
    var configuration = JetStreamEngineConfiguration(client: client)
    configuration.patience = .seconds(10)
    return configuration
  }
}

private func withProcesses(_ kind: EngineKind, _ body: @Sendable (Processes) async throws -> Void) async throws {
  switch kind {
  case .memory: try await body(Processes(shared: LocalEngine(), url: ""))
  case .nats: try await withServer { try await body(Processes(shared: nil, url: $0.url)) }
  }
}

/// A messenger with an engine of its own, by the name of its process.
private struct Process: Sendable {
  let engine: any CoordinationEngine
  let messenger: AgentMessenger

  init(_ node: String, _ processes: Processes, configuration: MessengerConfiguration = MessengerConfiguration()) throws
  {
    engine = try processes.engine()
    messenger = AgentMessenger(
      node: node, transport: EngineTransport(messages: engine.messages), compressor: PayloadCodec(),
      configuration: configuration)
  }
}

/// Runs engines and messengers while `body` runs.
private func running(
  _ processes: [Process], keepsTrying: Bool = false, _ body: @escaping @Sendable () async throws -> Void
) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for process in processes where !(process.engine is LocalEngine) {
      group.addTask { try await process.engine.run() }
    }
    try await AgentMessagesTests.running(processes.map(\.messenger), keepsTrying: keepsTrying, body)
    for process in processes { await process.engine.close() }
    group.cancelAll()
    while let result = await group.nextResult() { _ = result }
  }
}

@Suite("Messages over engines", .alone, .serialized, .timeLimit(.minutes(10))) struct EngineTransportTests {
  private static let echo = AgentMessenger.Service(limit: 64, mailbox: 10_000) { call in
    call.payload
  } stream: { call, writer in
    for number in 0..<Int(call.payload[0]) { try await writer.send([UInt8(number)]) }
  }

  private let target = AgentAddress(node: "server", agent: "echo")

  @Test("Clients that ask one agent at the same moment each get their own answers", arguments: EngineKind.here)
  func requests(kind: EngineKind) async throws {
    try await withProcesses(kind) { processes in
      let server = try Process("server", processes)
      let clients = try (0..<3).map { try Process("client.\($0) ä", processes) }
      server.messenger.register("echo", Self.echo)
      try await running([server] + clients) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<300 {
            let client = clients[number % 3].messenger
            group.addTask {
              let question = Array("\(client.node)/\(number)/".utf8) + [UInt8](repeating: 1, count: number * 7)
              let value1 = try await client.request(question, to: target, lane: MessageLane.allCases[number % 4])
              #expect(value1 == question)
            }
          }
          try await group.waitForAll()
        }
        for process in clients + [server] {
          #expect(process.messenger.statistics.strayAnswers == 0 && process.messenger.statistics.malformed == 0)
        }
      }
    }
  }

  @Test("Streams and topics go through engines as through a process", arguments: EngineKind.here)
  func streams(kind: EngineKind) async throws {
    try await withProcesses(kind) { processes in
      let (server, client) = (try Process("server", processes), try Process("client", processes))
      server.messenger.register("echo", Self.echo)
      try await running([server, client]) {
        let parts = try await client.messenger.withStream([200], to: target) { stream in
          var parts: [UInt8] = []
          while let part = try await stream.next() { parts += part }
          return parts
        }
        #expect(parts == Array(0..<200))
        try await client.messenger.withSubscription(to: "progress.reviews") { subscription in
          for number in 0..<50 { try await server.messenger.publish([UInt8(number)], topic: "progress.reviews") }
          for number in 0..<50 { #expect(try await subscription.next()?.payload == [UInt8(number)]) }
        }
      }
    }
  }

  @Test("A message as large as the engine takes goes through, a larger one is refused", arguments: EngineKind.here)
  func bounds(kind: EngineKind) async throws {
    try await withProcesses(kind) { processes in
      let (server, client) = (try Process("server", processes), try Process("client", processes))
      server.messenger.register("echo", Self.echo)
      try await running([server, client]) {
        var random = SplitMix(seed: 1)
        // Nothing in it can be packed.
        let large = (0..<(client.engine.messages.messageBytes - 1_000)).map { _ in
          UInt8(truncatingIfNeeded: random.next())
        }
        let value2 = try await client.messenger.request(large, to: target)
        #expect(value2 == large)
        await #expect(throws: MessagingError.self) {
          try await client.messenger.request(large + large, to: target)
        }
        await #expect(throws: MessagingError.self) {
          try await client.messenger.request([], to: AgentAddress(node: String(repeating: "ä", count: 50), agent: "x"))
        }
      }
    }
  }

  @Test(
    "A process that starts again under its name gets no answer to what its last run asked", arguments: EngineKind.here)
  func restarted(kind: EngineKind) async throws {
    try await withProcesses(kind) { processes in
      let (server, before, after) = (
        try Process("server", processes), try Process("client", processes), try Process("client", processes)
      )
      let (gate, isAsked) = (WakeSignal(), WakeSignal())
      server.messenger.register(
        "slow",
        .init { call in
          if call.payload == [1] {
            isAsked.set()
            await gate.wait()
          }
          return call.payload
        })
      let slow = AgentAddress(node: "server", agent: "slow")
      try await running([server, after]) {
        await withTaskGroup(of: Void.self) { group in
          // Both runs listen at one name; the first call of each has the same number.
          if !(before.engine is LocalEngine) { group.addTask { try? await before.engine.run() } }
          group.addTask {
            do { try await before.messenger.run() } catch { Issue.record(error) }
          }
          while !before.messenger.isRunning, !Task.isCancelled { await Task.yield() }
          group.addTask { _ = try? await before.messenger.request([1], to: slow) }
          await isAsked.wait()
          let second = try? await after.messenger.request([2], to: slow)
          #expect(second == [2])
          gate.set()
          while after.messenger.statistics.strayAnswers == 0, !Task.isCancelled { await Task.yield() }
          let third = try? await after.messenger.request([3], to: slow)
          #expect(third == [3])
          // First cancelled, then closed: the other way round the messenger would call the end of its engine an error.
          group.cancelAll()
          await before.engine.closeUnlessLocal()
        }
      }
    }
  }

  @Test(
    "While the server is away calls end in errors that say so; when it is back they are answered again, by the same messengers",
    .enabled(if: hasNATSServer))
  func outage() async throws {
    try await withServer { server in
      let processes = Processes(shared: nil, url: server.url)
      let (answering, asking) = (try Process("server", processes), try Process("client", processes))
      answering.messenger.register("echo", Self.echo)
      try await running([answering, asking]) {
        let value5 = try await asking.messenger.request([1], to: target)
        #expect(value5 == [1])
        server.stop()
        for lane in MessageLane.allCases {
          let error = await #expect(throws: MessagingError.self) {
            try await asking.messenger.request([2], to: target, lane: lane, timeout: .milliseconds(300))
          }
          switch error {
          case .timedOut, .unreachable: break
          default: #expect(Bool(false), "\(String(describing: error))")
          }
        }
        try await server.start()
        let answer = try await eventually {
          try? await asking.messenger.request([3], to: target, timeout: .milliseconds(500))
        }
        #expect(answer == [3] && answering.messenger.isRunning && asking.messenger.isRunning)
      }
    }
  }

  @Test(
    "Over connections that break anywhere every call ends: in its own answer, or in an error that is named",
    .enabled(if: hasNATSServer), arguments: [1, 2])
  func faults(seed: UInt64) async throws {
    try await withServer { server in
      let proxy = try await FaultProxy(to: server.port, seed: seed, maximumBytes: 20_000)
      let (answering, asking) = (
        try Process("server", Processes(shared: nil, url: proxy.url)),
        try Process("client", Processes(shared: nil, url: proxy.url))
      )
      answering.messenger.register("echo", Self.echo)
      try await running([answering, asking], keepsTrying: true) {
        try await withThrowingTaskGroup(of: Bool.self) { group in
          for number in 0..<200 {
            group.addTask {
              var random = SplitMix(seed: UInt64(number))
              let question =
                Array("\(number)/".utf8) + (0..<number * 3).map { _ in UInt8(truncatingIfNeeded: random.next()) }
              do {
                let value6 = try await asking.messenger.request(question, to: target, timeout: .seconds(2))
                #expect(value6 == question)
                return true
              } catch let error as MessagingError {
                switch error {
                case .timedOut, .unreachable, .overloaded: return false
                default: throw error
                }
              }
            }
          }
          try await group.waitForAll()
        }
        // A stream ends whole or with an error.
        for _ in 0..<20 {
          do {
            try await asking.messenger.withStream([100], to: target, timeout: .seconds(2)) { stream in
              var parts: [UInt8] = []
              while let part = try await stream.next() { parts += part }
              #expect(parts == Array(0..<100))
            }
          } catch is MessagingError {}
        }
        #expect(proxy.breaks > 0)
        proxy.calm()
        _ = try await eventually { try? await asking.messenger.request([3], to: target, timeout: .milliseconds(500)) }
        #expect(asking.messenger.openCounts.calls == 0)
      }
      try await proxy.close()
    }
  }
}

extension CoordinationEngine {
  fileprivate func closeUnlessLocal() async {
    if !(self is LocalEngine) { await close() }
  }
}
