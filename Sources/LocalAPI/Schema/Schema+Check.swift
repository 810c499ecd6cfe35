package import KubernetesCore

/// One thing that is wrong with a value, in the API machinery's words.
package struct FieldFault: Hashable, Sendable {
  /// The kind of fault, as a status names it.
  package enum Reason: String, Sendable {
    case invalid = "FieldValueInvalid"
    case notSupported = "FieldValueNotSupported"
    case required = "FieldValueRequired"
    case typeInvalid = "FieldValueTypeInvalid"
    case duplicate = "FieldValueDuplicate"
    case forbidden = "FieldValueForbidden"
    case tooMany = "FieldValueTooMany"
    case tooLong = "FieldValueTooLong"
  }

  /// The kind of fault.
  package var reason: Reason
  /// The field, such as `spec.replicas`.
  package var field: String
  /// What is wrong and what is allowed.
  package var message: String

  /// Names a fault.
  package init(_ reason: Reason, _ field: String, _ message: String) {
    self.reason = reason
    self.field = field
    self.message = message
  }

  static func invalid(_ field: String, _ value: JSONValue, _ problem: String) -> FieldFault {
    FieldFault(.invalid, field, "Invalid value: \(shown(value)): \(problem)")
  }

  static func required(_ field: String, _ problem: String = "") -> FieldFault {
    FieldFault(.required, field, "Required value" + (problem.isEmpty ? "" : ": \(problem)"))
  }

  static func forbidden(_ field: String, _ problem: String) -> FieldFault {
    FieldFault(.forbidden, field, "Forbidden: \(problem)")
  }

  static func duplicate(_ field: String, _ value: JSONValue) -> FieldFault {
    FieldFault(.duplicate, field, "Duplicate value: \(shown(value))")
  }

  static func notSupported(_ field: String, _ value: JSONValue, _ choices: [String]) -> FieldFault {
    let listed = choices.map { "\"\($0)\"" }.joined(separator: ", ")
    return FieldFault(.notSupported, field, "Unsupported value: \(shown(value)): supported values: \(listed)")
  }

  static func shown(_ value: JSONValue) -> String {
    let text = String(decoding: value.text, as: UTF8.self)
    return text.utf8.count > 200 ? String(text.prefix(199)) + "…" : text
  }
}

/// What reading a value by its schema found.
package struct SchemaFindings: Sendable {
  /// Fields that no schema knows; they are dropped.
  package var unknown: [String] = []
  /// Values of a wrong JSON type.
  package var wrongTypes: [FieldFault] = []
  /// Values that are out of bounds.
  package var outOfBounds: [FieldFault] = []
  /// Required fields that are missing.
  package var missing: [FieldFault] = []
}

extension Schema {
  /// The value without unknown fields and nulls, with fallbacks filled in; what was found on the way is added to `findings`.
  package func reading(_ value: JSONValue, at path: String = "", _ findings: inout SchemaFindings) -> JSONValue {
    switch shape {
    case .any: return value
    case .object(let fields, let keepsUnknown):
      guard case .object(let members) = value else { return wrong(value, "object", path, &findings) }
      return readingFields(members, fields, keepsUnknown, path, &findings)
    case .map(let schema):
      guard case .object(var members) = value else { return wrong(value, "object", path, &findings) }
      for (key, member) in members {
        members[key] = member == .null ? nil : schema.reading(member, at: Self.join(path, key), &findings)
      }
      return .object(members)
    case .list(let schema):
      guard case .array(let elements) = value else { return wrong(value, "array", path, &findings) }
      checkCount(elements.count, "items", path, &findings)
      return .array(
        elements.enumerated().map { index, element in schema.reading(element, at: "\(path)[\(index)]", &findings) })
    case .string:
      guard case .string(let text) = value else { return wrong(value, "string", path, &findings) }
      check(text, value, path, &findings)
      return value
    case .integer:
      guard case .int(let number) = value else { return wrong(value, "integer", path, &findings) }
      checkRange(Double(number), value, path, &findings)
      return value
    case .number:
      switch value {
      case .int(let number): checkRange(Double(number), value, path, &findings)
      case .double(let number): checkRange(number, value, path, &findings)
      default: return wrong(value, "number", path, &findings)
      }
      return value
    case .boolean:
      guard case .bool = value else { return wrong(value, "boolean", path, &findings) }
      return value
    case .integerOrString(let isQuantity):
      return readingNumberOrText(value, isQuantity: isQuantity, path, &findings)
    }
  }

