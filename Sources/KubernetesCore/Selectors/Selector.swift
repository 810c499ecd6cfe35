/// A label selector that can match and that prints as text: requirements of which all must hold.
package struct Selector: Hashable, Sendable, CustomStringConvertible {
  /// The requirements, sorted by key.
  package let requirements: [Requirement]

  /// Makes a selector; without requirements it matches everything.
  package init(requirements: [Requirement]) {
    self.requirements = requirements.sorted { ($0.key, $0.description) < ($1.key, $1.description) }
  }

  /// The selector that matches every object.
  package static let everything = Selector(requirements: [])

  /// Whether the selector has no requirement and so matches everything; seldom what a scale target means.
  package var isEmpty: Bool { requirements.isEmpty }

  /// Whether all requirements hold for `labels`.
  package func matches(_ labels: [String: String]) -> Bool {
    requirements.allSatisfy { $0.matches(labels) }
  }

  /// The canonical text, for the query of a request and for comparison.
  package var description: String { requirements.map(\.description).joined(separator: ",") }

  /// One condition on one label.
  package struct Requirement: Hashable, Sendable, CustomStringConvertible {
    /// How the label's value is compared.
    package enum Operator: Hashable, Sendable {
      case equals
      case notEquals
      case `in`
      case notIn
      case exists
      case doesNotExist
      case greaterThan
      case lessThan
    }

    /// The label's key.
    package let key: String
    /// How its value is compared.
    package let `operator`: Operator
    /// What it is compared with: one value for `equals`, `notEquals`, `greaterThan` and `lessThan`, none for the
    /// existence tests; sorted, without duplicates.
    package let values: [String]

    /// Makes a requirement, refusing keys and values that the API server would refuse.
    package init(key: String, operator: Operator, values: [String]) throws(SelectorError) {
      guard LabelSyntax.isKey(key) else {
        throw SelectorError(text: key, problem: "it is not a label key ([prefix/]name, the name at most 63 characters)")
      }
      for value in values where !LabelSyntax.isValue(value) {
        throw SelectorError(
          text: value,
          problem: "it is not a label value (at most 63 letters, digits, '-', '_' and '.', alphanumeric at the ends)"
        )
      }
      let sorted = Set(values).sorted()
      let problem: String? =
        switch `operator` {
        case .equals, .notEquals: sorted.count == 1 ? nil : "it needs exactly one value"
        case .in, .notIn: sorted.isEmpty ? "\"in\" and \"notin\" need at least one value" : nil
        case .exists, .doesNotExist: sorted.isEmpty ? nil : "tests for existence take no values"
        case .greaterThan, .lessThan:
          sorted.count == 1 && Int64(sorted[0]) != nil ? nil : "\">\" and \"<\" need one whole number"
        }
      if let problem { throw SelectorError(text: key, problem: problem) }
      self.key = key
      self.operator = `operator`
      self.values = sorted
    }

    /// Whether the requirement holds for `labels`; an absent label satisfies `notEquals` and `notIn`.
    package func matches(_ labels: [String: String]) -> Bool {
      let value = labels[key]
      switch self.operator {
      case .exists: return value != nil
      case .doesNotExist: return value == nil
      case .equals, .in: return value.map(values.contains) ?? false
      case .notEquals, .notIn: return !(value.map(values.contains) ?? false)
      case .greaterThan, .lessThan:
        guard let value, let actual = Int64(value), let bound = Int64(values[0]) else { return false }
        return self.operator == .greaterThan ? actual > bound : actual < bound
      }
    }

    package var description: String {
      switch self.operator {
      case .equals: "\(key)=\(values[0])"
      case .notEquals: "\(key)!=\(values[0])"
      case .in: "\(key) in (\(values.joined(separator: ",")))"
      case .notIn: "\(key) notin (\(values.joined(separator: ",")))"
      case .exists: key
      case .doesNotExist: "!\(key)"
      case .greaterThan: "\(key)>\(values[0])"
      case .lessThan: "\(key)<\(values[0])"
      }
    }
  }
}

/// A text, or a part of it, that makes no selector.
package struct SelectorError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The offending text, cut to 256 characters.
  package var text: String
  /// What is wrong with it.
  package var problem: String

  /// Names a text and its problem.
  package init(text: String, problem: String) {
    self.text = String(text.prefix(256))
    self.problem = problem
  }

  package var description: String {
    "\"\(text)\" can't be used in a label selector: \(problem). "
      + "Write it like \"app=web,tier in (a,b),!canary\"."
  }
}

/// The syntax of labels.
package enum LabelSyntax {
  /// Whether `text` is a label key: an optional DNS subdomain and `/`, then a name of 1…63 characters.
  package static func isKey(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    switch parts.count {
    case 1: return isName(parts[0])
    case 2: return isDNSSubdomain(parts[0]) && isName(parts[1])
    default: return false
    }
  }

  /// Whether `text` is a label value: empty, or a name of at most 63 characters.
  package static func isValue(_ text: String) -> Bool { text.isEmpty || isName(text[...]) }

  /// Whether `text` is a DNS subdomain: at most 253 lower-case letters, digits, `-` and `.`, alphanumeric at the ends
  /// of each part.
  package static func isDNSSubdomain(_ text: some StringProtocol) -> Bool {
    guard !text.isEmpty, text.utf8.count <= 253 else { return false }
    return Array(text.utf8).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { part in
      guard let first = part.first, let last = part.last else { return false }
      return isLowerAlphanumeric(first) && isLowerAlphanumeric(last)
        && part.allSatisfy { isLowerAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }
  }

  private static func isName(_ text: Substring) -> Bool {
    guard let first = text.utf8.first, let last = text.utf8.last, text.utf8.count <= 63 else { return false }
    return isAlphanumeric(first) && isAlphanumeric(last)
      && text.utf8.allSatisfy {
        isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
      }
  }

  private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    isLowerAlphanumeric(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
  }
}
