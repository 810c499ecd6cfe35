import ArgumentParser
import CoordinationCore
import CoordinationEngine
import Foundation
import JetStreamEngine
import KubernetesCore
import Logging
import NATSTestSupport
import Observability
import SlowTests
import SwarmCoordination
import Testing

@testable import TaskCommands

/// An engine as workers find it by URL, and as the test sees it.
private struct Place: Sendable {
  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case server, sidecar, nats

    var testDescription: String { rawValue }
    /// Those that this machine can show.
    static var here: [Kind] { hasNATSServer ? allCases : [.server] }
  }

  let kind: Kind
  let engine: any CoordinationEngine
  let variables: [String: String]
  var url: String { variables["SWARMSCALE_TASKS"] ?? "" }

  static func with(_ kind: Kind, _ body: @Sendable (Place) async throws -> Void) async throws {
    switch kind {
    case .server:
      try await QueueRig.with { rig in
        let variables = ["SWARMSCALE_TASKS": rig.url, "ANTHROPIC_API_KEY": "none"]
        try await body(Place(kind: kind, engine: rig.local, variables: variables))
      }
    case .sidecar:
      // A real program with NATS behind it.
      try await NATSRig.with { rig in
        let (program, url) = try await Program.sidecar(rig.variables)
        defer { _ = program.end(SIGTERM) }
        try await body(
          Place(kind: kind, engine: rig.engine, variables: rig.variables.merging(["SWARMSCALE_TASKS": url]) { $1 }))
      }
    case .nats:
      try await NATSRig.with { rig in
        try await body(Place(kind: kind, engine: rig.engine, variables: rig.variables))
      }
    }
  }

  func join<Result>(_ pod: String, slots: Int, _ body: (Swarm) async throws -> Result) async throws -> Result {
    var configuration = try SwarmConfiguration(environment: variables.merging(["SWARMSCALE_POD": pod]) { $1 })
    configuration.slots = slots
    configuration.drainsOnTermination = false
    configuration.memory = 8 << 30
    configuration.collection.blobGrace = .seconds(1)
    configuration.logger = Logger(label: "worker") { _ in SwiftLogNoOpLogHandler() }
    return try await Swarm.join(configuration, body)
  }

  /// What `swarmscale tasks fleet` prints.
  func fleet(_ arguments: String...) async throws -> [String] {
    let command = try TasksFleetCommand.parse(["--server", url] + arguments)
    return try await command.server.asking { try await command.lines($0) }
  }

  /// Two workers, each with its own connection.
  func pair(slots: Int, _ body: @Sendable (_ first: Swarm, _ second: Swarm) async throws -> Void) async throws {
    try await join("writer-0", slots: slots) { first in
      try await join("reviewer-0", slots: slots) { second in try await body(first, second) }
    }
  }
}

/// What metrics say, by name and labels as they are written.
struct Samples: Sendable {
  let values: [String: Double]
  let families: Set<String>

  init(_ text: String) {
    var values: [String: Double] = [:]
    var families: Set<String> = []
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if line.hasPrefix("# TYPE"), words.count == 4 { families.insert(String(words[2])) }
      if !line.hasPrefix("#"), words.count == 2 { values[String(words[0])] = Double(words[1]) }
    }
    self.values = values
    self.families = families
  }

  subscript(_ name: String) -> Double? { values[name] }

  /// What docs/coordination.md says of a fleet.
  static func documentedFleet() throws -> Set<String> {
    let names = try documented("coordination.md", after: "| metric (", prefix: "swarmscale_fleet_")
    try #require(names.count > 10)
    return names
  }

  /// The names in the table of metrics of a page.
  static func documented(_ page: String, after heading: String, prefix: String) throws -> Set<String> {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/\(page)"), encoding: .utf8)
    let part = try #require(text.range(of: heading)).upperBound
    let rows = text[part...].split(separator: "\n").drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }
    // Every other part between backticks is a name, of which the row's first cell may have several.
    let names = rows.compactMap { $0.split(separator: "|").first }.flatMap { cell in
      cell.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }
        .map(\.element)
    }
    return Set(names.map { prefix + $0.prefix { $0 != "{" } })
  }
}

/// A door that is opened once.
private final class Gate: Sendable {
  private let tally = Tally()
  func open() { tally.add() }
  func passed() async { await tally.reaches(1) }
}

