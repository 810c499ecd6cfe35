#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An open log file, which stays readable when it is renamed by rotation.
final class LogFile {
  private let descriptor: Int32

  /// Opens a file; nil when there is none.
  init?(_ path: String) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
  }

  deinit { close(descriptor) }

  /// The next bytes; nil at the end of what there is now.
  func read() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let got = systemRead(descriptor, &buffer, buffer.count)
    return got > 0 ? Array(buffer.prefix(got)) : nil
  }

  /// Whether the file is the one at `path`, not one that was renamed since.
  func isStill(at path: String) -> Bool {
    var (mine, other) = (stat(), stat())
    guard fstat(descriptor, &mine) == 0, stat(path, &other) == 0 else { return true }
    return mine.st_ino == other.st_ino && mine.st_dev == other.st_dev
  }

  /// Moves to where the last `lines` lines begin, or to the file's beginning; gives the number of lines from there on.
  func seek(beforeLast lines: Int) -> Int {
    let end = lseek(descriptor, 0, SEEK_END)
    guard lines > 0 else { return 0 }
    var position = end
    var found = 0
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while position > 0 {
      let count = min(Int(position), buffer.count)
      position -= off_t(count)
      guard pread(descriptor, &buffer, count, position) == count else { break }
      for place in stride(from: count - 1, through: 0, by: -1) where buffer[place] == UInt8(ascii: "\n") {
        // The one at the very end ends the last line; each further one ends the line before a counted one.
        if position + off_t(place) == end - 1 { continue }
        found += 1
        if found == lines {
          lseek(descriptor, position + off_t(place) + 1, SEEK_SET)
          return found
        }
      }
    }
    lseek(descriptor, 0, SEEK_SET)
    return end > 0 ? found + 1 : 0
  }
}

// The class's own method hides the system's function.
private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
  read(descriptor, bytes, count)
}
