#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a process knows of itself: the shell of `SwarmEnvironment`.
package enum ProcessFacts {
  /// The largest file that is read, in bytes; tokens of Kubernetes have about 1,000.
  private static let largestText = 65_536

  /// The value of an environment variable; nil: it isn't set.
  package static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// Whether a file is there and may be read.
  package static func fileExists(_ path: String) -> Bool { access(path, R_OK) == 0 }

  /// The token in a file, without white space around it; nil: there is none. It is read anew each time, because
  /// projected tokens are renewed, and it must never be logged.
  package static func token(_ path: String) -> String? { text(path) }

  /// How many processors this process may run on at once.
  package static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

  /// The text of a small file, without white space around it; nil: there is none, or it is empty.
  package static func text(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4_096)
    while bytes.count < largestText {
      let count = read(file, &piece, piece.count)
      guard count > 0 else { break }
      bytes += piece.prefix(count)
    }
    func isSpace(_ byte: UInt8) -> Bool { byte <= 0x20 }
    let text = bytes.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
    return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
  }

  /// The name of this machine or container; in a pod that of the pod.
  package static func hostName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "worker" }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// A name that no other process has had.
  package static func incarnation() -> String {
    String(UInt64.random(in: 1 << 60...UInt64.max), radix: 16)
  }
}
