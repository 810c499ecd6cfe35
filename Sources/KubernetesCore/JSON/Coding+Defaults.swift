// Kubernetes treats an absent field, null and the type's zero value alike; so do these.

extension KeyedDecodingContainer {
  /// The value at `key`, or `defaultValue` when the field is absent or null.
  package func decode<T: Decodable>(_ key: Key, default defaultValue: @autoclosure () -> T) throws -> T {
    try decodeIfPresent(T.self, forKey: key) ?? defaultValue()
  }

  /// The value at `key`, or nil when the field is absent or null.
  package func decodeOptional<T: Decodable>(_ key: Key) throws -> T? {
    try decodeIfPresent(T.self, forKey: key)
  }

  /// The moment at `key`, or nil when the field is absent, null or empty.
  package func decodeTimestamp(_ key: Key) throws -> Timestamp? {
    if let text = try? decodeIfPresent(String.self, forKey: key), text.isEmpty { return nil }
    return try decodeIfPresent(Timestamp.self, forKey: key)
  }
}

extension KeyedEncodingContainer {
  /// Writes a collection or text, unless it is empty.
  package mutating func encodeUnlessEmpty<T: Encodable & Collection>(_ value: T, forKey key: Key) throws {
    if !value.isEmpty { try encode(value, forKey: key) }
  }
}
