import Foundation
import NATSTestSupport
import SlowTests
import TestSupport
import Testing

/// What agents have said, one after the other, each until it was killed.
private struct Heard {
  var calls: [String: Set<String>] = [:]
  var saved: [String: Int] = [:]
  var results: [Int: String] = [:]
  var (kills, repeated) = (0, 0)
  /// By task: how many agents were killed in it that may have been in a call.
  var deaths: [String: Int] = [:]
  var isAtEnd = false

  /// What one agent said.
  mutating func hear(_ lines: [String]) {
    var (task, again) = ("", 0)
    for line in lines {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("resume", 3):
        (task, again) = (words[1], 0)
        #expect(Int(words[2]) ?? -1 >= saved[words[1], default: 0], "a step is made again: \(line)")
      case ("call", 4):
        let call = "\(words[1]).\(words[2])"
        if let keys = calls[call] {
          again += 1
          deaths[task, default: 0] -= 1
          #expect(again == 1 && deaths[task, default: 0] >= 0, "a kill repeats more than one call: \(line)")
          repeated += 1
          #expect(keys == [words[3]], "a call has got another key: \(line)")
        }
        calls[call, default: []].insert(words[3])
      case ("saved", 3): saved[words[1]] = Int(words[2])
      case ("result", 3): results[Int(words[1]) ?? -1] = words[2]
      case ("end", 1): isAtEnd = true
      default: Issue.record("it said \(line)")
      }
    }
    if !isAtEnd { deaths[task, default: 0] += 1 }
  }
}

/// Agents that are killed at any moment: SIGKILL, and on SQLite the engine goes with them.
@Suite(.slow, .serialized, .timeLimit(.minutes(10))) struct KillTests {
  /// More seeds: SWARMSCALE_KILL_SEEDS.
  static let seeds = 0..<(ProcessInfo.processInfo.environment["SWARMSCALE_KILL_SEEDS"].flatMap { Int($0) } ?? 2)
  private static let (tasks, steps) = (6, 5)

  private func killed(agentsOn engine: String, seed: Int) async throws {
    var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
    var heard = Heard()
    while !heard.isAtEnd {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let lines = heard.kills < 6 ? 1 + Int(state >> 33) % 15 : nil
      let arguments = [engine, "\(Self.tasks)", "\(Self.steps)"]
      heard.hear(try await runProgram("recovery-testbed", arguments, killAfter: lines).lines)
      if lines != nil { heard.kills += 1 }
      try #require(heard.isAtEnd || lines != nil, "the agent ended before its tasks")
    }
    #expect(heard.calls.count == Self.tasks * Self.steps)
    #expect(heard.repeated <= heard.kills)
    for task in 0..<Self.tasks {
      #expect(heard.results[task] == (0..<Self.steps).map { "\(task).\($0)," }.joined())
    }
  }

  @Test(
    "C02, C03: agents on SQLite, killed with it again and again, make no step and at most one call again",
    arguments: seeds)
  func sqlite(seed: Int) async throws {
    let folder = NSTemporaryDirectory() + "recovery-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await killed(agentsOn: folder, seed: seed)
  }

  @Test("C02, C03: the same on JetStream", .enabled(if: hasNATSServer), arguments: seeds)
  func jetStream(seed: Int) async throws {
    try await withServer { server in try await killed(agentsOn: server.url, seed: seed) }
  }
}
