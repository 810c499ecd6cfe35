/// Any JSON value; objects print with sorted keys, so equal values have equal texts.
package enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])
}

extension JSONValue {
  /// The member `key` of an object; nil for anything else. Setting nil removes; setting on null makes an object.
  package subscript(key: String) -> JSONValue? {
    get {
      guard case .object(let members) = self else { return nil }
      return members[key]
    }
    set {
      switch self {
      case .object(var members):
        self = .null
        members[key] = newValue
        self = .object(members)
      case .null:
        if let newValue { self = .object([key: newValue]) }
      default: break
      }
    }
  }

  /// The element at `index` of an array; nil when there is none.
  package subscript(index: Int) -> JSONValue? {
    guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
    return elements[index]
  }

  /// The value at a path of object keys; array elements are named by their decimal index.
  package subscript(path path: [String]) -> JSONValue? {
    var value = self
    for key in path {
      let next: JSONValue? =
        if case .array = value { Int(key).flatMap { value[$0] } } else { value[key] }
      guard let next else { return nil }
      value = next
    }
    return value
  }

  /// The text of a string.
  package var stringValue: String? { if case .string(let value) = self { value } else { nil } }
  /// The value of a whole number.
  package var intValue: Int64? { if case .int(let value) = self { value } else { nil } }
  /// The value of a Boolean.
  package var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The elements of an array.
  package var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  /// The members of an object.
  package var objectValue: [String: JSONValue]? { if case .object(let value) = self { value } else { nil } }
}

extension JSONValue {
  /// The JSON merge patch (RFC 7386) that turns `old` into `new`; nil when they are equal.
  ///
  /// A merge patch can't set a member to null: a null in `new` is expressed by removing the member.
  package static func mergePatch(from old: JSONValue, to new: JSONValue) -> JSONValue? {
    guard old != new else { return nil }
    guard case .object(let oldMembers) = old, case .object(let newMembers) = new else { return new }
    var patch: [String: JSONValue] = [:]
    for (key, value) in newMembers {
      if let oldValue = oldMembers[key] {
        patch[key] = mergePatch(from: oldValue, to: value)
      } else if value != .null {
        patch[key] = value
      }
    }
    for key in oldMembers.keys where newMembers[key] == nil { patch[key] = .null }
    return patch.isEmpty ? nil : .object(patch)
  }

  /// This value with a JSON merge patch (RFC 7386) applied.
  package func applyingMergePatch(_ patch: JSONValue) -> JSONValue {
    guard case .object(let changes) = patch else { return patch }
    var members = objectValue ?? [:]
    for (key, change) in changes {
      members[key] = change == .null ? nil : (members[key] ?? .null).applyingMergePatch(change)
    }
    return .object(members)
  }
}

extension JSONValue {
  /// The value that this document holds; `codingPath` is the document's place in a larger one, for errors.
  package func decoded<T: Decodable>(as type: T.Type, at codingPath: [any CodingKey] = []) throws -> T {
    try JSONValueDecoder(self, at: codingPath).decode(type)
  }

  /// The document of a value.
  package init<T: Encodable>(encoding value: T) throws {
    self = try JSONValueEncoder.encode(value)
  }
}

extension JSONValue: Codable {
  package init(from decoder: any Decoder) throws {
    if let decoder = decoder as? JSONValueDecoder {
      self = decoder.value
      return
    }
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([String: JSONValue].self) {
      self = .object(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .int(value)
    } else {
      self = .double(try container.decode(Double.self))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .int(let value): try container.encode(value)
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}

// No nil literal: `members[key] = nil` must remove the member, not set it to null.
extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .int(value) }
  package init(floatLiteral value: Double) { self = .double(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// The last of several equal keys wins.
  package init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(Dictionary(elements) { _, last in last })
  }
}
