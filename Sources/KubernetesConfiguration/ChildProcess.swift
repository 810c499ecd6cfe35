import KubernetesCore
import Subprocess

#if canImport(System)
  import System
#else
  import SystemPackage
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One run of a program whose output is collected, within a time limit.
///
/// The program is killed when the task is cancelled or the time is over. What a daemon that it leaves behind writes
/// after its end is not waited for.
struct ChildProcess: Sendable {
  /// How the program ended.
  struct Result: Sendable {
    /// Its exit status; 128 + signal when a signal ended it.
    var status: Int32
    /// What it wrote to standard output, up to 1 MiB.
    var standardOutput: [UInt8]
    /// What it wrote to standard error, up to 1 MiB.
    var standardError: [UInt8]
  }

  /// The program couldn't be started.
  struct StartFailure: Error {
    /// The system's reason.
    var reason: String
  }

  /// More is read but not kept.
  private static let maximumBytes = 1 << 20

  /// The executable.
  var path: String
  /// Its arguments, without the program's own name.
  var arguments: [String]
  /// Its whole environment.
  var environment: [String: String]
  /// Whether it may read this process's standard input, to ask a person.
  var sharesStandardInput: Bool

  /// The path of the executable `command`: itself if it has a slash, otherwise found in `PATH`.
  static func path(of command: String, environment: [String: String]) -> String? {
    let candidates =
      command.contains("/")
      ? [command]
      : (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map { "\($0)/\(command)" }
    return candidates.first { access($0, X_OK) == 0 }
  }

  /// Runs the program once; nil when the time limit ended it.
  func run(timeLimit: Duration, timeSource: any TimeSource) async throws -> Result? {
    try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask { try await self.run() }
      group.addTask {
        try await timeSource.sleep(for: timeLimit)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }

  private func run() async throws -> Result {
    do {
      return sharesStandardInput
        ? try await run(input: .currentStandardInput, isInteractive: true)
        : try await run(input: .none, isInteractive: false)
    } catch let error as SubprocessError where error.code == .spawnFailed || error.code == .executableNotFound {
      throw StartFailure(reason: error.underlyingError.map { "\($0)" } ?? "\(error)")
    }
  }

  private func run(input: some InputProtocol, isInteractive: Bool) async throws -> Result {
    var options = PlatformOptions()
    // In a group of its own its children are killed with it; but only the foreground group may read a terminal.
    if !isInteractive { options.processGroupID = 0 }
    let ended = try await Subprocess.run(
      .path(FilePath(path)), arguments: Arguments(arguments),
      environment: .custom(environment.map { Array("\($0)=\($1)\0".utf8) }),
      platformOptions: options, input: input, output: .sequence, error: .sequence
    ) { execution in
      async let output = Self.collect(execution.standardOutput)
      async let error = Self.collect(execution.standardError)
      return (output: try await output, error: try await error)
    }
    try Task.checkCancellation()
    let status =
      switch ended.terminationStatus {
      case .exited(let code): code
      case .signaled(let signal): 128 + signal
      }
    return Result(
      status: status, standardOutput: ended.closureResult.output, standardError: ended.closureResult.error)
  }

  private static func collect(_ pieces: SubprocessOutputSequence) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    for try await piece in pieces where bytes.count < maximumBytes {
      piece.withUnsafeBytes { bytes += $0.prefix(maximumBytes - bytes.count) }
    }
    return bytes
  }
}
