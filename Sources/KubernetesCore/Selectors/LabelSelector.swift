/// The structured selector of specs (`metav1.LabelSelector`): all of its conditions must hold.
package struct LabelSelector: Hashable, Sendable, Codable {
  /// Labels that must be there with exactly these values.
  package var matchLabels: [String: String]
  /// Further conditions.
  package var matchExpressions: [Expression]

  /// One condition on one label.
  package struct Expression: Hashable, Sendable, Codable {
    /// The label's key.
    package var key: String
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    package var `operator`: String
    /// The values of `In` and `NotIn`.
    package var values: [String]

    private enum CodingKeys: String, CodingKey { case key, `operator`, values }

    /// Makes a condition.
    package init(key: String, operator: String, values: [String] = []) {
      self.key = key
      self.operator = `operator`
      self.values = values
    }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      key = try container.decode(.key, default: "")
      self.operator = try container.decode(.operator, default: "")
      values = try container.decode(.values, default: [])
    }

    package func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(key, forKey: .key)
      try container.encode(self.operator, forKey: .operator)
      try container.encodeUnlessEmpty(values, forKey: .values)
    }
  }

  private enum CodingKeys: String, CodingKey { case matchLabels, matchExpressions }

  /// Makes a selector; an empty one matches everything.
  package init(matchLabels: [String: String] = [:], matchExpressions: [Expression] = []) {
    self.matchLabels = matchLabels
    self.matchExpressions = matchExpressions
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    matchLabels = try container.decode(.matchLabels, default: [:])
    matchExpressions = try container.decode(.matchExpressions, default: [])
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeUnlessEmpty(matchLabels, forKey: .matchLabels)
    try container.encodeUnlessEmpty(matchExpressions, forKey: .matchExpressions)
  }
}

extension Selector {
  /// Turns a structured selector into one that can match and print.
  package init(_ labelSelector: LabelSelector) throws(SelectorError) {
    var requirements: [Requirement] = []
    for (key, value) in labelSelector.matchLabels {
      requirements.append(try Requirement(key: key, operator: .equals, values: [value]))
    }
    for expression in labelSelector.matchExpressions {
      let operation: Requirement.Operator
      switch expression.operator {
      case "In": operation = .in
      case "NotIn": operation = .notIn
      case "Exists": operation = .exists
      case "DoesNotExist": operation = .doesNotExist
      default:
        throw SelectorError(
          text: expression.operator, problem: "the operator is not one of In, NotIn, Exists and DoesNotExist")
      }
      requirements.append(try Requirement(key: expression.key, operator: operation, values: expression.values))
    }
    self.init(requirements: requirements)
  }
}
