/// One finding about one field of a document, worded as a compiler would: what is there, what is allowed, how to mend it.
package struct FieldIssue: Hashable, Sendable, Codable, CustomStringConvertible {
  /// How grave a finding is.
  package enum Severity: String, Hashable, Sendable, Codable {
    /// The object can't be used as it stands.
    case error
    /// The object works, though perhaps not as its author thinks.
    case warning
  }

  /// The kind of finding, in the API machinery's words.
  package enum Kind: String, Hashable, Sendable, Codable {
    /// The field must be set.
    case required
    /// The value is out of range or malformed.
    case invalid
    /// The value is none of the choices.
    case notSupported
    /// The field must not be set here.
    case forbidden
    /// The value stands there twice.
    case duplicate
    /// No such field.
    case unknownField
    /// The value is of the wrong JSON type.
    case wrongType
    /// Allowed, but worth a thought.
    case advice
  }

  /// How grave it is.
  package var severity: Severity
  /// The kind of finding.
  package var kind: Kind
  /// The field, such as `spec.metrics[1].resource.target.lower`.
  package var path: String
  /// The value found, as text cut to 80 characters; empty when the field is absent.
  package var value: String
  /// What is wrong and what is allowed.
  package var message: String
  /// What to write instead.
  package var fix: String

  /// Makes a finding.
  package init(
    _ kind: Kind, severity: Severity = .error, path: String, value: String = "", message: String, fix: String
  ) {
    self.severity = severity
    self.kind = kind
    self.path = path
    self.value = value.utf8.count > 80 ? String(value.prefix(79)) + "…" : value
    self.message = message
    self.fix = fix
  }

  /// `path: error: message (found "value"). Fix: fix`.
  package var description: String {
    let found = value.isEmpty ? "" : " (found \"\(value)\")"
    return "\(path): \(severity.rawValue): \(message)\(found). Fix: \(fix)."
  }
}

extension [FieldIssue] {
  /// The findings that make the object unusable.
  package var errors: [FieldIssue] { filter { $0.severity == .error } }
  /// The findings that only deserve attention.
  package var warnings: [FieldIssue] { filter { $0.severity == .warning } }

  /// Without "is missing" where decoding left the field out itself, or a misspelt or broken neighbour of it: one mistake
  /// makes one finding.
  func withoutEchoes(of decoding: [FieldIssue]) -> [FieldIssue] {
    let broken = decoding.errors.map(\.path)
    return filter { issue in
      guard issue.kind == .required else { return true }
      let parent = String(issue.path[..<(issue.path.lastIndex(of: ".") ?? issue.path.startIndex)])
      return !broken.contains { path in
        path == issue.path || path == parent
          || (parent.contains(".") && path.hasPrefix(parent + ".") && !path.dropFirst(parent.count + 1).contains("."))
      }
    }
  }
}
