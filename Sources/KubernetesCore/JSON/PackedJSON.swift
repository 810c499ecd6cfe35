/// A JSON value that is kept as its text: a tenth of the memory, for what is stored by the thousand and seldom looked at.
package struct PackedJSON: Hashable, Sendable {
  /// The text; names in order, so that equal values have equal texts.
  private let text: [UInt8]

  /// Packs a value.
  package init(_ value: JSONValue) {
    // Copied, as the text's own storage has grown beyond its size.
    text = Array(value.text[...])
  }

  /// The value.
  package var value: JSONValue {
    // Only what `text` gave is ever read here, and that can be read.
    (try? JSONValue(parsing: text)) ?? .null
  }
}

extension PackedJSON: Codable {
  package init(from decoder: any Decoder) throws {
    self.init(try JSONValue(from: decoder))
  }

  package func encode(to encoder: any Encoder) throws {
    try value.encode(to: encoder)
  }
}
