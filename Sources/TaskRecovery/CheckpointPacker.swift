package import CoordinationCore
package import MessageFrames
package import PayloadCompression

/// Packs states for checkpoints, whole or against the state before, and unpacks them within a bound.
///
/// A packed state begins with the place of the first step after it: whoever goes back to an older checkpoint goes on in the journal from there.
package struct CheckpointPacker: Sendable {
  /// A state, and where the journal stood.
  package struct Snapshot: Hashable, Sendable {
    /// The place of the next step.
    package var base: UInt64
    /// The agent's bytes.
    package var state: [UInt8]

    /// Puts a snapshot together.
    package init(base: UInt64, state: [UInt8]) {
      self.base = base
      self.state = state
    }

    var bytes: [UInt8] {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(8 + state.count)
      bytes.append(number: base)
      return bytes + state
    }
  }

  /// A state as it goes into a frame.
  package struct Packed: Hashable, Sendable {
    /// How.
    package var codec: CheckpointFrame.Codec
    /// With which dictionary; 0: none.
    package var dictionary: UInt32
    /// Whether the state before is needed to unpack it.
    package var isDelta: Bool
    /// The bytes.
    package var payload: [UInt8]
  }

  private let codec: PayloadCodec
  /// The most bytes of a state.
  package let limit: Int

  /// `limit`: the most bytes of a state, whatever a checkpoint announces.
  package init(codec: PayloadCodec, limit: Int = 64 << 20) {
    self.codec = codec
    self.limit = limit
  }

  /// Packs a snapshot, against `base` where that takes a quarter of the room at most: what is mostly new is worth more when it stands by itself.
  package func pack(_ snapshot: Snapshot, base: Snapshot?) -> Packed {
    let bytes = snapshot.bytes
    if let base = base?.bytes,
      let delta = bytes.withUnsafeBytes({ bytes in base.withUnsafeBytes { codec.compress(bytes, base: $0) } }),
      delta.count * 4 <= bytes.count
    {
      return Packed(codec: .zstd, dictionary: 0, isDelta: true, payload: delta)
    }
    guard let packed = bytes.withUnsafeBytes({ codec.compress($0) }) else {
      return Packed(codec: .raw, dictionary: 0, isDelta: false, payload: bytes)
    }
    return Packed(
      codec: packed.encoding == .zstd ? .zstd : .zstdWithDictionary, dictionary: packed.dictionary, isDelta: false,
      payload: packed.bytes)
  }

  /// The snapshot of a frame; `base` is its parent's, for a delta.
  package func unpack(_ frame: CheckpointFrame, base: Snapshot?) throws(FrameError) -> Snapshot {
    let length = Int(clamping: frame.inflatedLength)
    guard length <= limit + 8 else { throw .frameTooLarge(bytes: length, limit: limit) }
    var bytes = frame.payload
    if frame.kind == .delta {
      guard let base = base?.bytes else { throw .malformed("a checkpoint against another one that isn't there") }
      bytes = try inflate(frame, length) { (packed, output) throws(FrameError) in
        let outcome = base.withUnsafeBytes { base in
          Result { () throws(FrameError) in try codec.decompress(packed, base: base, into: output) }
        }
        try outcome.get()
      }
    } else if frame.codec != .raw {
      let encoding: FrameEncoding = frame.codec == .zstd ? .zstd : .zstdDictionary
      bytes = try inflate(frame, length) { (packed, output) throws(FrameError) in
        try codec.decompress(packed, encoding: encoding, dictionary: frame.dictionary, into: output)
      }
    }
    var reader = RecordReader(bytes)
    guard bytes.count == length, let place = reader.number(UInt64.self) else {
      throw .malformed("\(bytes.count) bytes instead of \(length)")
    }
    return Snapshot(base: place, state: Array(bytes.dropFirst(8)))
  }

  private func inflate(
    _ frame: CheckpointFrame, _ length: Int,
    _ body: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) throws(FrameError) -> Void
  ) throws(FrameError) -> [UInt8] {
    var outcome = Result<Void, FrameError>.success(())
    let bytes = [UInt8](unsafeUninitializedCapacity: length) { output, written in
      let target = UnsafeMutableRawBufferPointer(start: output.baseAddress, count: length)
      outcome = frame.payload.withUnsafeBytes { packed in
        Result { () throws(FrameError) in try body(packed, target) }
      }
      if case .success = outcome { written = length }
    }
    try outcome.get()
    return bytes
  }
}
