/// The texts that a field of fixed choices knows.
package protocol KnownText: RawRepresentable, CaseIterable, Hashable, Sendable, Codable where RawValue == String {}

/// A text of a field of fixed choices, kept as it was written when it is none of them.
///
/// Reading never fails because of it: validation reports the unknown text with its place.
package enum Open<Known: KnownText>: Hashable, Sendable {
  /// One of the choices.
  case known(Known)
  /// Anything else.
  case unknown(String)

  /// Reads a text.
  package init(_ text: String) {
    self = Known(rawValue: text).map(Open.known) ?? .unknown(text)
  }

  /// The choice; nil for an unknown text.
  package var known: Known? { if case .known(let value) = self { value } else { nil } }

  /// The text as written.
  package var text: String {
    switch self {
    case .known(let value): value.rawValue
    case .unknown(let text): text
    }
  }
}

extension Open: Codable {
  package init(from decoder: any Decoder) throws {
    self.init(try decoder.singleValueContainer().decode(String.self))
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}
