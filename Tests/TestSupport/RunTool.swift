package import Foundation

/// What a finished process left behind.
package struct ToolResult: Sendable {
  /// The exit status, or 128 + the signal's number for a process that a signal ended.
  package var status: Int32
  /// Standard output.
  package var out: String
  /// Standard error.
  package var err: String
}

/// Runs the program at `path` to its end and collects its output, for integration tests.
///
/// Output goes through temporary files, so that a talkative tool can't block on a full pipe. `environment` is added to
/// the test's own. Throws when the program can't be started.
package func runTool(
  _ path: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: URL? = nil,
  input: String? = nil
) async throws -> ToolResult {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("run-tool-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  let (outURL, errURL) = (folder.appendingPathComponent("out"), folder.appendingPathComponent("err"))
  let inURL = folder.appendingPathComponent("in")
  for url in [outURL, errURL] { try Data().write(to: url) }
  try Data((input ?? "").utf8).write(to: inURL)

  let process = Process()
  process.executableURL = URL(fileURLWithPath: path)
  process.arguments = arguments
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, added in added }
  process.currentDirectoryURL = directory
  process.standardInput = try FileHandle(forReadingFrom: inURL)
  process.standardOutput = try FileHandle(forWritingTo: outURL)
  process.standardError = try FileHandle(forWritingTo: errURL)
  try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
    process.terminationHandler = { _ in continuation.resume() }
    do {
      try process.run()
    } catch {
      process.terminationHandler = nil
      continuation.resume(throwing: error)
    }
  }
  let status =
    process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
  return ToolResult(
    status: status,
    out: String(decoding: try Data(contentsOf: outURL), as: UTF8.self),
    err: String(decoding: try Data(contentsOf: errURL), as: UTF8.self))
}
