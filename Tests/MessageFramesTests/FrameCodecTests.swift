import Testing

@testable import MessageFrames

@Suite struct FrameCodecTests {
  private let codec = FrameCodec(compressor: RunLength())

  private func messages(seed: UInt64) -> [FramedMessage] {
    var random = SplitMix(seed: seed)
    return (0..<1 + random.below(40)).map { _ in
      FramedMessage(
        kind: MessageClass.allCases[random.below(MessageClass.allCases.count)],
        lane: MessageLane.allCases[random.below(4)], payload: random.bytes(random.below(600)))
    }
  }

  @Test("What goes into a frame comes out of it, in order", arguments: 0..<50)
  func roundTrip(seed: UInt64) throws {
    let messages = messages(seed: seed)
    #expect(try codec.decode(codec.encode(messages)) == messages)
    let runs = messages.map { FramedMessage(kind: $0.kind, lane: $0.lane, payload: Array(repeating: 7, count: 300)) }
    let frame = try codec.encode(runs)
    #expect(frame[3] == FrameEncoding.zstd.rawValue && frame.count < 300)
    #expect(try codec.decode(frame) == runs)
  }

  @Test("The check value of CRC-32C is that of its definition, in pieces too")
  func checksum() {
    #expect(Checksum.crc32c(Array("123456789".utf8)) == 0xe306_9283)
    // RFC 3720, B.4: 32 bytes of zeros, of ones, and ascending.
    #expect(Checksum.crc32c([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(Checksum.crc32c([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(Checksum.crc32c(Array(0..<32)) == 0x46dd_794e)
    let whole = Array("123456789 and so on".utf8)
    for cut in whole.indices {
      let pieces = whole.withUnsafeBytes { bytes in
        let head = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<cut]))
        return Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[cut...]), after: head)
      }
      #expect(pieces == Checksum.crc32c(whole))
    }
  }

  @Test("The layout of a frame stays as it is documented: other versions read it")
  func layout() throws {
    let frame = try codec.encode([FramedMessage(kind: .task, lane: .bulk, payload: [1, 2, 3])])
    #expect(Array(frame[..<16]) == [0x53, 0x46, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0])
    #expect(Array(frame[20...]) == [0xc2, 3, 1, 2, 3])
    #expect(Array(frame[16..<20]) == [0x0a, 0xdc, 0xe2, 0x51])
  }

  @Test("A frame with any bit turned is refused", arguments: 0..<8)
  func bitFlips(seed: UInt64) throws {
    let frame = try codec.encode(Array(messages(seed: seed).prefix(4)))
    for bit in stride(from: Int(seed), to: frame.count * 8, by: 29) {
      var damaged = frame
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: FrameError.self) { try codec.decode(damaged) }
    }
    for count in stride(from: 0, to: frame.count, by: 5) {
      #expect(throws: FrameError.self) { try codec.decode(Array(frame[..<count])) }
    }
    #expect(throws: FrameError.self) { try codec.decode(frame + [0]) }
  }

  /// Damage that the checksum doesn't show, as of a sender that means ill.
  static func sealed(_ frame: [UInt8]) -> [UInt8] {
    guard frame.count >= 20 else { return frame }
    var frame = frame
    let sum = Checksum.crc32c(Array(frame[..<16] + frame[20...]))
    for shift in 0..<4 { frame[16 + shift] = UInt8(truncatingIfNeeded: sum >> UInt32(shift * 8)) }
    return frame
  }

  @Test("Frames of chance whose checksum is right never crash, and never give more than the limits", arguments: 0..<40)
  func fuzz(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    var limits = FrameLimits(messages: 64, storedBytes: 4_096, inflatedBytes: 8_192)
    limits[.heartbeat] = 512
    let codec = FrameCodec(limits: limits, compressor: RunLength())
    let base = try codec.encode([
      FramedMessage(kind: .heartbeat, lane: .high, payload: Array(repeating: 1, count: 200)),
      FramedMessage(kind: .task, lane: .bulk, payload: random.bytes(30)),
    ])
    var taken = 0
    for _ in 0..<200 {
      var frame = random.below(4) == 0 ? Array(base[..<4]) + random.bytes(random.below(100)) : base
      for _ in 0..<1 + random.below(4) where !frame.isEmpty {
        switch random.below(3) {
        case 0: frame[random.below(frame.count)] = UInt8(truncatingIfNeeded: random.next())
        case 1: frame.remove(at: random.below(frame.count))
        default: frame.insert(UInt8(truncatingIfNeeded: random.next()), at: random.below(frame.count))
        }
      }
      guard let messages = try? codec.decode(Self.sealed(frame)) else { continue }
      taken += 1
      #expect(messages.count <= 64 && messages.reduce(0) { $0 + $1.payload.count } <= 8_192)
      #expect(messages.allSatisfy { $0.payload.count <= limits[$0.kind] })
    }
    #expect(taken > 0, "the fuzzing must reach the reading of payloads")
  }

  @Test("What a frame announces is held against the limits before anything is unpacked")
  func bounds() throws {
    var limits = FrameLimits(messages: 2, storedBytes: 1_000, inflatedBytes: 700)
    limits[.heartbeat] = 100
    let codec = FrameCodec(limits: limits, compressor: RunLength())
    let wide = FrameCodec(compressor: RunLength())
    let beat = FramedMessage(kind: .heartbeat, lane: .normal, payload: Array(repeating: 1, count: 101))
    #expect(throws: FrameError.messageTooLarge(kind: .heartbeat, bytes: 101, limit: 100)) { try codec.encode([beat]) }
    let frame = try wide.encode([beat])
    #expect(throws: FrameError.messageTooLarge(kind: .heartbeat, bytes: 101, limit: 100)) { try codec.decode(frame) }
    let half = FramedMessage(kind: .task, lane: .normal, payload: Array(repeating: 1, count: 400))
    #expect(throws: FrameError.frameTooLarge(bytes: 800, limit: 700)) { try codec.encode([half, half]) }
    let halves = try wide.encode([half, half])
    #expect(throws: FrameError.frameTooLarge(bytes: 800, limit: 700)) { try codec.decode(halves) }
    #expect(throws: FrameError.messageCount(3, limit: 2)) { try codec.encode([beat, beat, beat]) }
    #expect(throws: FrameError.messageCount(0, limit: 2)) { try codec.encode([]) }
    let three = try wide.encode([beat, beat, beat])
    #expect(throws: FrameError.messageCount(3, limit: 2)) { try codec.decode(three) }
    let random = FramedMessage(kind: .task, lane: .normal, payload: Array(0...255) + Array(0...255) + Array(0...255))
    #expect(throws: FrameError.self) { try codec.encode([random, random]) }
    #expect(throws: FrameError.frameTooLarge(bytes: 1_001, limit: 1_000)) {
      try codec.decode([UInt8](repeating: 0, count: 1_001))
    }
  }

  @Test("A frame of a later version is told from a damaged one")
  func versions() throws {
    var frame = try codec.encode([FramedMessage(kind: .task, lane: .normal, payload: [1])])
    frame[2] = 2
    #expect(throws: FrameError.unknownVersion(2)) { try codec.decode(frame) }
    frame[0] = 0
    #expect(throws: FrameError.notAFrame) { try codec.decode(frame) }
  }

  @Test("A receiver without a compressor refuses packed frames")
  func withoutCompressor() throws {
    let frame = try codec.encode([FramedMessage(kind: .task, lane: .normal, payload: Array(repeating: 0, count: 99))])
    #expect(throws: FrameError.malformed("this receiver takes no packed frames")) { try FrameCodec().decode(frame) }
  }
}
