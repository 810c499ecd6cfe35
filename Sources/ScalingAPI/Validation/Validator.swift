import KubernetesCore

/// Collects findings while a spec is walked; the rules' vocabulary.
struct Validator {
  /// The findings so far, in the order of the fields.
  private(set) var issues: [FieldIssue] = []

  /// Adds a finding.
  mutating func report(
    _ kind: FieldIssue.Kind, _ path: String, value: String = "", _ message: String, fix: String
  ) {
    issues.append(FieldIssue(kind, path: path, value: value, message: message, fix: fix))
  }

  /// Adds a warning.
  mutating func advise(_ path: String, value: String = "", _ message: String, fix: String) {
    issues.append(FieldIssue(.advice, severity: .warning, path: path, value: value, message: message, fix: fix))
  }

  /// Adds findings made elsewhere.
  mutating func add(_ more: [FieldIssue]) { issues += more }

  /// The number, when it is absent or in `range`; otherwise a finding.
  mutating func check(_ value: Int32?, in range: ClosedRange<Int32>, at path: String, unit: String = "") {
    guard let value, !range.contains(value) else { return }
    let nearest = min(max(value, range.lowerBound), range.upperBound)
    let allowed =
      range.upperBound == .max
      ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
    report(
      .invalid, path, value: "\(value)", "it must be \(allowed)\(unit.isEmpty ? "" : " \(unit)")",
      fix: "write \(nearest)")
  }

  /// A finding when a required value is absent.
  mutating func require(_ value: (some Any)?, at path: String, _ what: String, fix: String) {
    if value == nil { report(.required, path, "\(what) is missing", fix: fix) }
  }

  /// A finding for an absent, empty or unusable name; `/` and `%` would break the path of requests.
  mutating func checkName(_ name: String?, at path: String, _ what: String, example: String) {
    guard let name, !name.isEmpty else {
      report(.required, path, "\(what) is missing", fix: "write it, such as \(example)")
      return
    }
    if name == "." || name == ".." || name.contains("/") || name.contains("%") {
      report(
        .invalid, path, value: name, "a name is neither \".\" nor \"..\" and contains neither / nor %",
        fix: "write the bare name, such as \(example)")
    }
  }

  /// The choice; a finding when the text is none, or when it is absent and `required`.
  mutating func check<Known: KnownText>(
    _ value: Open<Known>?, at path: String, kind: FieldIssue.Kind = .notSupported, required: Bool = false
  ) -> Known? {
    let choices = Known.allCases.map(\.rawValue)
    switch value {
    case nil, .unknown("")?:
      if required {
        report(
          .required, path, "it is missing; the choices are \(choices.joined(separator: ", "))",
          fix: "write one of them, such as \(choices[0])")
      }
      return nil
    case .unknown(let text)?:
      report(
        kind, path, value: text, "there is no such choice; the choices are \(choices.joined(separator: ", "))",
        fix: "write \(closestText(to: text, in: choices) ?? "one of them")")
      return nil
    case .known(let known)?: return known
    }
  }

  /// A finding for a quantity that isn't positive.
  mutating func checkPositive(_ quantity: Quantity?, at path: String) {
    guard let quantity, quantity <= .zero else { return }
    report(
      .invalid, path, value: "\(quantity)", "it must be greater than 0", fix: "write a positive number, such as \"4\"")
  }
}
