import CoordinationEngine
import Foundation
import LocalEngine
import SQLiteEngine
import SlowTests
import TaskQueue
import TestSupport
import Testing

/// What a testbed said before it was killed.
private struct Acknowledged {
  var submitted: Set<Int> = []
  var done: Set<Int> = []
  /// Tasks whose end was said twice.
  var twice: Set<Int> = []
  var last: [String: Int] = [:]
  var count: Int64 = 0
  var blobs: Set<String> = []
  var isAtEnd = false

  mutating func hear(_ line: String) {
    let words = line.split(separator: " ").map(String.init)
    switch words.first {
    case "submit": submitted.insert(Int(words[1]) ?? -1)
    case "done": if !done.insert(Int(words[1]) ?? -1).inserted { twice.insert(Int(words[1]) ?? -1) }
    case "put": last[words[1]] = Int(words[2])
    case "count": count = max(count, Int64(words[1]) ?? 0)
    case "blob": blobs.insert(words[1])
    case "end": isAtEnd = true
    default: break
    }
  }
}

@Suite(.slow, .serialized) struct KillTests {
  /// More seeds: SWARMSCALE_KILL_SEEDS.
  static let seeds = 0..<(ProcessInfo.processInfo.environment["SWARMSCALE_KILL_SEEDS"].flatMap { Int($0) } ?? 4)

  /// Everything that was acknowledged is there; what is done is done once.
  private func check(_ heard: Acknowledged, _ folder: String, _ durability: Durability, tasks: Int) async throws {
    let engine = try await SQLiteEngine.open(.init(directory: folder, durability: durability))
    let journal = try #require(engine.journal as? SQLiteJournal)
    #expect(try await journal.integrityCheck() == ["ok"])
    var ids: [Int: TaskID] = [:]
    var page = TaskListQuery(queue: "q", maximum: 1_000)
    while let last = try await engine.tasks.list(page).last {
      for (id, record) in try await engine.tasks.list(page) {
        let number = try #require(record.task.key.flatMap { Int($0.name) })
        #expect(ids.updateValue(id, forKey: number) == nil, "task \(number) is there twice")
        if heard.done.contains(number) { #expect(record.state.name == .done, "the result of \(number) is lost") }
      }
      page.after = last.id.number
    }
    for number in heard.submitted { #expect(ids[number] != nil, "task \(number) is lost") }
    for (key, value) in heard.last {
      let entry = try await engine.state.get(key)
      #expect(entry.flatMap { Int(String(decoding: $0.value, as: UTF8.self)) } ?? -1 >= value, "\(key) went back")
    }
    #expect(try await engine.counters.value(of: "done") >= heard.count)
    for blob in heard.blobs { _ = try await engine.blobs.get(try #require(BlobDigest(blob))) }
    let statistics = try #require(try await engine.tasks.statistics(of: "q")["q"])
    #expect(statistics.lost == 0)
    if heard.isAtEnd { #expect(statistics.done == tasks) }
    await engine.close()
  }

  @Test(
    "C05, C06, C07: killed again and again at any moment, the engine has all that it acknowledged, and the work is done once",
    arguments: seeds)
  func kills(seed: Int) async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let durability: Durability = seed.isMultiple(of: 2) ? .process : .node
    let tasks = 300
    var dice = SystemRandomNumberGenerator()
    var heard = Acknowledged()
    var kills = 0
    while !heard.isAtEnd {
      // From before it has opened the file to the middle of its work.
      let lines = kills < 7 ? Int.random(in: 0..<250, using: &dice) : nil
      let testbed = try await runProgram(
        "engine-testbed", [folder.path, durability.name, "\(seed)-\(kills)", "\(tasks)"], killAfter: lines)
      for line in testbed.lines { heard.hear(line) }
      kills += 1
      if lines == nil { try #require(heard.isAtEnd, "the work doesn't end: status \(testbed.status)") }
      try await check(heard, folder.path, durability, tasks: tasks)
    }
    #expect(heard.twice.isEmpty, "results were committed twice: \(heard.twice)")
    #expect(heard.done.count <= tasks && kills > 1)
  }

  #if os(Linux)
    @Test(
      "C13: after a loss of power the mode node has all that it acknowledged, and the mode process has a file that is whole",
      arguments: [Durability.node, .process])
    func powerLoss(durability: Durability) async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let library = folder.path + "/powerloss.so"
      try await compile(library)
      var heard = Acknowledged()
      var lost = 0
      for life in 0..<4 {
        let data = "\(folder.path)/\(life)"
        heard = Acknowledged()
        let testbed = try await runProgram(
          "engine-testbed", [data, durability.name, "\(life)", "400"],
          environment: ["LD_PRELOAD": library, "POWERLOSS_FOLDER": folder.path], killAfter: 300 + 200 * life)
        for line in testbed.lines { heard.hear(line) }
        #expect(!heard.submitted.isEmpty && !heard.isAtEnd)
        // What was written and not synced is gone.
        for name in ["swarmscale.db", "swarmscale.db-wal"] {
          try? FileManager.default.removeItem(atPath: "\(data)/\(name)")
          try? FileManager.default.moveItem(atPath: "\(data)/\(name).synced", toPath: "\(data)/\(name)")
        }
        if durability == .node {
          try await check(heard, data, durability, tasks: 400)
        } else {
          let engine = try await SQLiteEngine.open(.init(directory: data, durability: durability))
          #expect(try await (engine.journal as? SQLiteJournal)?.integrityCheck() == ["ok"])
          let submitted = try await engine.tasks.statistics(of: "q")["q"]?.submitted ?? 0
          lost += max(0, heard.submitted.count - submitted)
          await engine.close()
        }
      }
      // Else the test couldn't tell the modes apart.
      if durability == .process { #expect(lost > 0, "nothing was lost that wasn't synced") }
    }

    private func compile(_ library: String) async throws {
      let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("SQLiteEngine/powerloss.c").path
      let compiler = try await runTool("/usr/bin/env", ["cc", "-shared", "-fPIC", "-O1", "-o", library, source])
      try #require(compiler.status == 0, "cc can't compile powerloss.c: \(compiler.err)")
    }
  #endif
}
