import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a program said before it ended or was killed.
package struct KilledProgram: Sendable {
  /// Its whole lines; one that the kill cut is not said.
  package var lines: [String]
  /// The exit status, or 128 + the signal's number for a program that a signal ended.
  package var status: Int32
}

/// Runs a program of this package and kills it (SIGKILL) after `lines` lines of output, or with nil lets it end by itself.
///
/// The reading blocks a thread of its own: those of the concurrency pool are as few as the cores, and other tests need them.
/// Throws when the program can't be started.
package func runProgram(
  _ name: String, _ arguments: [String], environment: [String: String] = [:], killAfter lines: Int?
) async throws -> KilledProgram {
  let bundle = Bundle.allBundles.map(\.bundleURL).first { $0.path.hasSuffix(".xctest") }
  let folder = (bundle ?? URL(fileURLWithPath: CommandLine.arguments[0])).deletingLastPathComponent()
  return try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global().async {
      let process = Process()
      process.executableURL = folder.appendingPathComponent(name)
      process.arguments = arguments
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      let output = Pipe()
      process.standardOutput = output
      do { try process.run() } catch { return continuation.resume(throwing: error) }
      var (text, count) = (Data(), 0)
      while true {
        let some = output.fileHandleForReading.availableData
        if some.isEmpty { break }
        text.append(some)
        count += some.count { $0 == UInt8(ascii: "\n") }
        if let lines, count >= lines { kill(process.processIdentifier, SIGKILL) }
      }
      process.waitUntilExit()
      let end = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? text.startIndex
      let status = process.terminationStatus
      continuation.resume(
        returning: KilledProgram(
          lines: String(decoding: text[..<end], as: UTF8.self).split(separator: "\n").map(String.init),
          status: process.terminationReason == .uncaughtSignal ? 128 + status : status))
    }
  }
}
