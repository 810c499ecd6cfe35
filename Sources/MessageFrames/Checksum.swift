/// CRC-32C (Castagnoli), the checksum of iSCSI and ext4: finds all errors of up to 5 bits in 100 bytes and all bursts of 32.
package enum Checksum {
  /// Eight tables of 256 (Kounavis and Berry, 2005): eight bytes a step.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var value = UInt32(byte)
      // The polynomial 0x1edc6f41 with its bits reversed.
      for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0x82f6_3b78 : value >> 1 }
      tables[byte] = value
    }
    for table in 1..<8 {
      for byte in 0..<256 {
        let before = tables[(table - 1) * 256 + byte]
        tables[table * 256 + byte] = (before >> 8) ^ tables[Int(before & 0xff)]
      }
    }
    return tables
  }()

  /// The checksum of `bytes`, or of what came before and then `bytes`.
  package static func crc32c(_ bytes: UnsafeRawBufferPointer, after before: UInt32 = 0) -> UInt32 {
    tables.withUnsafeBufferPointer { tables in
      var sum = ~before
      var index = 0
      while index + 8 <= bytes.count {
        let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) ^ UInt64(sum)
        var next: UInt32 = 0
        for step in 0..<8 {
          next ^= tables[(7 - step) * 256 + Int((word >> UInt64(step * 8)) & 0xff)]
        }
        sum = next
        index += 8
      }
      while index < bytes.count {
        sum = (sum >> 8) ^ tables[Int((sum ^ UInt32(bytes[index])) & 0xff)]
        index += 1
      }
      return ~sum
    }
  }

  /// The checksum of an array.
  package static func crc32c(_ bytes: [UInt8]) -> UInt32 {
    bytes.withUnsafeBytes { crc32c($0) }
  }
}
