extension KeyedDecodingContainer {
  /// The value of a key, or the default where the key is absent or null.
  func value<Value: Decodable>(_ key: Key, or fallback: Value) throws -> Value {
    try decodeIfPresent(Value.self, forKey: key) ?? fallback
  }
}

/// A coding key of any name: used to find misspelled keys, which would otherwise be ignored in silence.
struct AnyCodingKey: CodingKey {
  var stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension Decoder {
  /// Fails if the object has a key that `keys` doesn't have.
  func refuseUnknownKeys<Keys: CodingKey & CaseIterable>(besides keys: Keys.Type) throws {
    let known = Set(Keys.allCases.map(\.stringValue))
    let container = try container(keyedBy: AnyCodingKey.self)
    let unknown = container.allKeys.map(\.stringValue).filter { !known.contains($0) }.sorted()
    guard let first = unknown.first else { return }
    throw DecodingError.dataCorrupted(
      .init(
        codingPath: codingPath,
        debugDescription: "unknown key \"\(first)\"; known are \(known.sorted().joined(separator: ", "))"))
  }
}
