import MessageFrames
import Testing

@testable import PayloadCompression

@Suite struct PayloadCodecTests {
  private let codec = PayloadCodec()

  private func unpacked(_ packed: CompressedPayload, _ size: Int, by reader: PayloadCodec) throws -> [UInt8] {
    try reader.inflate(packed, size: size)
  }

  @Test(
    "Payloads of any size come back as they were", arguments: [0, 1, 255, 256, 300, 4_000, 16_383, 16_384, 300_000])
  func roundTrip(size: Int) throws {
    var random = SplitMix(seed: UInt64(size))
    let text = random.text(size)
    guard let packed = text.withUnsafeBytes({ codec.compress($0) }) else { return #expect(size < 256) }
    #expect(size >= 256 && packed.bytes.count < size * 95 / 100 + 1)
    #expect((packed.encoding == .zstdDictionary) == (size < 16_384))
    #expect(packed.dictionary == (size < 16_384 ? PayloadCodec.packingDictionary : 0))
    #expect(try unpacked(packed, size, by: PayloadCodec()) == text)
  }

  @Test("What doesn't pack stays as it is", arguments: [256, 5_000, 100_000])
  func incompressible(size: Int) {
    var random = SplitMix(seed: 1)
    #expect(random.bytes(size).withUnsafeBytes { codec.compress($0) } == nil)
    // A gain of about 3 %: zeros among chance.
    let nearly = random.bytes(size * 97 / 100) + [UInt8](repeating: 0, count: size * 3 / 100)
    #expect(nearly.withUnsafeBytes { codec.compress($0) } == nil)
  }

  @Test("A heartbeat takes less than half with the dictionary of what it takes without")
  func dictionary() throws {
    let beat = Array(
      #"""
      {"type":"heartbeat","pod":"forum-review-6d5f9c7b8-x2x9k","incarnation":"9f86d081884c7d65","epoch":17,"sequence":48213,"sentAt":"2026-03-04T05:06:07.089Z","uptimeSeconds":86400,"slots":{"total":24,"busy":19,"idle":5,"draining":0},"waiting":{"critical":0,"high":2,"normal":7,"bulk":1},"budget":{"group":"claude-sonnet-4-5","requestsPerMinute":217,"inputTokensPerMinute":912000,"outputTokensPerMinute":77120,"waiting":3},"memory":{"residentBytes":73400320,"pooledBytes":4194304},"cpuMillicores":412,"tasks":[]}
      """#.utf8)
    let packed = try #require(beat.withUnsafeBytes { codec.compress($0) })
    let plain = PayloadCodec(dictionary: 0)
    let without = try #require(beat.withUnsafeBytes { plain.compress($0) })
    #expect(without.encoding == .zstd && packed.bytes.count * 2 < without.bytes.count)
    #expect(try unpacked(packed, beat.count, by: plain) == beat, "every dictionary of the program is read")
  }

  @Test("A dictionary that isn't there is named")
  func unknownDictionary() throws {
    var random = SplitMix(seed: 3)
    var packed = try #require(random.text(1_000).withUnsafeBytes { codec.compress($0) })
    packed.dictionary = 77
    #expect(throws: FrameError.unknownDictionary(77)) { try codec.inflate(packed, size: 1_000) }
  }

  @Test("Added dictionaries go, the oldest first; those of the program stay")
  func dictionaries() throws {
    let dictionaries = CompressionDictionaries(capacity: 2)
    let own = dictionaries.ids
    #expect(own.contains(PayloadCodec.packingDictionary))
    for id in UInt32(101)...104 {
      // A dictionary begins with its magic number and its id: this one is the built-in one under another id.
      var bytes = try #require(Self.builtInBytes)
      for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: id >> UInt32(index * 8)) }
      let dictionary = try #require(CompressionDictionary(bytes: bytes))
      #expect(dictionary.id == id && dictionary.size == bytes.count)
      dictionaries.add(dictionary)
      dictionaries.add(dictionary)
    }
    #expect(dictionaries.ids == own + [103, 104])
    let text = Array(#"{"type":"heartbeat","pod":"a","slots":{"total":24,"busy":19,"idle":5,"draining":0}}"#.utf8)
    let body = text + text + text + text
    let packed = try #require(
      body.withUnsafeBytes { PayloadCodec(dictionaries: dictionaries, dictionary: 104).compress($0) })
    #expect(packed.dictionary == 104)
    #expect(throws: FrameError.unknownDictionary(104)) { try codec.inflate(packed, size: body.count) }
    #expect(try PayloadCodec(dictionaries: dictionaries).inflate(packed, size: body.count) == body)
    #expect(CompressionDictionary(bytes: Array("no dictionary".utf8)) == nil)
  }

  private static let builtInBytes: [UInt8]? = BuiltIn.bytes(id: PayloadCodec.packingDictionary)

  @Test("A bomb of a gigabyte is refused without a gigabyte: the size must be announced, and within its class's bound")
  func bomb() throws {
    // 4 MiB of zeros in a few hundred bytes, many of them: a packed stream may have many parts.
    let zeros = [UInt8](repeating: 0, count: 4 << 20)
    let packed = try #require(zeros.withUnsafeBytes { codec.compress($0) })
    #expect(packed.bytes.count < 1_000)
    let bomb = CompressedPayload(
      encoding: .zstd, dictionary: 0, bytes: Array((0..<256).map { _ in packed.bytes }.joined()))
    #expect(throws: FrameError.self) { try codec.inflate(bomb, size: 1_000) }
    #expect(throws: FrameError.self) { try codec.inflate(bomb, size: zeros.count) }
    // The same in a frame that tells the truth, and in one that lies.
    let frames = FrameCodec(compressor: codec)
    let honest = try FrameCodec(limits: Self.wide, compressor: codec).encode([
      FramedMessage(kind: .heartbeat, lane: .normal, payload: zeros)
    ])
    #expect(honest.count < 1_000)
    #expect(throws: FrameError.messageTooLarge(kind: .heartbeat, bytes: 4 << 20, limit: 64 << 10)) {
      try frames.decode(honest)
    }
    let lying = try FrameCodec(limits: Self.wide, compressor: Liar(packed: bomb)).encode([
      FramedMessage(kind: .heartbeat, lane: .normal, payload: [UInt8](repeating: 0, count: 60_000))
    ])
    #expect(throws: FrameError.self) { try frames.decode(lying) }
  }

  private static var wide: FrameLimits {
    var limits = FrameLimits(storedBytes: 8 << 20, inflatedBytes: 1 << 30)
    limits[.heartbeat] = 1 << 30
    return limits
  }

  /// Gives the same packed bytes for everything.
  private struct Liar: FrameCompressor {
    let packed: CompressedPayload
    func compress(_: UnsafeRawBufferPointer) -> CompressedPayload? { packed }
    func decompress(
      _: UnsafeRawBufferPointer, encoding: FrameEncoding, dictionary: UInt32, into _: UnsafeMutableRawBufferPointer
    ) throws(FrameError) {}
  }

  @Test("Damaged packed bytes never crash, and never give a wrong size", arguments: 0..<30)
  func fuzz(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let text = random.text(300 + random.below(20_000))
    let packed = try #require(text.withUnsafeBytes { codec.compress($0) })
    for _ in 0..<100 {
      var damaged = packed
      for _ in 0..<1 + random.below(3) where !damaged.bytes.isEmpty {
        switch random.below(3) {
        case 0: damaged.bytes[random.below(damaged.bytes.count)] = UInt8(truncatingIfNeeded: random.next())
        case 1: damaged.bytes.removeLast(min(damaged.bytes.count, 1 + random.below(50)))
        default: damaged.bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: random.below(damaged.bytes.count))
        }
      }
      if let result = try? codec.inflate(damaged, size: text.count) { #expect(result.count == text.count) }
    }
  }

  @Test("Frames packed by zstd come back through another codec, many at once")
  func frames() async throws {
    await withTaskGroup(of: Bool.self) { group in
      for seed in 0..<16 {
        group.addTask {
          var random = SplitMix(seed: UInt64(seed))
          let frames = FrameCodec(compressor: codec)
          for _ in 0..<20 {
            let messages = (0..<1 + random.below(20)).map { _ in
              FramedMessage(kind: .result, lane: .bulk, payload: random.text(random.below(2_000)))
            }
            guard let frame = try? frames.encode(messages), (try? frames.decode(frame)) == messages else {
              return false
            }
          }
          return true
        }
      }
      for await isSame in group { #expect(isSame) }
    }
    #expect(codec.idleBytes > 0)
    #expect(codec.trim() > 0 && codec.idleBytes == 0)
  }
}
