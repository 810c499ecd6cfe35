package import KubernetesCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A small file that is kept in memory and read again when it has changed.
///
/// Looks at the file's identity (inode, size, time of change) at most every `checkInterval`: Kubernetes replaces
/// projected files by swapping a symbolic link, which changes the inode.
package final class WatchedFile: Sendable {
  /// The file's path.
  package let path: String
  /// What is in it, for messages: "the bearer token".
  private let purpose: String
  private let timeSource: any TimeSource
  private let checkInterval: Duration
  private let state = Mutex(State())

  /// The largest file accepted: a bundle of all public authorities has 250 KB.
  private static let maximumBytes = 4 << 20

  private struct State {
    var contents: [UInt8]?
    var identity: Identity?
    var checkedAt: MonotonicTime?
  }

  private struct Identity: Equatable {
    var device: UInt64
    var inode: UInt64
    var size: Int64
    var seconds: Int64
    var nanoseconds: Int64
  }

  /// Makes a watched file; nothing is read yet.
  package init(path: String, purpose: String, timeSource: any TimeSource, checkInterval: Duration = .seconds(2)) {
    self.path = path
    self.purpose = purpose
    self.timeSource = timeSource
    self.checkInterval = checkInterval
  }

  /// The file's bytes as of at most `checkInterval` ago, or as of now with `forceRefresh`.
  ///
  /// When a file that was once read can't be read any more the last contents stay in use: in the middle of a
  /// rotation a file may be missing for a moment.
  package func contents(forceRefresh: Bool = false) throws -> [UInt8] {
    let now = timeSource.monotonicNow
    return try state.withLock { state in
      if !forceRefresh, let contents = state.contents, let checkedAt = state.checkedAt,
        now - checkedAt < checkInterval
      {
        return contents
      }
      state.checkedAt = now
      do {
        let (bytes, identity) = try Self.read(
          path: path, purpose: purpose, ifChangedFrom: state.contents == nil ? nil : state.identity)
        if let bytes {
          state.contents = bytes
          state.identity = identity
        }
      } catch {
        if state.contents == nil { throw error }
      }
      return state.contents ?? []
    }
  }

  /// The bytes of the file at `path`, read once; `purpose` says in the error what should be in it.
  package static func read(path: String, purpose: String) throws -> [UInt8] {
    try read(path: path, purpose: purpose, ifChangedFrom: nil).bytes ?? []
  }

  /// True when there is something at `path`.
  package static func exists(path: String) -> Bool { access(path, F_OK) == 0 }

  private static func read(
    path: String, purpose: String, ifChangedFrom known: Identity?
  ) throws -> (bytes: [UInt8]?, identity: Identity) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw unreadable(path, purpose, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw unreadable(path, purpose, errno) }
    let identity = makeIdentity(of: status)
    if identity == known { return (nil, identity) }
    guard identity.size <= maximumBytes else {
      throw KubernetesError(
        .misconfigured, "The file \(path) with \(purpose) has \(identity.size) bytes; more than 4 MiB can't be right.")
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16384)
    while bytes.count <= maximumBytes {
      let count = buffer.withUnsafeMutableBytes { systemRead(descriptor, $0) }
      if count < 0 {
        if errno == EINTR { continue }
        throw unreadable(path, purpose, errno)
      }
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    return (bytes, identity)
  }

  private static func makeIdentity(of status: stat) -> Identity {
    #if canImport(Darwin)
      let modified = status.st_mtimespec
    #else
      let modified = status.st_mtim
    #endif
    return Identity(
      device: UInt64(truncatingIfNeeded: status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
      seconds: Int64(modified.tv_sec), nanoseconds: Int64(modified.tv_nsec))
  }

  private static func unreadable(_ path: String, _ purpose: String, _ number: Int32) -> KubernetesError {
    KubernetesError(
      .misconfigured,
      "Can't read the file \(path) with \(purpose): \(String(cString: strerror(number))). "
        + "Check that it exists and that this process may read it.")
  }
}

private func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
  read(descriptor, buffer.baseAddress, buffer.count)
}
