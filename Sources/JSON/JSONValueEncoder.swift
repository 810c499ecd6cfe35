/// Builds a document from `Encodable` values.
final class JSONValueEncoder: Encoder {
  /// What has been written at one place so far.
  private enum Content {
    case nothing
    case value(JSONValue)
    case object([String: Slot])
    case array([Slot])
  }

  /// A member or element: finished, or still being written by an encoder of its own.
  fileprivate enum Slot {
    case value(JSONValue)
    case encoder(JSONValueEncoder)

    var finished: JSONValue {
      switch self {
      case .value(let value): value
      case .encoder(let encoder): encoder.finished
      }
    }
  }

  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }
  private var content = Content.nothing

  init(at codingPath: [any CodingKey] = []) {
    self.codingPath = codingPath
  }

  /// The document of `value`.
  static func encode<T: Encodable>(_ value: T, at codingPath: [any CodingKey] = []) throws -> JSONValue {
    // The commonest types without the detour through a container; comparing types is cheaper than casting.
    if T.self == String.self, let text = value as? String { return .string(text) }
    if T.self == JSONValue.self, let document = value as? JSONValue { return document }
    let encoder = JSONValueEncoder(at: codingPath)
    try value.encode(to: encoder)
    return encoder.finished
  }

  /// What was written; an empty object when nothing was, as `JSONEncoder` does for a type without fields.
  private var finished: JSONValue {
    switch content {
    case .nothing: .object([:])
    case .value(let value): value
    case .object(let members): .object(members.mapValues(\.finished))
    case .array(let elements): .array(elements.map(\.finished))
    }
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    if case .object = content {} else { content = .object([:]) }
    return KeyedEncodingContainer(KeyedContainer(encoder: self))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    if case .array = content {} else { content = .array([]) }
    return UnkeyedContainer(encoder: self)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { SingleContainer(encoder: self) }

  // MARK: For the containers

  fileprivate var elementCount: Int {
    if case .array(let elements) = content { elements.count } else { 0 }
  }

  fileprivate func set(_ value: JSONValue) {
    content = .value(value)
  }

  fileprivate func set(_ slot: Slot, for key: String) {
    guard case .object(var members) = content else { return }
    content = .nothing
    members[key] = slot
    content = .object(members)
  }

  fileprivate func append(_ slot: Slot) {
    guard case .array(var elements) = content else { return }
    content = .nothing
    elements.append(slot)
    content = .array(elements)
  }

  fileprivate static func number(_ value: some BinaryInteger) -> JSONValue {
    // Only UInt64 has values beyond Int64; as a Double they are what they become when they are read again.
    Int64(exactly: value).map(JSONValue.int) ?? .double(Double(value))
  }

  fileprivate static func number(_ value: Double, at codingPath: [any CodingKey]) throws -> JSONValue {
    guard value.isFinite else {
      throw EncodingError.invalidValue(
        value, EncodingError.Context(codingPath: codingPath, debugDescription: "JSON has no number \(value)"))
    }
    return .double(value)
  }
}

private struct SingleContainer: SingleValueEncodingContainer {
  let encoder: JSONValueEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }

  func encodeNil() { encoder.set(.null) }
  func encode(_ value: Bool) { encoder.set(.bool(value)) }
  func encode(_ value: String) { encoder.set(.string(value)) }
  func encode(_ value: Double) throws { encoder.set(try JSONValueEncoder.number(value, at: codingPath)) }
  func encode(_ value: Float) throws { encoder.set(try JSONValueEncoder.number(Double(value), at: codingPath)) }
  func encode(_ value: Int) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: Int8) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: Int16) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: Int32) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: Int64) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt8) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt16) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt32) { encoder.set(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt64) { encoder.set(JSONValueEncoder.number(value)) }
  func encode<T: Encodable>(_ value: T) throws {
    encoder.set(try JSONValueEncoder.encode(value, at: codingPath))
  }
}

private struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let encoder: JSONValueEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }

  private func put(_ value: JSONValue, _ key: Key) { encoder.set(.value(value), for: key.stringValue) }

  func encodeNil(forKey key: Key) { put(.null, key) }
  func encode(_ value: Bool, forKey key: Key) { put(.bool(value), key) }
  func encode(_ value: String, forKey key: Key) { put(.string(value), key) }
  func encode(_ value: Double, forKey key: Key) throws {
    put(try JSONValueEncoder.number(value, at: codingPath + [key]), key)
  }
  func encode(_ value: Float, forKey key: Key) throws { try encode(Double(value), forKey: key) }
  func encode(_ value: Int, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: Int8, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: Int16, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: Int32, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: Int64, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: UInt, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: UInt8, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: UInt16, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: UInt32, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode(_ value: UInt64, forKey key: Key) { put(JSONValueEncoder.number(value), key) }
  func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
    put(try JSONValueEncoder.encode(value, at: codingPath + [key]), key)
  }

  private func nested(_ key: Key) -> JSONValueEncoder {
    let nested = JSONValueEncoder(at: codingPath + [key])
    encoder.set(.encoder(nested), for: key.stringValue)
    return nested
  }

  func nestedContainer<NestedKey: CodingKey>(
    keyedBy keyType: NestedKey.Type, forKey key: Key
  ) -> KeyedEncodingContainer<NestedKey> {
    nested(key).container(keyedBy: keyType)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { nested(key).unkeyedContainer() }

  func superEncoder() -> any Encoder {
    let nested = JSONValueEncoder(at: codingPath)
    encoder.set(.encoder(nested), for: "super")
    return nested
  }

  func superEncoder(forKey key: Key) -> any Encoder { nested(key) }
}

private struct UnkeyedContainer: UnkeyedEncodingContainer {
  let encoder: JSONValueEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }
  var count: Int { encoder.elementCount }

  private func add(_ value: JSONValue) { encoder.append(.value(value)) }

  func encodeNil() { add(.null) }
  func encode(_ value: Bool) { add(.bool(value)) }
  func encode(_ value: String) { add(.string(value)) }
  func encode(_ value: Double) throws { add(try JSONValueEncoder.number(value, at: codingPath)) }
  func encode(_ value: Float) throws { try encode(Double(value)) }
  func encode(_ value: Int) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: Int8) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: Int16) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: Int32) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: Int64) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt8) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt16) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt32) { add(JSONValueEncoder.number(value)) }
  func encode(_ value: UInt64) { add(JSONValueEncoder.number(value)) }
  func encode<T: Encodable>(_ value: T) throws { add(try JSONValueEncoder.encode(value, at: codingPath)) }

  private func nested() -> JSONValueEncoder {
    let nested = JSONValueEncoder(at: codingPath)
    encoder.append(.encoder(nested))
    return nested
  }

  func nestedContainer<NestedKey: CodingKey>(keyedBy keyType: NestedKey.Type) -> KeyedEncodingContainer<NestedKey> {
    nested().container(keyedBy: keyType)
  }

  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nested().unkeyedContainer() }
  func superEncoder() -> any Encoder { nested() }
}
