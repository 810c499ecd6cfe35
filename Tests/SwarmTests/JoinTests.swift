import CoordinationProtocol
import Coordinator
import MockClaude
import MockClaudeServer
import RateBudget
import SidecarServer
import SlowTests
import SwarmCoordination
import Testing

/// The sidecar and the coordinator together, over real connections.
@Suite(.alone, .serialized, .timeLimit(.minutes(10))) struct JoinTests {
  @Test("P25: two sidecars go on when the coordinator dies, and return to the one that follows")
  func coordinatorRestarts() async throws {
    try await MockClaudeServer.withServer(configuration: quickMock()) { mock in
      let port = try await withCoordinator { _, port in port }
      let place = "http://127.0.0.1:\(port)"
      try await Sidecar.with(podEnvironment("a", coordinator: place, upstream: mock.url)) { a in
        try await Sidecar.with(podEnvironment("b", coordinator: place, upstream: mock.url)) { b in
          let pods = [a, b]
          try await withCoordinator(port: port) { engine, _ in
            try await eventually { pods.allSatisfy { $0.isConnected } }
            for pod in pods { for _ in 0..<5 { #expect(try await pod.send() == 200) } }
            try await eventually { await engine.report().groups.first?.report.outstanding == 0 }
            let report = await engine.report()
            #expect(report.groups.map(\.key.modelGroup) == ["claude"])
            #expect(report.groups.first?.report.dimensions.first { $0.dimension == .requests }?.admitted == 10)
          }
          try await eventually { pods.allSatisfy { !$0.isConnected } }
          for pod in pods {
            #expect(try await pod.send() == 200, "its own share lets it go on")
            #expect(try await pod.metric("coordinator_connected") == 0)
            #expect(try await pod.metric(#"admissions_total{source="coordinator"}"#) == 5)
            #expect(try await pod.metric(#"admissions_total{source="share"}"#) == 1)
          }
          try await withCoordinator(port: port, isSuccessor: true) { engine, _ in
            try await eventually { pods.allSatisfy { $0.isConnected } }
            for pod in pods {
              #expect(try await pod.send() == 200)
              #expect(try await pod.metric("coordinator_connected") == 1)
              #expect(try await pod.metric("coordinator_reconnects_total") == 1)
              #expect(try await pod.metric(#"admissions_total{source="coordinator"}"#) == 6)
            }
            #expect(await engine.report().workers.count == 2)
          }
        }
      }
      #expect(mock.withAPI { $0.engine.report(at: mock.clock.now) }.pools.first?.admitted == 14)
    }
  }

  @Test("Requests sent before the first word of the coordinator wait for it, and draw on the groups that it has")
  func firstContact() async throws {
    try await MockClaudeServer.withServer(configuration: quickMock()) { mock in
      try await withCoordinator { engine, port in
        let environment = podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url)
        try await Sidecar.with(environment) { pod in
          try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<8 { group.addTask { try await pod.send() } }
            for try await status in group { #expect(status == 200) }
          }
          #expect(try await pod.metric(#"admissions_total{source="coordinator"}"#) == 8)
          #expect(await engine.report().groups.map(\.key.modelGroup) == ["claude"])
          // Another name for the same models: what comes now draws on that.
          await engine.configure(fleetConfiguration(group: "renamed"))
          let link = try #require(pod.membership.link)
          try await eventually { link.groups.contains { $0.modelGroup == "renamed" } }
          #expect(try await pod.send() == 200)
        }
      }
    }
  }

  @Test("A worker without slots of its own reports its requests, and its own word")
  func activity() async throws {
    var configuration = quickMock()
    configuration.pace.tokensPerSecond = 1
    try await MockClaudeServer.withServer(configuration: configuration) { mock in
      try await withCoordinator { engine, port in
        var environment = podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url)
        environment["SWARMSCALE_SLOTS"] = "4"
        try await Sidecar.with(environment) { pod in
          try await eventually { await engine.report().fleets.first?.slots == 4 }
          try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<3 { group.addTask { try await pod.send("<<out=10000>>") } }
            try await eventually {
              let fleet = await engine.report().fleets.first
              return fleet?.busy == 3 && fleet?.inFlight == 3 && fleet?.waiting == 0
            }
            group.cancelAll()
            while let result = await group.nextResult() {
              if case .success(let status) = result { Issue.record("answered \(status)") }
            }
          }
          try await eventually { await engine.report().fleets.first?.busy == 0 }
          #expect(try await pod.call("/v1/activity", body: #"{"state":"busy"}"#).status == 200)
          try await eventually { await engine.report().fleets.first?.busy == 1 }
        }
      }
    }
  }

  @Test("An order to drain shows at /v1/activity; its answers follow the worker's state; taken back it is over")
  func drain() async throws {
    try await withCoordinator { engine, port in
      try await Sidecar.with(podEnvironment("a", coordinator: "http://127.0.0.1:\(port)")) { pod in
        func answer() async -> DrainState? { await engine.report().workers.first?.drain?.answer }
        func isDraining() async throws -> Bool {
          try await pod.call("/v1/activity").text.contains(#""draining":true"#)
        }
        try await eventually { pod.isConnected }
        _ = try await pod.call("/v1/activity", body: #"{"state":"busy"}"#)
        #expect(try await !isDraining())
        await engine.drain(namespace: "team", pod: "a", timeout: .seconds(600))
        try await eventually { await answer() == .accepted }
        #expect(try await isDraining())
        _ = try await pod.call("/v1/activity", body: #"{"state":"idle"}"#)
        try await eventually { await answer() == .drained }
        #expect(try await pod.call("/readyz").status == 503)
        // An agent in the middle of a turn goes on.
        _ = try await pod.call("/v1/activity", body: #"{"state":"busy"}"#)
        try await eventually { await answer() == .accepted }
        await engine.withdrawDrain(namespace: "team", pod: "a")
        try await eventually { try await !isDraining() }
        // A second order whose time is over at once: the worker goes on.
        await engine.drain(namespace: "team", pod: "a", timeout: .milliseconds(1))
        try await eventually { await answer() == .refused }
        #expect(try await !isDraining())
        #expect(try await pod.call("/readyz").status == 200)
      }
    }
  }

  @Test("A worker that ends says goodbye: its share is free at once")
  func goodbye() async throws {
    try await withCoordinator { engine, port in
      try await Sidecar.with(podEnvironment("a", coordinator: "http://127.0.0.1:\(port)")) { pod in
        try await eventually { await engine.report().workers.count == 1 }
        #expect(try await pod.call("/v1/drain").text == #"{"drained":true}"# + "\n")
        pod.server.stop()
      }
      #expect(await engine.report().workers.isEmpty)
    }
  }

  @Test("A coordinator that ends while workers come in ends in good order: no stream finds nobody")
  func endsWhileWorkersCome() async throws {
    let port = try await withCoordinator { _, port in port }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<24 {
        let variables = podEnvironment("pod-\(number)", coordinator: "http://127.0.0.1:\(port)")
        let environment = try SwarmEnvironment(reading: { variables[$0] }, fileExists: { _ in false })
        guard var configuration = environment.link(readingToken: { _ in nil }) else {
          preconditionFailure("no coordinator")
        }
        impatient(&configuration)
        let link = CoordinatorLink(
          identity: environment.identity(incarnation: "1"), configuration: configuration, clock: clock,
          seed: UInt64(number))
        group.addTask { do { try await link.run() } catch is CancellationError {} }
      }
      for round in 0..<20 {
        try await withCoordinator(port: port) { engine, _ in
          // Sooner and later within the rush.
          try await eventually { await engine.report().workers.count > round % 12 }
        }
      }
      group.cancelAll()
    }
  }
}
