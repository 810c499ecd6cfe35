/// A text that must never reach a log, an error or a dump: a token or a password.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// The text itself, for the one place that sends it.
  package let value: String

  /// Wraps `value`.
  package init(_ value: String) {
    self.value = value
  }

  package var description: String { "<redacted>" }
  package var debugDescription: String { "<redacted>" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// A PEM text and where it comes from: given outright, or a file that is read anew when it changes.
package enum PEMSource: Hashable, Sendable, CustomStringConvertible {
  /// The PEM text's bytes.
  case data([UInt8])
  /// The path of a PEM file.
  case file(String)

  package var description: String {
    switch self {
    case .data(let bytes): "<\(bytes.count) bytes of PEM>"
    case .file(let path): path
    }
  }
}