  private func readingFields(
    _ members: [String: JSONValue], _ fields: [String: Schema], _ keepsUnknown: Bool, _ path: String,
    _ findings: inout SchemaFindings
  ) -> JSONValue {
    var result: [String: JSONValue] = [:]
    for (key, member) in members.sorted(by: { $0.key < $1.key }) where member != .null {
      let place = Self.join(path, key)
      if let schema = fields[key] {
        result[key] = schema.reading(member, at: place, &findings)
      } else if keepsUnknown {
        result[key] = member
      } else {
        findings.unknown.append(place)
      }
    }
    for (key, schema) in fields where result[key] == nil {
      guard let fallback = schema.fallback else { continue }
      var ignored = SchemaFindings()
      result[key] = schema.reading(fallback, &ignored)
    }
    for key in required where result[key] == nil { findings.missing.append(.required(Self.join(path, key))) }
    return .object(result)
  }

  private func readingNumberOrText(
    _ value: JSONValue, isQuantity: Bool, _ path: String, _ findings: inout SchemaFindings
  ) -> JSONValue {
    switch value {
    case .int(let number):
      guard isQuantity else { return value }
      return .string(String(number))
    case .double(let number) where isQuantity: return canonical("\(number)", value, path, &findings)
    case .string(let text):
      guard isQuantity else {
        check(text, value, path, &findings)
        return value
      }
      return canonical(text, value, path, &findings)
    default: return wrong(value, "integer or string", path, &findings)
    }
  }

  /// A quantity as the API server writes it: `1000m` is `1`.
  private func canonical(
    _ text: String, _ value: JSONValue, _ path: String, _ findings: inout SchemaFindings
  ) -> JSONValue {
    do throws(QuantityError) {
      return .string(try Quantity(text).description)
    } catch {
      findings.wrongTypes.append(
        .invalid(
          path, value,
          "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"))
      return value
    }
  }

  private func check(_ text: String, _ value: JSONValue, _ path: String, _ findings: inout SchemaFindings) {
    if !choices.isEmpty, !choices.contains(text) {
      findings.outOfBounds.append(.notSupported(path, value, choices))
    }
    if let minimumCount, text.unicodeScalars.count < minimumCount {
      findings.outOfBounds.append(
        .invalid(path, value, "\(path) in body should be at least \(minimumCount) chars long"))
    }
    if let maximumCount, text.unicodeScalars.count > maximumCount {
      findings.outOfBounds.append(
        FieldFault(.tooLong, path, "Too long: may not be longer than \(maximumCount)"))
    }
    if let pattern, let expression = try? Regex(pattern), text.firstMatch(of: expression) == nil {
      findings.outOfBounds.append(.invalid(path, value, "\(path) in body should match '\(pattern)'"))
    }
  }

  private func checkRange(_ number: Double, _ value: JSONValue, _ path: String, _ findings: inout SchemaFindings) {
    if let minimum, number < minimum {
      findings.outOfBounds.append(
        .invalid(path, value, "\(path) in body should be greater than or equal to \(Self.shown(minimum))"))
    }
    if let maximum, number > maximum {
      findings.outOfBounds.append(
        .invalid(path, value, "\(path) in body should be less than or equal to \(Self.shown(maximum))"))
    }
  }

  private func checkCount(_ count: Int, _ what: String, _ path: String, _ findings: inout SchemaFindings) {
    if let minimumCount, count < minimumCount {
      findings.outOfBounds.append(
        FieldFault(
          .invalid, path, "Invalid value: \(count): \(path) in body should have at least \(minimumCount) \(what)"))
    }
    if let maximumCount, count > maximumCount {
      findings.outOfBounds.append(
        FieldFault(.tooMany, path, "Too many: \(count): must have at most \(maximumCount) items"))
    }
  }

  private func wrong(
    _ value: JSONValue, _ wanted: String, _ path: String, _ findings: inout SchemaFindings
  ) -> JSONValue {
    findings.wrongTypes.append(
      FieldFault(
        .typeInvalid, path,
        "Invalid value: \"\(Self.kind(of: value))\": \(path) in body must be of type \(wanted): \"\(Self.kind(of: value))\""
      ))
    return value
  }

  private static func kind(of value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool: "boolean"
    case .int: "integer"
    case .double: "number"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }

  private static func shown(_ number: Double) -> String {
    Int64(exactly: number).map(String.init) ?? number.description
  }

  static func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}
