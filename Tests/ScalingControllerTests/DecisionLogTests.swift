import Foundation
import KubernetesCore
import Logging
import ScalingDecision
import Synchronization
import Testing

@testable import ScalingController

@Suite("The decision log")
struct DecisionLogTests {
  /// Notes the messages of a logger.
  private final class Messages: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func add(_ text: String) { texts.withLock { $0.append(text) } }
  }

  private struct Handler: LogHandler {
    let messages: Messages
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .trace
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) { messages.add("\(event.level): \(event.message)") }
  }

  private static func record(_ replicas: Int) -> DecisionRecord {
    let spec = DecisionSpec(minReplicas: 5, maxReplicas: 100, metrics: [])
    let input = DecisionInput(
      now: Timestamp(secondsSinceEpoch: 1_790_000_000), specReplicas: replicas, statusReplicas: replicas)
    return DecisionRecord(
      program: "test", namespace: "ns", name: "a", spec: spec, stateBefore: DecisionState(), input: input,
      plan: ScalingDecision.decide(spec, DecisionState(), input))
  }

  private func withFolder(_ body: (String, Messages, Logger) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("decision-log-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let messages = Messages()
    try body(folder.path, messages, Logger(label: "test") { _ in Handler(messages: messages) })
  }

  private func replicas(in path: String) throws -> [Int] {
    try Data(contentsOf: URL(fileURLWithPath: path)).split(separator: UInt8(ascii: "\n"))
      .map { try DecisionRecord(line: $0).input.specReplicas }
  }

  @Test("Records are appended line by line, also to what is there already")
  func append() throws {
    try withFolder { folder, messages, logger in
      let path = "\(folder)/d.jsonl"
      for round in [3, 30] {
        let log = try DecisionLog(path: path, program: "test", logger: logger)
        log.append(Self.record(round))
        log.append(Self.record(round + 1))
      }
      #expect(try replicas(in: path) == [3, 4, 30, 31])
      #expect(messages.all.isEmpty)
    }
  }

  @Test("A file that is rotated away, or removed, is made anew")
  func rotation() throws {
    try withFolder { folder, messages, logger in
      let path = "\(folder)/d.jsonl"
      let log = try DecisionLog(path: path, program: "test", logger: logger)
      log.append(Self.record(1))
      try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
      log.append(Self.record(2))
      try FileManager.default.removeItem(atPath: path)
      log.append(Self.record(3))
      #expect(try replicas(in: path + ".1") == [1])
      #expect(try replicas(in: path) == [3])
      #expect(messages.all.isEmpty)
    }
  }

  @Test("A log that can't be written is told once, and the end of it with the number of lost records")
  func failure() throws {
    try withFolder { folder, messages, logger in
      let path = "\(folder)/sub/d.jsonl"
      try FileManager.default.createDirectory(atPath: "\(folder)/sub", withIntermediateDirectories: true)
      let log = try DecisionLog(path: path, program: "test", logger: logger)
      try FileManager.default.removeItem(atPath: "\(folder)/sub")
      for count in 1...3 { log.append(Self.record(count)) }
      #expect(messages.all.count == 1 && messages.all[0].hasPrefix("error: the decision log can't be written"))
      try FileManager.default.createDirectory(atPath: "\(folder)/sub", withIntermediateDirectories: true)
      log.append(Self.record(4))
      #expect(messages.all.count == 2 && messages.all[1].hasPrefix("notice: the decision log is written again"))
      #expect(try replicas(in: path) == [4])
    }
  }

  @Test("A full disk doesn't stop anything", .enabled(if: FileManager.default.fileExists(atPath: "/dev/full")))
  func fullDisk() throws {
    try withFolder { _, messages, logger in
      let log = try DecisionLog(path: "/dev/full", program: "test", logger: logger)
      for count in 1...3 { log.append(Self.record(count)) }
      #expect(messages.all.count == 1)
    }
  }

  @Test("A path that can't be opened is a mistake of the configuration")
  func misconfigured() throws {
    try withFolder { folder, _, logger in
      let error = #expect(throws: KubernetesError.self) {
        try DecisionLog(path: "\(folder)/none/d.jsonl", program: "test", logger: logger)
      }
      #expect(error?.code == .misconfigured)
    }
  }
}
