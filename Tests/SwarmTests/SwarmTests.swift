import CoordinationProtocol
import Coordinator
import MockClaude
import MockClaudeServer
import RateBudget
import SlowTests
import SwarmCoordination
import TestSupport
import Testing

@testable import example_worker

/// The library as a worker uses it, and the example.
@Suite(.alone, .serialized, .timeLimit(.minutes(10))) struct SwarmTests {
  @Test("The example answers every question, alone and in a fleet")
  func example() async throws {
    try await MockClaudeServer.withServer(configuration: quickMock()) { mock in
      let questions = (1...6).map { "question \($0) <<out=3>>" }
      let answers = Inbox<String>()
      let alone = ["ANTHROPIC_UPSTREAM": mock.url, "ANTHROPIC_API_KEY": "k"]
      try await ExampleWorker.answer(Queue(questions[...]), SwarmConfiguration(environment: alone)) { answers.put($0) }
      #expect(answers.all.count == 6 && answers.all.allSatisfy { !$0.isEmpty })
      try await withCoordinator { engine, port in
        var fleet = podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url)
        fleet["SWARMSCALE_SLOTS"] = "3"
        try await ExampleWorker.answer(Queue(questions[...]), SwarmConfiguration(environment: fleet)) {
          answers.put($0)
        }
        let group = await engine.report().groups.first
        #expect(group?.key.modelGroup == "claude")
        #expect(group?.report.dimensions.first { $0.dimension == .requests }?.admitted == 6)
        #expect(await engine.report().workers.isEmpty, "it has said goodbye")
      }
      #expect(answers.all.count == 12)
    }
  }

  @Test("A stream gives its events; leaving it early ends it upstream")
  func events() async throws {
    var configuration = quickMock()
    configuration.pace.tokensPerSecond = 1_000
    try await MockClaudeServer.withServer(configuration: configuration) { mock in
      try await Swarm.join(
        try SwarmConfiguration(environment: ["ANTHROPIC_UPSTREAM": mock.url, "ANTHROPIC_API_KEY": "k"])
      ) {
        swarm in
        #expect(!swarm.isConnected)
        let names = try await swarm.claude.withEvents(of: message("<<out=20>>", stream: true).utf8) { events in
          var names: [String] = []
          for try await event in events {
            names.append(event.name)
            #expect(event.data.first == UInt8(ascii: "{") && event.data.last == UInt8(ascii: "}"))
          }
          return names
        }
        #expect(names.first == "message_start" && names.last == "message_stop")
        try await swarm.claude.withEvents(of: message("<<out=20000>>", stream: true).utf8) { events in
          for try await event in events where event.name == "content_block_delta" { break }
        }
        try await eventually {
          mock.withAPI { $0.engine.report(at: mock.clock.now) }.pools.allSatisfy { $0.running == 0 }
        }
      }
    }
  }

  @Test("An answer that is an error is thrown, with the API's words")
  func errors() async throws {
    try await MockClaudeServer.withServer(configuration: quickMock()) { mock in
      try await Swarm.join(
        try SwarmConfiguration(environment: ["ANTHROPIC_UPSTREAM": mock.url, "ANTHROPIC_API_KEY": "k"])
      ) {
        swarm in
        let error = await #expect(throws: ClaudeError.self) {
          _ = try await swarm.claude.messages(#"{"model":"claude-sonnet-4-5"}"#.utf8)
        }
        #expect(error?.status == 400 && error?.type == "invalid_request_error" && error?.message.isEmpty == false)
        #expect(error?.isWorthRetrying == false)
        await #expect(throws: ClaudeError.self, "not a stream") {
          try await swarm.claude.withEvents(of: message("<<out=1>>").utf8) { _ in }
        }
      }
    }
  }

  @Test("An order to drain stops the work; it is answered when the last slot is free; taken back the work goes on")
  func drain() async throws {
    try await withCoordinator { engine, port in
      func answer() async -> DrainState? { await engine.report().workers.first?.drain?.answer }
      var environment = podEnvironment("a", coordinator: "http://127.0.0.1:\(port)")
      environment["SWARMSCALE_SLOTS"] = "2"
      try await Swarm.join(try SwarmConfiguration(environment: environment), clock: clock, adjusting: impatient) {
        swarm in
        let (begun, mayEnd, taken) = (Inbox<Int>(), Inbox<Void>(), Inbox<Int>())
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            try await swarm.agents.work(taking: {
              let number = taken.all.count + 1
              taken.put(number)
              return number <= 5 ? number : nil
            }) { number in
              begun.put(number)
              await mayEnd.next()
            }
          }
          _ = await begun.next(2)
          try await eventually { await engine.report().fleets.first?.busy == 2 }
          await engine.drain(namespace: "team", pod: "a", timeout: .seconds(600))
          try await eventually { await answer() == .accepted }
          #expect(swarm.agents.isDraining)
          await #expect(throws: AgentPool.Draining.self) { try await swarm.agents.withSlot {} }
          for _ in 0..<2 { mayEnd.put(()) }
          try await eventually { await answer() == .drained }
          #expect(taken.all == [1, 2], "no task was taken meanwhile")
          await engine.withdrawDrain(namespace: "team", pod: "a")
          _ = await begun.next(2)
          for _ in 0..<3 { mayEnd.put(()) }
          try await group.waitForAll()
        }
        #expect(begun.all == [1, 2, 3, 4, 5])
      }
    }
  }

  @Test("What is wrong with the environment is thrown before anything begins")
  func environment() async {
    let error = await #expect(throws: SwarmConfigurationError.self) {
      try await Swarm.join(try SwarmConfiguration(environment: ["SWARMSCALE_COORDINATOR": "nonsense"])) { _ in }
    }
    #expect(error?.variable == "SWARMSCALE_COORDINATOR" && error?.value == "nonsense")
  }
}
