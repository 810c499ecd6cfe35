import Foundation
import KubernetesCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One run of a program whose output is collected, within a time limit.
///
/// The program is killed when the task is cancelled or the time is over; the caller then goes on at once. A daemon
/// that it leaves behind with our descriptors open holds the result up until then, as it does with kubectl.
final class ChildProcess: Sendable {
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

  private enum State {
    case idle
    case running(pid_t, CheckedContinuation<Void, any Error>)
    case ended
    /// Killed before it was started.
    case cancelled
  }

  private let path: String
  private let arguments: [String]
  private let environment: [String: String]
  private let sharesStandardInput: Bool
  private let state = Mutex(State.idle)

  /// Describes a run; nothing is started yet.
  init(path: String, arguments: [String], environment: [String: String], sharesStandardInput: Bool) {
    self.path = path
    self.arguments = arguments
    self.environment = environment
    self.sharesStandardInput = sharesStandardInput
  }

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
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = environment
    if !sharesStandardInput { process.standardInput = FileHandle.nullDevice }
    let output = try CollectedPipe()
    let error = try CollectedPipe()
    process.standardOutput = output.pipe
    process.standardError = error.pipe
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        start(process, continuation)
      }
    } onCancel: {
      kill()
    }
    let standardOutput = output.finish()
    let standardError = error.finish()
    try Task.checkCancellation()
    let bySignal = process.terminationReason == .uncaughtSignal
    return Result(
      status: process.terminationStatus + (bySignal ? 128 : 0), standardOutput: standardOutput,
      standardError: standardError)
  }

  /// Starts `process`; `continuation` is resumed once, by whichever comes first: the end, `kill()`, or a failed start.
  private func start(_ process: Process, _ continuation: CheckedContinuation<Void, any Error>) {
    process.terminationHandler = { _ in
      self.takeContinuation()?.resume()
    }
    let failure: (any Error)? = state.withLock { state in
      if case .cancelled = state { return CancellationError() }
      do {
        // Inside the lock, so that neither the end nor `kill()` can come before the state says that it runs.
        try process.run()
        state = .running(process.processIdentifier, continuation)
        return nil
      } catch {
        state = .ended
        return StartFailure(reason: error.localizedDescription)
      }
    }
    if let failure { continuation.resume(throwing: failure) }
  }

  private func takeContinuation() -> CheckedContinuation<Void, any Error>? {
    state.withLock { state in
      guard case .running(_, let continuation) = state else { return nil }
      state = .ended
      return continuation
    }
  }

  private func kill() {
    let continuation: CheckedContinuation<Void, any Error>? = state.withLock { state in
      switch state {
      case .running(let pid, let continuation):
        // Foundation reaps the child and then reports the end; only between these two could the number be another's.
        _ = systemKill(pid)
        state = .ended
        return continuation
      case .idle:
        state = .cancelled
        return nil
      case .ended, .cancelled: return nil
      }
    }
    continuation?.resume(throwing: CancellationError())
  }
}

/// The reading end of a child's output.
private final class CollectedPipe: Sendable {
  let pipe = Pipe()
  private let bytes = Mutex<[UInt8]>([])

  /// More is read but not kept.
  private static let maximumBytes = 1 << 20

  init() throws {
    let descriptor = pipe.fileHandleForReading.fileDescriptor
    guard descriptor >= 0, fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
      throw ChildProcess.StartFailure(reason: "no file descriptor is left")
    }
    pipe.fileHandleForReading.readabilityHandler = { [weak self] handle in
      // At the end a handler that stays would be called without pause.
      if self?.drain() ?? true { handle.readabilityHandler = nil }
    }
  }

  /// What was written until now; ends the reading.
  func finish() -> [UInt8] {
    pipe.fileHandleForReading.readabilityHandler = nil
    _ = drain()
    return bytes.withLock { $0 }
  }

  /// Reads what is there; true at the end. Inside the lock, so that two readers can't swap pieces.
  private func drain() -> Bool {
    let descriptor = pipe.fileHandleForReading.fileDescriptor
    return bytes.withLock { bytes in
      var buffer = [UInt8](repeating: 0, count: 16384)
      while true {
        let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count == 0 { return true }
        if count < 0 {
          if errno == EINTR { continue }
          return errno != EAGAIN
        }
        if bytes.count < Self.maximumBytes { bytes += buffer[..<count] }
      }
    }
  }
}

private func systemKill(_ pid: pid_t) -> Int32 { kill(pid, SIGKILL) }
