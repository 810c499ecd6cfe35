#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Something that keeps the node, or one container, from working.
package struct NodeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What happened and what to do about it.
  package var message: String

  /// Makes an error.
  package init(_ message: String) { self.message = message }

  package var description: String { message }

  /// A call of the operating system that failed with the error number `code`.
  static func system(_ what: String, _ code: Int32) -> NodeError {
    var hint = ""
    if code == EMFILE || code == ENFILE { hint = " Raise the limit of open files (ulimit -n)." }
    if code == EAGAIN || code == ENOMEM { hint = " The machine has no room for more processes; run fewer pods." }
    if code == ENOSPC { hint = " Make room on the disk." }
    return NodeError("Can't \(what): \(text(of: code)).\(hint)")
  }

  /// The system's words for an error number.
  static func text(of code: Int32) -> String { String(cString: strerror(code)) }
}