/// The parts of the library joined up, as a worker uses them: over a server, over a sidecar, and on NATS.
@Suite("Workers together", .alone, .serialized, .timeLimit(.minutes(10)))
struct JoinedTests {
  @Test("Agents of two workers ask one another, answer in parts, and hear a topic", arguments: Place.Kind.here)
  fileprivate func converse(_ kind: Place.Kind) async throws {
    try await Place.with(kind) { place in
      try await place.pair(slots: 2) { first, second in
        let (ours, theirs) = (try first.messages, try second.messages)
        try await ours.withAgent("writer", answering: { Array("written: ".utf8) + $0.payload }) {
          try await theirs.withAgent(
            "reviewer",
            // It asks back whoever asks it.
            answering: { Array("reviewed: ".utf8) + (try await theirs.ask("writer", $0.payload)) },
            inParts: { question, parts in
              for number in 0..<100 { try await parts.send(question.payload + Array("\(number)".utf8)) }
            }
          ) {
            let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
              for number in 0..<20 {
                group.addTask {
                  try await first.agents.run(named: "asker-\(number)") { agent in
                    let answer = try await agent.wait { try await ours.ask("reviewer", Array("plan \(number)".utf8)) }
                    return (number, String(decoding: answer, as: UTF8.self))
                  }
                }
              }
              return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            #expect(answers == Dictionary(uniqueKeysWithValues: (0..<20).map { ($0, "reviewed: written: plan \($0)") }))
            let parts = try await ours.withParts(of: "reviewer", Array("p".utf8)) { parts in
              try await parts.reduce(into: [String]()) { $0.append(String(decoding: $1, as: UTF8.self)) }
            }
            #expect(parts == (0..<100).map { "p\($0)" })
            #expect(try await ours.workers(with: "reviewer") == ["reviewer-0"])
            #expect(try await theirs.workers(with: "writer") == ["writer-0"])
            let heard = try await ours.withTopic("news") { news in
              try await theirs.publish(Array("done".utf8), to: "news")
              var news = news.makeAsyncIterator()
              return try await news.next()
            }
            #expect(heard?.from == "reviewer-0")
            #expect(heard?.payload == Array("done".utf8))
          }
        }
        let error = await #expect(throws: MessageError.self) {
          try await ours.ask(AgentName("reviewer", on: "reviewer-0"), [], timeout: .seconds(20))
        }
        #expect(error?.reason == .unknownAgent)
      }
    }
  }

  @Test(
    "Agents of two workers share a plan: no change is lost, and each chapter has one owner", arguments: Place.Kind.here)
  fileprivate func share(_ kind: Place.Kind) async throws {
    try await Place.with(kind) { place in
      try await place.pair(slots: 4) { first, second in
        let owned = try await withThrowingTaskGroup(of: [String: String].self) { group in
          for (name, swarm) in [("first", first), ("second", second)] {
            for agent in 0..<3 {
              group.addTask {
                try await swarm.agents.run(named: "\(name)-\(agent)") { agent in
                  let plan = try swarm.state("plan")
                  var mine: [String: String] = [:]
                  for chapter in 0..<10 {
                    let owner = try await plan.update("chapter-\(chapter)") { $0 ?? Array(agent.name.utf8) }
                    if owner == Array(agent.name.utf8) { mine["chapter-\(chapter)"] = agent.name }
                    try await plan.update("count") { value in
                      let count = value.flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
                      return Array("\(count + 1)".utf8)
                    }
                  }
                  return mine
                }
              }
            }
          }
          return try await group.reduce(into: [String: String]()) { all, mine in
            #expect(Set(all.keys).isDisjoint(with: mine.keys), "a chapter has two owners")
            all.merge(mine) { $1 }
          }
        }
        #expect(owned.count == 10)
        let expected = owned.mapValues { Array($0.utf8) }.merging(["count": Array("60".utf8)]) { $1 }
        #expect(try await second.state("plan").values() == expected)
        try await second.state("plan").withView { view in
          #expect(view.values == expected)
          let version = view.version
          try await first.state("plan").update("done") { _ in [1] }
          while view["done"] == nil { try await view.changed(since: version) }
        }
        #expect(try await first.state("other").values().isEmpty)
      }
    }
  }

  @Test(
    "Large states of parked agents go to the engine, come back whole, and are collected", arguments: Place.Kind.here)
  fileprivate func park(_ kind: Place.Kind) async throws {
    try await Place.with(kind) { place in
      try await place.pair(slots: 1) { first, second in
        let gate = Gate()
        try await second.messages.withAgent(
          "author",
          answering: { question in
            await gate.passed()
            return question.payload
          }
        ) {
          let messages = try first.messages
          try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<3 {
              group.addTask {
                try await first.agents.run(named: "pull-\(number)") { agent in
                  var random = SystemRandomNumberGenerator()
                  let whole = (0..<65_536).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
                  var state = whole
                  let answer = try await agent.park(&state) { try await messages.ask("author", [UInt8(number)]) }
                  #expect(answer == [UInt8(number)])
                  #expect(state == whole)
                }
              }
            }
            // One slot, and all three wait: parked agents need none.
            try await eventually {
              Samples(await first.metrics())["swarmscale_agents_parked_stored"] == 3 ? true : nil
            }
            let samples = Samples(await first.metrics())
            #expect(samples[#"swarmscale_agents_count{stage="parked"}"#] == 3)
            #expect(samples["swarmscale_agents_parked_state_bytes"] == 1_572_864)
            #expect(samples["swarmscale_agents_unparked_total"] == 0)
            #expect(first.agents.busy == 0)
            #expect(try await place.engine.blobs.list(after: nil, maximum: 10).count == 3)
            gate.open()
            try await group.waitForAll()
          }
        }
        try await eventually {
          let blobs = try await place.engine.blobs.list(after: nil, maximum: 10)
          let references = try await place.engine.state.list("collect.ref.").entries
          return blobs.isEmpty && references.isEmpty ? true : nil
        }
        let all = [Samples(await first.metrics()), Samples(await second.metrics())]
        let deleted = all.compactMap { $0[#"swarmscale_agents_collector_deleted_total{kind="blobs"}"#] }
        #expect(deleted.reduce(0, +) == 3)
        #expect(all.compactMap { $0["swarmscale_agents_collector_leading"] }.sorted() == [0, 1])
        #expect(all[0][#"swarmscale_agents_ended_total{outcome="committed"}"#] == 3)
      }
    }
  }

  @Test("Metrics have what the pages say", arguments: Place.Kind.here)
  fileprivate func metrics(_ kind: Place.Kind) async throws {
    let agents = try Samples.documented("agents.md", after: "## Metrics", prefix: "swarmscale_agents_")
    #expect(agents.count > 20)
    let fleet = try Samples.documentedFleet()
    try await Place.with(kind) { place in
      try await place.pair(slots: 8) { first, second in
        // CPU is known once it was looked at twice.
        try await eventually { Samples(await first.metrics())["swarmscale_agents_cpu_used_ratio"] }
        #expect(Samples(await first.metrics()).families == agents)
        guard kind == .nats else {
          #expect(first.fleetMetrics.isEmpty, "behind a server there is no fleet")
          return
        }
        // Whoever stands still for longer than its lease loses the lead: so a moment is waited for in which one has it.
        let all = try await eventually { () -> [Samples]? in
          let all = [Samples(first.fleetMetrics), Samples(second.fleetMetrics)]
          let leading = all.compactMap { $0["swarmscale_fleet_leading"] }.sorted()
          return leading == [0, 1] && all.allSatisfy { $0["swarmscale_fleet_agents"] == 16 } ? all : nil
        }
        #expect(all.map(\.families) == [fleet, fleet])
        for samples in all {
          #expect(samples["swarmscale_fleet_pods"] == 2)
          #expect(samples[#"swarmscale_fleet_tier{tier="orchestrated"}"#] == 1)
          #expect(samples[#"swarmscale_fleet_tier{tier="in-process"}"#] == 0)
          #expect((samples["swarmscale_fleet_epoch"] ?? 0) >= 1)
        }
      }
    }
  }
  @Test(
    "swarmscale tasks fleet shows the fleet, and says in words where there is none",
    arguments: Place.Kind.here.filter { $0 != .sidecar })
  fileprivate func fleet(_ kind: Place.Kind) async throws {
    try await Place.with(kind) { place in
      let none = await #expect(throws: TaskCommandError.self) { try await place.fleet() }
      #expect(none?.code == 66)
      #expect(none?.description.contains("no fleet here") == true)
      try await place.pair(slots: 8) { first, _ in
        guard kind == .nats else {
          let still = await #expect(throws: TaskCommandError.self) { try await place.fleet("-o", "json") }
          #expect(still == none)
          return
        }
        try await eventually {
          // What the command reads is what the leader wrote.
          try await place.fleet().first == "tier orchestrated, 16 agents in 2 pods, 1 shard a queue" ? true : nil
        }
        let shown = try await place.fleet("--pods")
        #expect(shown[1].hasPrefix("led by ") && shown[1].contains(", epoch "))
        #expect(shown.contains { $0.hasPrefix("cell 1: 2 pods, 16 agents, 1 shard") }, "\(shown)")
        #expect(shown.contains { $0.hasPrefix("reviewer-0  1     8      0") }, "\(shown)")
        let json = try JSONValue(parsing: Array(try await place.fleet("-o", "json").joined().utf8))
        #expect(json["tier"] == "orchestrated" && (json["epoch"]?.intValue ?? 0) >= 1 && json["agents"] == 16)
        #expect(json["leader"] == "writer-0" || json["leader"] == "reviewer-0")
        #expect(json["isLeaderAlive"] == true)
        #expect((json["cells"]?.arrayValue ?? []).map { $0["pods"] } == [2])
        let pods = (json["pods"]?.arrayValue ?? []).map { $0["name"]?.stringValue ?? "" }
        #expect(pods == ["reviewer-0", "writer-0"])
      }
      guard kind == .nats else { return }
      // Both have said goodbye: what is left is the plan.
      #expect(try await place.fleet().last == "no worker is there now: this is the last plan")
    }
  }
  @Test("A program says its version")
  func version() throws {
    let program = try Program("swarmscale-sidecar", ["--version"], [:])
    program.process.waitUntilExit()
    #expect(program.process.terminationStatus == 0)
    #expect(program.log == "\(swarmscaleVersion)\n")
  }
}
