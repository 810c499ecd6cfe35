/// A label selector in its text form (`app=x,tier in (a,b),!canary`), as a scale's status carries it.
///
/// Source: `Requirement`, `NewRequirement` and `Matches` of `k8s.io/apimachinery/pkg/labels/selector.go`.
package struct HPALabelSelector: Hashable, Sendable {
  /// An operator between a key and its values.
  enum Operator: Hashable, Sendable {
    case isIn, notIn, exists, doesNotExist, greaterThan, lessThan
  }

  /// One condition; a selector is the conjunction of all of its conditions.
  struct Requirement: Hashable, Sendable {
    var key: String
    var `operator`: Operator
    var values: [String]

    /// Makes a requirement, or throws where `labels.NewRequirement` does.
    init(key: String, operator: Operator, values: [String]) throws(HPASelectorError) {
      guard LabelSyntax.qualifiedNameProblems(key) == 0 else {
        throw HPASelectorError(message: "key: Invalid value: \"\(key)\"")
      }
      switch `operator` {
      case .isIn, .notIn:
        guard !values.isEmpty else {
          throw HPASelectorError(message: "values: for 'in', 'notin' operators, values set can't be empty")
        }
      case .exists, .doesNotExist:
        guard values.isEmpty else {
          throw HPASelectorError(message: "values: values set must be empty for exists and does not exist")
        }
      case .greaterThan, .lessThan:
        guard values.count == 1, Int64(values[0]) != nil else {
          throw HPASelectorError(message: "values: for 'Gt', 'Lt' operators, exactly one integer is required")
        }
      }
      for value in values where !LabelSyntax.isLabelValue(value) {
        throw HPASelectorError(message: "values[0][\(key)]: Invalid value: \"\(value)\"")
      }
      (self.key, self.operator, self.values) = (key, `operator`, values)
    }

    func matches(_ labels: [String: String]) -> Bool {
      let value = labels[key]
      switch `operator` {
      case .isIn: return value.map(values.contains) ?? false
      case .notIn: return !(value.map(values.contains) ?? false)
      case .exists: return value != nil
      case .doesNotExist: return value == nil
      case .greaterThan, .lessThan:
        guard let value, let number = Int64(value), let limit = Int64(values[0]) else { return false }
        return `operator` == .greaterThan ? number > limit : number < limit
      }
    }
  }

  var requirements: [Requirement]

  /// Reads a selector's text, or throws where `labels.Parse` does; the empty text selects everything.
  package init(_ text: String) throws(HPASelectorError) {
    var parser = LabelSelectorParser(text)
    requirements = try parser.requirements()
  }

  /// Whether an object with these labels is selected.
  package func matches(_ labels: [String: String]) -> Bool {
    requirements.allSatisfy { $0.matches(labels) }
  }
}

/// A selector that cannot be read, with the parser's reason.
package struct HPASelectorError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong.
  package var message: String
  /// What is wrong.
  package var description: String { message }
}

/// The selector of a metric's series (`metav1.LabelSelector`).
package struct HPAMetricSelector: Codable, Hashable, Sendable {
  /// Labels that must be equal.
  package var matchLabels: [String: String]?
  /// Further conditions.
  package var matchExpressions: [Expression]?

  /// One condition (`metav1.LabelSelectorRequirement`).
  package struct Expression: Codable, Hashable, Sendable {
    /// The label's key.
    package var key: String
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    package var `operator`: String
    /// The values of `In` and `NotIn`.
    package var values: [String]?

    /// Makes a condition.
    package init(key: String, operator: String, values: [String]? = nil) {
      self.key = key
      self.operator = `operator`
      self.values = values
    }
  }

  /// Makes a selector.
  package init(matchLabels: [String: String]? = nil, matchExpressions: [Expression]? = nil) {
    self.matchLabels = matchLabels
    self.matchExpressions = matchExpressions
  }

  /// Throws where `metav1.LabelSelectorAsSelector` does; the series themselves are chosen by the metrics API.
  func validate() throws(HPASelectorError) {
    for (key, value) in (matchLabels ?? [:]).sorted(by: { $0.key < $1.key }) {
      _ = try HPALabelSelector.Requirement(key: key, operator: .isIn, values: [value])
    }
    for expression in matchExpressions ?? [] {
      let operators: [String: HPALabelSelector.Operator] = [
        "In": .isIn, "NotIn": .notIn, "Exists": .exists, "DoesNotExist": .doesNotExist,
      ]
      guard let known = operators[expression.operator] else {
        throw HPASelectorError(message: "\"\(expression.operator)\" is not a valid label selector operator")
      }
      _ = try HPALabelSelector.Requirement(key: expression.key, operator: known, values: expression.values ?? [])
    }
  }
}

