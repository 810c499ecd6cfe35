#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The few things that the node does with files.
enum Files {
  /// Makes a folder and those above it; one that exists is fine.
  static func makeFolder(_ path: String, mode: mode_t = 0o700) throws(NodeError) {
    if mkdir(path, mode) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
      throw NodeError.system("make the folder \(path)", errno)
    }
    try makeFolder(String(path[..<slash]), mode: mode)
    guard mkdir(path, mode) == 0 || errno == EEXIST else { throw NodeError.system("make the folder \(path)", errno) }
  }

  /// Replaces a file at once, so that a reader sees the old or the new content.
  static func write(_ bytes: [UInt8], to path: String, mode: mode_t) throws(NodeError) {
    let temporary = path + ".new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw NodeError.system("write \(path)", errno) }
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else {
        let code = errno
        close(descriptor)
        unlink(temporary)
        throw NodeError.system("write \(path)", code)
      }
      rest = rest.dropFirst(written)
    }
    fchmod(descriptor, mode)
    close(descriptor)
    guard rename(temporary, path) == 0 else { throw NodeError.system("write \(path)", errno) }
  }

  /// Reads a small file, such as those of /proc; nil when there is none.
  static func read(_ path: String, limit: Int = 1 << 20) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count < limit {
      let got = systemRead(descriptor, &buffer, buffer.count)
      if got < 0 && errno == EINTR { continue }
      if got <= 0 { break }
      bytes += buffer.prefix(got)
    }
    return bytes
  }

  /// The names in a folder, sorted; none when it can't be read.
  static func names(in folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) {
          String(cString: $0)
        }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Removes a file or a folder with everything in it; follows no links, and leaves what it may not remove.
  static func remove(_ path: String) {
    if unlink(path) == 0 || errno == ENOENT { return }
    for name in names(in: path) { remove("\(path)/\(name)") }
    rmdir(path)
  }

  /// Whether there is something at a path, and whether it is a folder.
  static func kind(of path: String) -> (exists: Bool, isFolder: Bool) {
    var facts = stat()
    guard stat(path, &facts) == 0 else { return (false, false) }
    return (true, facts.st_mode & S_IFMT == S_IFDIR)
  }
}

// The type's own names hide the system's.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  read(descriptor, bytes, count)
}
