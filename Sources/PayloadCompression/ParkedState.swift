package import MemoryPool
package import MessageFrames

/// An agent's state while the agent waits: packed, at its exact size.
package struct ParkedState: Hashable, Sendable {
  /// Bytes of the state.
  package let stateBytes: Int
  private let packed: CompressedPayload?
  private let raw: [UInt8]
  private let checksum: UInt32

  /// Packs a state. The packed form is made in memory of `pool`, if it has some, and copied at its size: an array as large
  /// as the state, of which a third is used, would hold what parking is to save.
  package init(_ state: [UInt8], codec: PayloadCodec, pool: MemoryPool? = nil) {
    stateBytes = state.count
    checksum = Checksum.crc32c(state)
    packed = state.withUnsafeBytes { codec.compressExactly($0, pool: pool) }
    raw = packed == nil ? state : []
  }

  /// Reads a parked state that was stored.
  ///
  /// Throws `malformed` and what `FrameCodec.decode` throws.
  package init(stored: [UInt8], limit: Int) throws(FrameError) {
    var reader = ByteReader(stored)
    guard let tag = reader.byte(), let encoding = FrameEncoding(rawValue: tag),
      let dictionary = reader.littleEndian(UInt32.self), let length = reader.littleEndian(UInt32.self),
      let checksum = reader.littleEndian(UInt32.self)
    else { throw .malformed("no parked state") }
    guard length <= limit else { throw .frameTooLarge(bytes: Int(length), limit: limit) }
    stateBytes = Int(length)
    self.checksum = checksum
    let body = Array(reader.remaining)
    if encoding == .raw {
      guard body.count == stateBytes, dictionary == 0 else { throw .malformed("raw bytes of another length") }
      (packed, raw) = (nil, body)
    } else {
      (packed, raw) = (CompressedPayload(encoding: encoding, dictionary: dictionary, bytes: body), [])
    }
  }

  /// Bytes that it takes.
  package var residentBytes: Int { packed?.bytes.count ?? raw.count }

  /// As it is stored.
  package var stored: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(residentBytes + 13)
    bytes.append((packed?.encoding ?? .raw).rawValue)
    bytes.append(littleEndian: packed?.dictionary ?? 0)
    bytes.append(littleEndian: UInt32(stateBytes))
    bytes.append(littleEndian: checksum)
    return bytes + (packed?.bytes ?? raw)
  }

  /// The state.
  ///
  /// Throws `checksumMismatch`, `corruptPayload` or `unknownDictionary`; none of them for a state that was parked in this
  /// process.
  package func restore(codec: PayloadCodec) throws(FrameError) -> [UInt8] {
    let state = try packed.map { packed throws(FrameError) in try codec.inflate(packed, size: stateBytes) } ?? raw
    guard Checksum.crc32c(state) == checksum else { throw .checksumMismatch }
    return state
  }
}

extension PayloadCodec {
  /// Packs a state that is parked into an array without slack.
  func compressExactly(_ bytes: UnsafeRawBufferPointer, pool: MemoryPool?) -> CompressedPayload? {
    let goal = goal(for: bytes.count)
    guard bytes.count >= policy.minimumBytes, goal > 0 else { return nil }
    func pack(_ scratch: UnsafeMutableRawBufferPointer) -> CompressedPayload? {
      let scratch = UnsafeMutableRawBufferPointer(rebasing: scratch[..<goal])
      guard let (count, dictionary) = self.pack(bytes, into: scratch, isParked: true) else { return nil }
      return CompressedPayload(
        encoding: dictionary == 0 ? .zstd : .zstdDictionary, dictionary: dictionary, bytes: Array(scratch[..<count]))
    }
    if let pool, var lease = pool.tryLease(goal) { return lease.withUnsafeMutableBytes(pack) }
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: goal, alignment: 16)
    defer { scratch.deallocate() }
    return pack(scratch)
  }

  /// Unpacks to an array of `size` bytes, which the caller has bounded.
  ///
  /// Throws `unknownDictionary` or `corruptPayload`.
  package func inflate(_ packed: CompressedPayload, size: Int) throws(FrameError) -> [UInt8] {
    var outcome = Result<Void, FrameError>.success(())
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { output, written in
      let target = UnsafeMutableRawBufferPointer(start: output.baseAddress, count: size)
      outcome = packed.bytes.withUnsafeBytes { input in
        Result { () throws(FrameError) in
          try decompress(input, encoding: packed.encoding, dictionary: packed.dictionary, into: target)
        }
      }
      if case .success = outcome { written = size }
    }
    try outcome.get()
    return bytes
  }
}
