/// A checkpoint as it is stored: a header of 72 bytes, the payload, and a checksum over both. Numbers are little-endian.
///
/// | at | bytes | |
/// |---|---|---|
/// | 0 | 4 | `SWCK` |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | codec |
/// | 6 | 1 | kind: 0 full, 1 against the parent |
/// | 7 | 1 | 0 |
/// | 8 | 4 | dictionary's id, 0 for none |
/// | 12 | 4 | length of the payload |
/// | 16 | 8 | length once inflated: what a decoder may allocate |
/// | 24 | 8 | epoch of the claim that wrote it |
/// | 32 | 8 | step |
/// | 40 | 32 | digest of the parent's frame, zero for none |
/// | 72 | | payload |
/// | end | 4 | CRC-32C of all before |
package struct CheckpointFrame: Hashable, Sendable {
  /// How the payload is packed.
  package enum Codec: UInt8, Hashable, Sendable {
    /// As it is.
    case raw = 0
    /// zstd.
    case zstd = 1
    /// zstd with a dictionary, or with the parent's payload as prefix.
    case zstdWithDictionary = 2
  }

  /// What it holds.
  package enum Kind: UInt8, Hashable, Sendable {
    /// All of the state.
    case full = 0
    /// What changed since its parent.
    case delta = 1
  }

  /// Why bytes are no checkpoint.
  package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Fewer bytes than the header and its length say, or more.
    case truncated(bytes: Int, needed: Int)
    /// Another kind of file.
    case wrongMagic
    /// A version that this program doesn't know.
    case unknownVersion(UInt8)
    /// A codec or kind that this program doesn't know.
    case unknownFormat(codec: UInt8, kind: UInt8)
    /// The bytes aren't those that were written.
    case wrongChecksum
    /// The payload or what it inflates to is larger than allowed.
    case tooLarge(bytes: UInt64, limit: UInt64)

    package var description: String {
      switch self {
      case .truncated(let bytes, let needed): "the checkpoint has \(bytes) bytes and needs \(needed): it was cut"
      case .wrongMagic: "these bytes are no checkpoint"
      case .unknownVersion(let version): "the checkpoint has format version \(version): run a newer Swarmscale"
      case .unknownFormat(let codec, let kind):
        "the checkpoint has codec \(codec) and kind \(kind), which this program doesn't know: run a newer Swarmscale"
      case .wrongChecksum: "the checkpoint's checksum is wrong: it was damaged, and the one before it is to be used"
      case .tooLarge(let bytes, let limit): "the checkpoint inflates to \(bytes) bytes, and \(limit) are allowed"
      }
    }
  }

  /// How the payload is packed.
  package var codec: Codec
  /// What it holds.
  package var kind: Kind
  /// The dictionary; 0 for none.
  package var dictionary: UInt32
  /// The claim that wrote it.
  package var epoch: UInt64
  /// The step that it stands behind.
  package var step: UInt64
  /// The checkpoint before.
  package var parent: Digest256
  /// The payload's length once inflated.
  package var inflatedLength: UInt64
  /// The packed state.
  package var payload: [UInt8]

  /// The header's length.
  package static let headerLength = 72

  /// Describes a checkpoint.
  package init(
    codec: Codec, kind: Kind, dictionary: UInt32 = 0, epoch: UInt64, step: UInt64, parent: Digest256,
    inflatedLength: UInt64, payload: [UInt8]
  ) {
    self.codec = codec
    self.kind = kind
    self.dictionary = dictionary
    self.epoch = epoch
    self.step = step
    self.parent = parent
    self.inflatedLength = inflatedLength
    self.payload = payload
  }

  /// The bytes to store.
  package var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.headerLength + payload.count + 4)
    bytes += Array("SWCK".utf8)
    bytes += [1, codec.rawValue, kind.rawValue, 0]
    Self.append(dictionary, to: &bytes)
    Self.append(UInt32(payload.count), to: &bytes)
    Self.append(inflatedLength, to: &bytes)
    Self.append(epoch, to: &bytes)
    Self.append(step, to: &bytes)
    bytes += parent.bytes
    bytes += payload
    Self.append(CRC32C.checksum(bytes), to: &bytes)
    return bytes
  }

  /// Reads stored bytes; `limit` bounds the payload and what it inflates to.
  package init(decoding bytes: [UInt8], limit: UInt64 = 64 << 20) throws(Failure) {
    guard bytes.count >= Self.headerLength + 4 else {
      throw .truncated(bytes: bytes.count, needed: Self.headerLength + 4)
    }
    guard bytes.prefix(4) == ArraySlice("SWCK".utf8) else { throw .wrongMagic }
    guard bytes[4] == 1 else { throw .unknownVersion(bytes[4]) }
    let length = Self.number(bytes, at: 12, size: 4)
    guard length <= limit else { throw .tooLarge(bytes: length, limit: limit) }
    let needed = Self.headerLength + Int(length) + 4
    guard bytes.count == needed else { throw .truncated(bytes: bytes.count, needed: needed) }
    // Before anything else of it is believed.
    let sum = Self.number(bytes, at: needed - 4, size: 4)
    guard CRC32C.checksum(bytes.prefix(needed - 4)) == UInt32(truncatingIfNeeded: sum) else { throw .wrongChecksum }
    guard let codec = Codec(rawValue: bytes[5]), let kind = Kind(rawValue: bytes[6]), bytes[7] == 0,
      let parent = Digest256(bytes: bytes[40..<72])
    else { throw .unknownFormat(codec: bytes[5], kind: bytes[6]) }
    let inflated = Self.number(bytes, at: 16, size: 8)
    guard inflated <= limit else { throw .tooLarge(bytes: inflated, limit: limit) }
    self.init(
      codec: codec, kind: kind, dictionary: UInt32(truncatingIfNeeded: Self.number(bytes, at: 8, size: 4)),
      epoch: Self.number(bytes, at: 24, size: 8), step: Self.number(bytes, at: 32, size: 8), parent: parent,
      inflatedLength: inflated, payload: Array(bytes[72..<(needed - 4)]))
  }

  private static func append(_ number: some FixedWidthInteger & UnsignedInteger, to bytes: inout [UInt8]) {
    var rest = number
    for _ in 0..<(number.bitWidth / 8) {
      bytes.append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }

  private static func number(_ bytes: [UInt8], at start: Int, size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
  }
}
