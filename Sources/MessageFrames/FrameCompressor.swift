/// How the payloads of a frame are packed. The numbers travel in frames.
package enum FrameEncoding: UInt8, Hashable, Sendable, CaseIterable {
  /// As they are.
  case raw = 0
  /// Zstandard.
  case zstd = 1
  /// Zstandard with the dictionary that the header names.
  case zstdDictionary = 2
}

/// Packed bytes, and how.
package struct CompressedPayload: Hashable, Sendable {
  /// How they are packed; not `raw`.
  package var encoding: FrameEncoding
  /// The dictionary's id; 0: none.
  package var dictionary: UInt32
  /// The bytes.
  package var bytes: [UInt8]

  /// Puts packed bytes together.
  package init(encoding: FrameEncoding, dictionary: UInt32, bytes: [UInt8]) {
    self.encoding = encoding
    self.dictionary = dictionary
    self.bytes = bytes
  }
}

/// Packs and unpacks the payloads of frames.
package protocol FrameCompressor: Sendable {
  /// Packs; nil where it doesn't pay.
  func compress(_ bytes: UnsafeRawBufferPointer) -> CompressedPayload?
  /// Unpacks to exactly the size of `output`, and never writes beyond it.
  ///
  /// Throws `unknownDictionary` or `corruptPayload`.
  func decompress(
    _ bytes: UnsafeRawBufferPointer, encoding: FrameEncoding, dictionary: UInt32,
    into output: UnsafeMutableRawBufferPointer
  ) throws(FrameError)
}
