import CoordinationEngine
import Foundation
import LocalEngine
import SQLiteEngine
import TaskQueue
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

  mutating func hear(_ line: Substring) {
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

/// A child process and what it says.
private final class Testbed {
  let process = Process()
  private let output = Pipe()

  init(_ arguments: [String], environment: [String: String] = [:]) throws {
    let folder =
      Bundle.allBundles.map(\.bundleURL.path).first { $0.hasSuffix(".xctest") }
      .map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
      ?? URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path
    process.executableURL = URL(fileURLWithPath: folder).appendingPathComponent("engine-testbed")
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardOutput = output
    try process.run()
  }

  /// Kills it after so many lines, and gives all that it said; with nil when it ends by itself.
  func hear(killAfter lines: Int?) -> [Substring] {
    var text = Data()
    var count = 0
    while true {
      let some = output.fileHandleForReading.availableData
      if some.isEmpty { break }
      text.append(some)
      count += some.count { $0 == UInt8(ascii: "\n") }
      if let lines, count >= lines { kill(process.processIdentifier, SIGKILL) }
    }
    process.waitUntilExit()
    // A line that was cut by the kill isn't said.
    let end = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? text.startIndex
    return String(decoding: text[..<end], as: UTF8.self).split(separator: "\n")
  }
}

@Suite(.serialized) struct KillTests {
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
      let testbed = try Testbed([folder.path, durability.name, "\(seed)-\(kills)", "\(tasks)"])
      // From before it has opened the file to the middle of its work.
      let lines = kills < 7 ? Int.random(in: 0..<250, using: &dice) : nil
      for line in testbed.hear(killAfter: lines) { heard.hear(line) }
      kills += 1
      try #require(kills < 60, "the work doesn't end")
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
      try compile(library)
      var heard = Acknowledged()
      var lost = 0
      for life in 0..<4 {
        let data = "\(folder.path)/\(life)"
        heard = Acknowledged()
        let testbed = try Testbed(
          [data, durability.name, "\(life)", "400"],
          environment: ["LD_PRELOAD": library, "POWERLOSS_FOLDER": folder.path])
        for line in testbed.hear(killAfter: 300 + 200 * life) { heard.hear(line) }
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

    private func compile(_ library: String) throws {
      let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("SQLiteEngine/powerloss.c").path
      let compiler = Process()
      compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      compiler.arguments = ["cc", "-shared", "-fPIC", "-O1", "-o", library, source]
      try compiler.run()
      compiler.waitUntilExit()
      try #require(compiler.terminationStatus == 0, "cc can't compile powerloss.c")
    }
  #endif
}
