package import CoordinationEngine

/// The keys under which a store has what is to be collected one day. Each fact has one key, so that a collector that starts anew knows all by one list.
///
/// | key | value |
/// |---|---|
/// | `collect.owner.OWNER` | empty; a lease that its process renews |
/// | `collect.ref.DIGEST.OWNER.NUMBER` | `live` while something of the owner needs the blob, then `released` |
/// | `collect.own.OWNER.KIND.NUMBER` | the name of something that the owner has elsewhere, such as a consumer |
/// | `collect.leader` | who collects |
package enum CollectionKey: Hashable, Sendable {
  /// The lease of a process.
  case owner(String)
  /// A process needs a blob, or needed it.
  case reference(BlobDigest, owner: String, number: UInt64)
  /// A process has something.
  case resource(owner: String, kind: String, number: UInt64)
  /// The lease of the collector.
  case leader

  /// Below which all of them are.
  package static let prefix = "collect."
  /// The value of a reference that counts.
  package static let live = Array("live".utf8)
  /// The value of one that doesn't any more.
  package static let released = Array("released".utf8)

  /// Reads a key; nil for others.
  package init?(_ text: String) {
    let tokens = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard tokens.first == "collect" else { return nil }
    switch (tokens.dropFirst().first, tokens.count) {
    case ("leader", 2): self = .leader
    case ("owner", 3): self = .owner(tokens[2])
    case ("ref", 5):
      guard let digest = BlobDigest(tokens[2]), let number = UInt64(tokens[4]) else { return nil }
      self = .reference(digest, owner: tokens[3], number: number)
    case ("own", 5):
      guard let number = UInt64(tokens[4]) else { return nil }
      self = .resource(owner: tokens[2], kind: tokens[3], number: number)
    default: return nil
    }
  }

  /// The key.
  package var text: String {
    switch self {
    case .owner(let owner): "collect.owner.\(owner)"
    case .reference(let digest, let owner, let number): "collect.ref.\(digest).\(owner).\(number)"
    case .resource(let owner, let kind, let number): "collect.own.\(owner).\(kind).\(number)"
    case .leader: "collect.leader"
    }
  }

  /// A name as a part of a key: other characters than letters, digits and `-_` become `=` and their number.
  package static func token(_ name: String) -> String {
    let text = name.unicodeScalars.map { scalar in
      scalar.isASCII
        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "-_".unicodeScalars.contains(scalar))
        ? String(scalar) : "=\(String(scalar.value, radix: 16))"
    }.joined()
    return text.isEmpty ? "=" : String(text.suffix(80))
  }
}
