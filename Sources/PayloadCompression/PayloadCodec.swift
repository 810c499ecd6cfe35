import CZstd
package import MessageFrames

/// Packs and unpacks payloads by a policy. One for a process: its contexts and dictionaries are shared by all threads.
package final class PayloadCodec: FrameCompressor {
  /// What is packed how.
  package let policy: CompressionPolicy
  /// What can be unpacked.
  package let dictionaries: CompressionDictionaries
  private let packing: CompressionDictionary?
  private let compression: CodecContexts
  private let decompression: CodecContexts

  /// The dictionary that this version packs with: 2. A new one is first shipped to be read, and named here a version later.
  package static let packingDictionary: UInt32 = 2

  /// Makes a codec. `dictionary`: the id of the one to pack with; 0, or one that isn't known: none. `idleContexts`: how
  /// many contexts of each kind are kept while nobody uses them; as many as threads pack at a time.
  package init(
    policy: CompressionPolicy = CompressionPolicy(), dictionaries: CompressionDictionaries = CompressionDictionaries(),
    dictionary: UInt32 = PayloadCodec.packingDictionary, idleContexts: Int = 4
  ) {
    self.policy = policy
    self.dictionaries = dictionaries
    packing = dictionaries[dictionary]
    compression = CodecContexts(.compression, idleLimit: idleContexts)
    decompression = CodecContexts(.decompression, idleLimit: idleContexts)
  }

  /// Lets go of the working memory that nobody uses; gives its bytes. For a driver that is idle.
  @discardableResult
  package func trim() -> Int { compression.trim() + decompression.trim() }

  /// Bytes of working memory that nobody uses now.
  package var idleBytes: Int { compression.idleBytes + decompression.idleBytes }

  // MARK: FrameCompressor

  package func compress(_ bytes: UnsafeRawBufferPointer) -> CompressedPayload? {
    let goal = goal(for: bytes.count)
    guard bytes.count >= policy.minimumBytes, goal > 0 else { return nil }
    var used = UInt32(0)
    let packed = [UInt8](unsafeUninitializedCapacity: goal) { output, written in
      let result = pack(bytes, into: UnsafeMutableRawBufferPointer(output))
      written = result?.count ?? 0
      used = result?.dictionary ?? 0
    }
    guard !packed.isEmpty else { return nil }
    return CompressedPayload(encoding: used == 0 ? .zstd : .zstdDictionary, dictionary: used, bytes: packed)
  }

  package func decompress(
    _ bytes: UnsafeRawBufferPointer, encoding: FrameEncoding, dictionary: UInt32,
    into output: UnsafeMutableRawBufferPointer
  ) throws(FrameError) {
    var digest: CompressionDictionary.Digest?
    switch encoding {
    case .raw: throw .malformed("raw bytes are no packed ones")
    case .zstd:
      guard dictionary == 0 else { throw .malformed("plain zstd with a dictionary") }
    case .zstdDictionary:
      guard let known = dictionaries[dictionary] else { throw .unknownDictionary(dictionary) }
      guard let made = known.decompressor() else { throw .corruptPayload("no memory for its dictionary") }
      digest = made
    }
    // zstd keeps the pointer only: the tables must outlive the whole call, also where the dictionary is dropped meanwhile.
    defer { withExtendedLifetime(digest) {} }
    try unpack(bytes, into: output) { context in
      guard let digest else { return 0 }
      return ZSTD_DCtx_refDDict(context, digest.pointer)
    }
  }

  // MARK: Against a base

  /// Packs against `base`, which the reader must have: only what is new takes room. nil where it doesn't pay.
  package func compress(_ bytes: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer) -> [UInt8]? {
    let goal = goal(for: bytes.count)
    guard goal > 0 else { return nil }
    let packed = [UInt8](unsafeUninitializedCapacity: goal) { output, written in
      written =
        compress(bytes, into: UnsafeMutableRawBufferPointer(output), level: policy.level) { context in
          // The window must reach from the end of the state to the beginning of the base; 10 to 27 bits are what any
          // decoder takes.
          let window = Int.bitWidth - (bytes.count + base.count).leadingZeroBitCount
          ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, Int32(min(max(window, 10), 27)))
          if base.count > 1 << 20 { ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1) }
          return ZSTD_CCtx_refPrefix(context, base.baseAddress, base.count)
        } ?? 0
    }
    return packed.isEmpty ? nil : packed
  }

  /// Unpacks what was packed against `base`, to exactly the size of `output`.
  ///
  /// Throws `corruptPayload`.
  package func decompress(
    _ bytes: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) throws(FrameError) {
    try unpack(bytes, into: output) { ZSTD_DCtx_refPrefix($0, base.baseAddress, base.count) }
  }

  // MARK: Packing

  /// The most bytes that the packed form may have.
  func goal(for count: Int) -> Int { count - max(1, (count * policy.minimumGain + 99) / 100) }

  /// Packs into `output`; nil where it doesn't fit, which is how the guard against what can't be packed works: zstd ends early.
  func pack(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, isParked: Bool = false
  ) -> (count: Int, dictionary: UInt32)? {
    let dictionary = isParked || bytes.count < policy.dictionaryBytes ? packing : nil
    let level = isParked ? policy.parkingLevel : dictionary == nil ? policy.level : policy.dictionaryLevel
    let digest = dictionary?.compressor(level: level)
    defer { withExtendedLifetime(digest) {} }
    let count = compress(bytes, into: output, level: level) { context in
      guard let digest else { return 0 }
      return ZSTD_CCtx_refCDict(context, digest.pointer)
    }
    return count.map { ($0, digest == nil ? 0 : dictionary?.id ?? 0) }
  }

  private func compress(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, level: Int32,
    prepare: (OpaquePointer) -> Int
  ) -> Int? {
    let count = compression.with { context -> Int? in
      ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters)
      ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
      // The frame's header names the dictionary and its checksum covers everything.
      ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0)
      ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0)
      guard ZSTD_isError(prepare(context)) == 0 else { return nil }
      let count = ZSTD_compress2(context, output.baseAddress, output.count, bytes.baseAddress, bytes.count)
      return ZSTD_isError(count) == 0 ? count : nil
    }
    return count ?? nil
  }

  private func unpack(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, prepare: (OpaquePointer) -> Int
  ) throws(FrameError) {
    let outcome = decompression.with { context -> FrameError? in
      ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters)
      let prepared = prepare(context)
      guard ZSTD_isError(prepared) == 0 else { return .corruptPayload(Self.name(of: prepared)) }
      let count = ZSTD_decompressDCtx(context, output.baseAddress, output.count, bytes.baseAddress, bytes.count)
      guard ZSTD_isError(count) == 0 else { return .corruptPayload(Self.name(of: count)) }
      return count == output.count ? nil : .corruptPayload("\(count) bytes instead of \(output.count)")
    }
    switch outcome {
    case .none: throw .corruptPayload("no memory to unpack it")
    case .some(let failure?): throw failure
    case .some(nil): return
    }
  }

  private static func name(of error: Int) -> String { String(cString: ZSTD_getErrorName(error)) }
}
