/// Keeps an optional value out of line.
///
/// A metric's spec and status have a member for each of nine sources, of which one is set. Inline, each absent one takes
/// as much room as a present one: two kilobytes a metric, many megabytes with a thousand autoscalers.
@propertyWrapper
package struct Boxed<Value: Hashable & Sendable>: Hashable, Sendable {
  private final class Box: Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
  }

  private var box: Box?

  /// Boxes a value.
  package init(wrappedValue: Value?) {
    box = wrappedValue.map(Box.init)
  }

  /// The value.
  package var wrappedValue: Value? {
    get { box?.value }
    set { box = newValue.map(Box.init) }
  }

  package static func == (lhs: Boxed, rhs: Boxed) -> Bool {
    lhs.box === rhs.box || lhs.wrappedValue == rhs.wrappedValue
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(wrappedValue)
  }
}

extension Boxed: Decodable where Value: Decodable {
  package init(from decoder: any Decoder) throws {
    self.init(wrappedValue: try Value?(from: decoder))
  }
}

extension Boxed: Encodable where Value: Encodable {
  package func encode(to encoder: any Encoder) throws {
    try wrappedValue.encode(to: encoder)
  }
}

// The compiler's `Codable` asks for the wrapper; an absent field must give nil, and nil no field.

extension KeyedDecodingContainer {
  /// The boxed value at `key`; nil when the field is absent or null.
  package func decode<T: Decodable>(_ type: Boxed<T>.Type, forKey key: Key) throws -> Boxed<T> {
    Boxed(wrappedValue: try decodeIfPresent(T.self, forKey: key))
  }
}

extension KeyedEncodingContainer {
  /// Writes the boxed value unless it is nil.
  package mutating func encode<T: Encodable>(_ value: Boxed<T>, forKey key: Key) throws {
    try encodeIfPresent(value.wrappedValue, forKey: key)
  }
}
