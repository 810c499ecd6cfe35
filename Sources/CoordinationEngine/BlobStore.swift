/// Bytes by their SHA-256: checkpoints, large payloads and results. The same bytes are kept once, however often they are put.
///
/// Errors are `EngineError`s; whatever waits may also end by cancellation.
package protocol BlobStore: Sendable {
  /// What the store holds at most.
  var limits: BlobLimits { get }
  /// Keeps bytes, or marks those that are there as used now.
  func put(_ bytes: [UInt8]) async throws -> BlobDigest
  /// The bytes; compared with their digest before they are given: `corrupt` when they differ, `notFound` when there are none.
  func get(_ digest: BlobDigest) async throws -> [UInt8]
  /// What is known of a blob; nil when it isn't there.
  func info(_ digest: BlobDigest) async throws -> BlobInfo?
  /// Removes a blob unless it was put within the last `unused`; says whether it is gone. A collector marks what heads refer to,
  /// then removes the rest with an `unused` longer than the time from a put to the head that refers to it.
  func delete(_ digest: BlobDigest, unused: Duration) async throws -> Bool
  /// Up to `maximum` blobs whose digest comes after `digest`, sorted by digest.
  func list(after digest: BlobDigest?, maximum: Int) async throws -> [BlobInfo]
}

/// A SHA-256.
package struct BlobDigest: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The 32 bytes.
  package let bytes: [UInt8]

  /// A digest of its bytes; nil unless there are 32.
  package init?(bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    self.bytes = bytes
  }

  /// Reads 64 hexadecimal digits, as `description` writes them; nil for other texts.
  package init?(_ text: some StringProtocol) {
    let digits = text.utf8.map { byte -> UInt8? in
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
      default: nil
      }
    }
    guard digits.count == 64 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: 64, by: 2) {
      guard let high = digits[index], let low = digits[index + 1] else { return nil }
      bytes.append(high << 4 | low)
    }
    self.bytes = bytes
  }

  package var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  package static func < (lhs: BlobDigest, rhs: BlobDigest) -> Bool { lhs.bytes.lexicographicallyPrecedes(rhs.bytes) }
}

/// What is known of a blob.
package struct BlobInfo: Hashable, Sendable {
  /// Its digest.
  package var digest: BlobDigest
  /// How many bytes it has.
  package var bytes: Int
  /// How long ago it was last put.
  package var unused: Duration

  /// Puts it together.
  package init(digest: BlobDigest, bytes: Int, unused: Duration) {
    self.digest = digest
    self.bytes = bytes
    self.unused = unused
  }
}

/// What a store of blobs holds at most.
package struct BlobLimits: Hashable, Sendable {
  /// Bytes of one blob.
  package var blobBytes = 16 * 1_024 * 1_024
  /// Bytes of all of them.
  package var totalBytes = 1_024 * 1_024 * 1_024
  /// Blobs in one list.
  package var listed = 1_000

  /// The limits that hold where nothing else is said.
  package init() {}
}
