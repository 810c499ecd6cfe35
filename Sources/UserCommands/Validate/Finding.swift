package import ScalingAPI

/// One line of a validation's result.
package struct Finding: Hashable, Sendable, Encodable {
  /// How grave it is.
  package enum Severity: String, Hashable, Sendable, Encodable {
    /// The object can't be used.
    case error
    /// The object works, though perhaps not as its author thinks.
    case warning
    /// For information.
    case note
  }

  /// The file as named on the command line.
  package var file: String
  /// The line; nil where there is none.
  package var line: Int?
  /// The object, such as `SwarmAutoscaler default/reviewers`; empty where none was recognised.
  package var object: String
  /// How grave it is.
  package var severity: Severity
  /// The field; empty for the whole document.
  package var path: String
  /// The value found.
  package var value: String
  /// What is wrong and what is allowed.
  package var message: String
  /// What to write instead.
  package var fix: String

  /// Makes a finding about a whole file or document.
  package init(file: String, line: Int?, object: String = "", _ severity: Severity, _ message: String, fix: String = "")
  {
    self.file = file
    self.line = line
    self.object = object
    self.severity = severity
    self.path = ""
    self.value = ""
    self.message = message
    self.fix = fix
  }

  /// Takes over the finding about a field.
  package init(file: String, line: Int, object: String, path: String, _ issue: FieldIssue) {
    self.file = file
    self.line = line
    self.object = object
    severity = issue.severity == .error ? .error : .warning
    self.path = path
    value = issue.value
    message = issue.message
    fix = issue.fix
  }

  /// `file:line: path: error: message (found "value"). Fix: fix.`
  package var text: String {
    var text = file
    if let line { text += ":\(line)" }
    if !path.isEmpty { text += ": \(path)" }
    text += ": \(severity.rawValue): \(message)"
    if !value.isEmpty { text += " (found \"\(value)\")" }
    text += "."
    if !fix.isEmpty { text += " Fix: \(fix)." }
    return text
  }
}
