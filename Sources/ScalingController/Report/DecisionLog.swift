package import KubernetesCore
package import Logging
import Observability
import ScalingAPI
package import ScalingDecision
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The decision log: one JSON line for each decision, appended to a file.
///
/// Each record is one `write(2)` in append mode, so that a reader sees whole lines. The log never stops scaling: when it
/// can't be written (a full disk, a folder that is gone), that is logged once, records are lost until it can be written
/// again, and then their number is logged. A file that was renamed or removed by log rotation is made anew with the next
/// record; no signal is needed.
package final class DecisionLog: Sendable {
  private struct State {
    var descriptor: Int32
    /// Whether the last line has no end, because the disk was full in the middle of it.
    var endsInsideLine = false
    /// Records lost since the first failure; nil while all is well.
    var lost: Int?
  }

  /// What a person should know after a record.
  private enum News {
    case failed(String)
    case recovered(lost: Int)
  }

  private let path: String
  private let program: String
  private let logger: Logger
  private let state: Mutex<State>

  /// Opens (or makes) the file; throws when that isn't possible, since a path that never worked is a mistake.
  package init(path: String, program: String, logger: Logger) throws(KubernetesError) {
    self.path = path
    self.program = program
    self.logger = logger
    let descriptor = Self.open(path)
    guard descriptor >= 0 else {
      throw KubernetesError(
        .misconfigured, "the decision log \(path) can't be opened for appending: \(Self.lastError)")
    }
    state = Mutex(State(descriptor: descriptor))
  }

  deinit {
    let descriptor = state.withLock { $0.descriptor }
    if descriptor >= 0 { _ = close(descriptor) }
  }

  /// Appends the decisions of a pass.
  package func append(_ pass: Pass) {
    guard let spec = pass.compiled?.decision else { return }
    for decision in pass.decisions {
      append(
        DecisionRecord(
          program: program, namespace: pass.autoscaler.metadata.namespace, name: pass.autoscaler.metadata.name,
          spec: spec, stateBefore: decision.stateBefore, input: decision.input, plan: decision.plan))
    }
  }

  /// Appends one record.
  package func append(_ record: DecisionRecord) {
    let line: [UInt8]
    do throws(KubernetesError) {
      line = try record.line()
    } catch {
      logger.error("a decision can't be recorded", metadata: [LogKey.error: "\(error.message)"])
      return
    }
    let news = state.withLock { state in
      let failure = write(line, &state)
      switch (failure, state.lost) {
      case (nil, nil): return News?.none
      case (nil, let lost?):
        state.lost = nil
        return .recovered(lost: lost)
      case (let failure?, nil):
        state.lost = 1
        return .failed(failure)
      case (_?, let lost?):
        state.lost = lost + 1
        return nil
      }
    }
    switch news {
    case .failed(let error):
      logger.error(
        "the decision log can't be written; scaling goes on and decisions go unrecorded until it can",
        metadata: [LogKey.file: "\(path)", LogKey.error: "\(error)"])
    case .recovered(let lost):
      logger.notice(
        "the decision log is written again; records were lost",
        metadata: [LogKey.file: "\(path)", LogKey.count: "\(lost)"])
    case nil: break
    }
  }

  /// Writes a line; gives the failure in words.
  private func write(_ line: [UInt8], _ state: inout State) -> String? {
    if wasRotatedAway(state.descriptor) {
      let fresh = Self.open(path)
      guard fresh >= 0 else { return Self.lastError }
      if state.descriptor >= 0 { _ = close(state.descriptor) }
      state.descriptor = fresh
      state.endsInsideLine = false
    }
    // A line that was cut off stays a broken line of its own and doesn't take the next one with it.
    let bytes = state.endsInsideLine ? [UInt8(ascii: "\n")] + line : line
    var offset = 0
    while offset < bytes.count {
      let written = bytes.withUnsafeBytes { buffer in
        Self.write(state.descriptor, UnsafeRawBufferPointer(rebasing: buffer[offset...]))
      }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else {
        let failure = written < 0 ? Self.lastError : "nothing was written"
        if offset > 0 { state.endsInsideLine = true }
        return failure
      }
      offset += written
    }
    state.endsInsideLine = false
    return nil
  }

  /// Whether the path names another file than the open one, or none.
  private func wasRotatedAway(_ descriptor: Int32) -> Bool {
    var opened = stat()
    var named = stat()
    guard descriptor >= 0, fstat(descriptor, &opened) == 0, stat(path, &named) == 0 else { return true }
    return opened.st_ino != named.st_ino || opened.st_dev != named.st_dev
  }

  private static var lastError: String { String(cString: strerror(errno)) }

  private static func open(_ path: String) -> Int32 {
    #if canImport(Glibc)
      Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
    #elseif canImport(Musl)
      Musl.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
    #else
      Darwin.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
    #endif
  }

  private static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    #if canImport(Glibc)
      Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    #elseif canImport(Musl)
      Musl.write(descriptor, bytes.baseAddress, bytes.count)
    #else
      Darwin.write(descriptor, bytes.baseAddress, bytes.count)
    #endif
  }
}
