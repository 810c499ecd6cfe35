import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Makes a folder the own one of a single process; the system lets go when that ends, however it ends.
final class FolderLock: Sendable {
  private let descriptor: Mutex<Int32?>

  init(_ folder: String) throws(NodeError) {
    try Files.makeFolder(folder)
    let path = "\(folder)/lock"
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw NodeError.system("open \(path)", errno) }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      close(file)
      throw NodeError("Another node uses the folder \(folder). End it, or give this one a folder of its own.")
    }
    descriptor = Mutex(file)
  }

  deinit { release() }

  /// Lets the folder go.
  func release() {
    descriptor.withLock { descriptor in
      if let file = descriptor {
        // A child on its way from fork to exec holds a copy: closing alone would let go only when that is gone.
        flock(file, LOCK_UN)
        close(file)
      }
      descriptor = nil
    }
  }
}
