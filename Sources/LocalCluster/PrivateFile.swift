#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Files that only their owner may read, written all at once or not at all.
enum PrivateFile {
  /// Writes a file beside its place, makes sure that it is on the disk, and moves it there.
  static func write(_ bytes: [UInt8], to path: String) throws(LocalClusterError) {
    let draft = "\(path).\(getpid()).new"
    unlink(draft)
    let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("create", draft) }
    do throws(LocalClusterError) {
      var start = 0
      while start < bytes.count {
        let count = bytes[start...].withUnsafeBytes { posixWrite(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw failure("write", draft) }
        start += count
      }
      guard fsync(descriptor) == 0 else { throw failure("write", draft) }
      guard rename(draft, path) == 0 else { throw failure("put in place", path) }
    } catch {
      close(descriptor)
      unlink(draft)
      throw error
    }
    close(descriptor)
  }

  /// The bytes of a file; nil when there is none.
  static func read(_ path: String) throws(LocalClusterError) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw failure("read", path)
    }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = buffer.withUnsafeMutableBytes { posixRead(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", path) }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }

  private static func failure(_ verb: String, _ path: String) -> LocalClusterError {
    LocalClusterError("Can't \(verb) \(path): \(String(cString: strerror(errno))).")
  }
}

// Inside `PrivateFile` the names `read` and `write` are its own.
private func posixWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

private func posixRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  read(descriptor, bytes, count)
}
