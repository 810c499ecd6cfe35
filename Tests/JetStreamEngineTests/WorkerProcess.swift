import Foundation
import Synchronization

/// A `jetstream-testbed` beside the test's own program.
final class WorkerProcess: Sendable {
  private let process: Process
  private let input = Pipe()
  private let lines: AsyncStream<String>

  init(_ url: String, _ mode: String, _ count: Int) throws {
    process = Process()
    process.executableURL = Bundle.main.bundleURL.deletingLastPathComponent().appendingPathComponent(
      "jetstream-testbed")
    for folder in [Bundle.main.bundleURL, URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()] {
      let candidate = folder.appendingPathComponent("jetstream-testbed")
      if FileManager.default.isExecutableFile(atPath: candidate.path) { process.executableURL = candidate }
    }
    process.arguments = [url, mode, "\(count)"]
    process.standardInput = input
    let output = Pipe()
    process.standardOutput = output
    let (lines, continuation) = AsyncStream.makeStream(of: String.self)
    self.lines = lines
    let rest = Mutex("")
    output.fileHandleForReading.readabilityHandler = { handle in
      let data = handle.availableData
      if data.isEmpty {
        handle.readabilityHandler = nil
        return continuation.finish()
      }
      let whole = rest.withLock { rest in
        rest += String(decoding: data, as: UTF8.self)
        var parts = rest.components(separatedBy: "\n")
        rest = parts.removeLast()
        return parts
      }
      for line in whole { continuation.yield(line) }
    }
    try process.run()
  }

  /// The next line; nil at the end.
  func line() async -> String? {
    for await line in lines { return line }
    return nil
  }

  func send(_ text: String) { input.fileHandleForWriting.write(Data((text + "\n").utf8)) }
  func signal(_ number: Int32) { kill(process.processIdentifier, number) }

  func stop() {
    signal(SIGKILL)
    process.waitUntilExit()
  }
}
