@testable import MessageFrames

/// Seeded numbers.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

/// Packs runs of one byte into a byte and a length, so that frames are tested without zstd.
struct RunLength: FrameCompressor {
  func compress(_ bytes: UnsafeRawBufferPointer) -> CompressedPayload? {
    guard let first = bytes.first, bytes.count > 16, bytes.allSatisfy({ $0 == first }) else { return nil }
    var packed = [first]
    packed.append(varint: UInt64(bytes.count))
    return CompressedPayload(encoding: .zstd, dictionary: 0, bytes: packed)
  }

  func decompress(
    _ bytes: UnsafeRawBufferPointer, encoding: FrameEncoding, dictionary: UInt32,
    into output: UnsafeMutableRawBufferPointer
  ) throws(FrameError) {
    var reader = ByteReader(Array(bytes))
    guard dictionary == 0 else { throw .unknownDictionary(dictionary) }
    guard let first = reader.byte(), let count = reader.varint(), count == output.count else {
      throw .corruptPayload("another length")
    }
    for index in 0..<output.count { output[index] = first }
  }
}