/// The recursive-descent parser of `labels.Parse`.
private struct LabelSelectorParser {
  private var tokens: [String]
  private var position = 0

  init(_ text: String) {
    tokens = []
    var word = ""
    var rest = text[...]
    func isSymbol(_ character: Character) -> Bool { "=!(),><".contains(character) }
    while let character = rest.first {
      let isSpace = character == " " || character == "\t" || character == "\r" || character == "\n"
      guard isSpace || isSymbol(character) else {
        word.append(character)
        rest = rest.dropFirst()
        continue
      }
      if !word.isEmpty { tokens.append(word) }
      word = ""
      let length = rest.hasPrefix("==") || rest.hasPrefix("!=") ? 2 : 1
      if !isSpace { tokens.append(String(rest.prefix(length))) }
      rest = rest.dropFirst(length)
    }
    if !word.isEmpty { tokens.append(word) }
  }

  mutating func requirements() throws(HPASelectorError) -> [HPALabelSelector.Requirement] {
    var result: [HPALabelSelector.Requirement] = []
    guard peek != nil else { return result }
    while true {
      guard startsRequirement(peek) else {
        throw HPASelectorError(message: "found '\(peek ?? "")', expected: !, identifier, or 'end of string'")
      }
      do throws(HPASelectorError) {
        result.append(try requirement())
      } catch {
        throw HPASelectorError(message: "unable to parse requirement: \(error.message)")
      }
      guard let separator = next() else { return result }
      guard separator == "," else {
        throw HPASelectorError(message: "found '\(separator)', expected: ',' or 'end of string'")
      }
      guard startsRequirement(peek) else {
        throw HPASelectorError(message: "found '\(peek ?? "")', expected: identifier after ','")
      }
    }
  }

  private var peek: String? { position < tokens.count ? tokens[position] : nil }

  private mutating func next() -> String? {
    defer { position += 1 }
    return peek
  }

  private func isIdentifier(_ token: String?) -> Bool {
    guard let first = token?.first else { return false }
    return !"=!(),><".contains(first)
  }

  private func startsRequirement(_ token: String?) -> Bool { token == "!" || isIdentifier(token) }

  private mutating func requirement() throws(HPASelectorError) -> HPALabelSelector.Requirement {
    var token = next()
    let isNegated = token == "!"
    if isNegated { token = next() }
    guard let key = token, isIdentifier(key) else {
      throw HPASelectorError(message: "found '\(token ?? "")', expected: identifier")
    }
    guard LabelSyntax.qualifiedNameProblems(key) == 0 else {
      throw HPASelectorError(message: "key: Invalid value: \"\(key)\"")
    }
    if isNegated {
      return try HPALabelSelector.Requirement(key: key, operator: .doesNotExist, values: [])
    }
    if peek == nil || peek == "," {
      return try HPALabelSelector.Requirement(key: key, operator: .exists, values: [])
    }
    let `operator` = next()
    switch `operator` {
    case "in": return try .init(key: key, operator: .isIn, values: try values())
    case "notin": return try .init(key: key, operator: .notIn, values: try values())
    case "=", "==": return try .init(key: key, operator: .isIn, values: [try exactValue()])
    case "!=": return try .init(key: key, operator: .notIn, values: [try exactValue()])
    case ">": return try .init(key: key, operator: .greaterThan, values: [try exactValue()])
    case "<": return try .init(key: key, operator: .lessThan, values: [try exactValue()])
    default:
      throw HPASelectorError(message: "found '\(`operator` ?? "")', expected: in, notin, =, ==, !=, gt, lt")
    }
  }

  private mutating func exactValue() throws(HPASelectorError) -> String {
    if peek == nil || peek == "," { return "" }
    let token = next()
    guard let value = token, isIdentifier(value) else {
      throw HPASelectorError(message: "found '\(token ?? "")', expected: identifier")
    }
    return value
  }

  /// The values between parentheses; an empty place between commas is the empty string.
  private mutating func values() throws(HPASelectorError) -> [String] {
    let open = next()
    guard open == "(" else { throw HPASelectorError(message: "found '\(open ?? "")' expected: '('") }
    if peek == ")" {
      _ = next()
      return []
    }
    var result: [String] = []
    var isValueExpected = true
    while let token = next() {
      switch token {
      case ")":
        if isValueExpected { result.append("") }
        return result
      case ",":
        if isValueExpected { result.append("") }
        isValueExpected = true
      case _ where isIdentifier(token) && isValueExpected:
        result.append(token)
        isValueExpected = false
      default:
        throw HPASelectorError(message: "found '\(token)', expected: ',' or ')'")
      }
    }
    throw HPASelectorError(message: "found '', expected: ',', ')' or identifier")
  }
}
