package import Crypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// An Ed25519 key in NATS's spelling: base 32 with a prefix that says whose it is, and a CRC-16.
package struct NKey: Sendable, CustomStringConvertible, CustomReflectable {
  private let key: Curve25519.Signing.PrivateKey
  /// Who may be known: `U…` of a user.
  package let publicKey: String

  /// Whose key it is.
  package enum Kind: UInt8, Sendable, CaseIterable {
    case account = 0  // A
    case cluster = 16  // C
    case server = 104  // N
    case `operator` = 112  // O
    case user = 160  // U
  }

  /// Why a seed was refused. None carries a part of it.
  package enum SeedError: Error, Sendable, Hashable {
    /// A character outside of A–Z and 2–7.
    case notBase32
    /// Not 58 characters.
    case wrongLength
    /// The check sum doesn't fit: a character was lost or mistyped.
    case wrongChecksum
    /// A public key, or something that is no nkey, instead of a seed (`S…`).
    case notASeed
  }

  /// Reads a seed (`SU…`).
  package init(seed: String) throws(SeedError) {
    guard let bytes = Base32.decode(seed) else { throw .notBase32 }
    guard bytes.count == 36 else { throw .wrongLength }
    let checksum = UInt16(bytes[34]) | UInt16(bytes[35]) << 8
    guard crc16(bytes[..<34]) == checksum else { throw .wrongChecksum }
    guard bytes[0] & 0xF8 == Self.seedPrefix else { throw .notASeed }
    guard let kind = Kind(rawValue: (bytes[0] & 7) << 5 | bytes[1] >> 3) else { throw .notASeed }
    guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: bytes[2..<34]) else { throw .notASeed }
    self.key = key
    publicKey = Self.spell([kind.rawValue] + Array(key.publicKey.rawRepresentation))
  }

  /// The signature of a nonce, in base 64 for URLs without padding, as CONNECT carries it.
  package func sign(_ nonce: String) throws -> String {
    Base64URL.encode(try key.signature(for: Array(nonce.utf8)), padded: false)
  }

  /// The public key: the seed is never printed.
  package var description: String { publicKey }
  package var customMirror: Mirror { Mirror(self, children: ["publicKey": publicKey]) }

  /// The seed of a new key, for tests and tools.
  package static func makeSeed(_ kind: Kind, key: Curve25519.Signing.PrivateKey = .init()) -> String {
    spell([seedPrefix | kind.rawValue >> 5, (kind.rawValue & 31) << 3] + Array(key.rawRepresentation))
  }

  private static let seedPrefix: UInt8 = 144  // S

  private static func spell(_ bytes: [UInt8]) -> String {
    let checksum = crc16(bytes[...])
    return Base32.encode(bytes + [UInt8(checksum & 0xFF), UInt8(checksum >> 8)])
  }
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0.
func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
  var crc: UInt16 = 0
  for byte in bytes {
    crc ^= UInt16(byte) << 8
    for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
  }
  return crc
}

/// RFC 4648 without padding.
enum Base32 {
  static func decode(_ text: String) -> [UInt8]? {
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for character in text.utf8 {
      let value: UInt8
      switch character {
      case 0x41...0x5A: value = character - 0x41
      case 0x32...0x37: value = character - 0x32 + 26
      default: return nil
      }
      bits = bits << 5 | UInt32(value)
      count += 5
      if count >= 8 {
        count -= 8
        output.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        bits &= (1 << UInt32(count)) - 1
      }
    }
    return output
  }

  static func encode(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 5 {
        count -= 5
        output.append(alphabet[Int(bits >> UInt32(count) & 31)])
      }
      bits &= (1 << UInt32(count)) - 1
    }
    if count > 0 { output.append(alphabet[Int(bits << UInt32(5 - count) & 31)]) }
    return String(decoding: output, as: UTF8.self)
  }
}

/// Base 64 with `-` and `_`.
enum Base64URL {
  static func encode(_ bytes: some Sequence<UInt8>, padded: Bool) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        output.append(alphabet[Int(bits >> UInt32(count) & 63)])
      }
      bits &= (1 << UInt32(count)) - 1
    }
    if count > 0 { output.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
    while padded, output.count % 4 != 0 { output.append(0x3D) }
    return String(decoding: output, as: UTF8.self)
  }

  static func decode(_ text: String) -> [UInt8]? {
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for character in text.utf8 {
      let value: UInt8
      switch character {
      case 0x41...0x5A: value = character - 0x41
      case 0x61...0x7A: value = character - 0x61 + 26
      case 0x30...0x39: value = character - 0x30 + 52
      case 0x2D, 0x2B: value = 62
      case 0x5F, 0x2F: value = 63
      case 0x3D: continue
      default: return nil
      }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        output.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        bits &= (1 << UInt32(count)) - 1
      }
    }
    return output
  }
}
