import Testing

@testable import CoordinationCore

private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

@Suite struct ChecksumTests {
  @Test(
    "SHA-256 as FIPS 180-4 gives it",
    arguments: [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
    ])
  func sha(text: String, digest: String) { #expect("\(Digest256(of: Array(text.utf8)))" == digest) }

  @Test("SHA-256 at each length around a block")
  func shaLengths() {
    // A million letters a, in FIPS 180's long example.
    #expect(
      "\(Digest256(of: [UInt8](repeating: 0x61, count: 1_000_000)))"
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    #expect(Set((0..<200).map { Digest256(of: [UInt8](repeating: 7, count: $0)) }).count == 200)
  }

  @Test("CRC-32C as RFC 3720 gives it")
  func crc() {
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
  }
}

/// A store of checkpoints with a head, which can be damaged.
private struct Store {
  var blobs: [Digest256: [UInt8]] = [:]
  var head: CheckpointChain.Head?

  /// Writes a frame, reads it back and moves the head; `damage` changes what is stored.
  mutating func commit(
    _ chain: inout CheckpointChain, step: UInt64, isDelta: Bool, damage: (inout [UInt8]) -> Void = { _ in }
  ) throws {
    let frame = try chain.frame(
      step: step, codec: .raw, isDelta: isDelta, inflatedLength: 4, payload: [UInt8(step & 255), 1, 2, 3])
    var bytes = frame.encoded
    damage(&bytes)
    blobs[Digest256(of: frame.encoded)] = bytes
    let next = try chain.headAfter(frame, readBack: bytes)
    try CheckpointChain.check(next, parent: frame.parent, after: head)
    head = next
    chain.moved(to: next, isDelta: isDelta)
    blobs = blobs.filter { chain.kept.contains($0.key) }
  }
}

@Suite struct CheckpointTests {
  private let frame = CheckpointFrame(
    codec: .zstdWithDictionary, kind: .delta, dictionary: 7, epoch: 3, step: 41, parent: Digest256(of: [1]),
    inflatedLength: 60_000, payload: Array(0..<200))

  @Test("A frame is read as it was written")
  func roundTrip() throws {
    #expect(try CheckpointFrame(decoding: frame.encoded) == frame)
    #expect(frame.encoded.count == 72 + 200 + 4)
  }

  @Test("Each changed bit, each lost and each added byte is found")
  func damage() throws {
    let bytes = frame.encoded
    for bit in 0..<(8 * bytes.count) {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: CheckpointFrame.Failure.self) { try CheckpointFrame(decoding: damaged) }
    }
    for length in 0..<bytes.count {
      #expect(throws: CheckpointFrame.Failure.self) { try CheckpointFrame(decoding: Array(bytes.prefix(length))) }
    }
    #expect(throws: CheckpointFrame.Failure.self) { try CheckpointFrame(decoding: bytes + [0]) }
  }

  @Test("Bytes of any kind are refused and not trusted with memory", arguments: 0..<200)
  func noise(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var bytes = (0..<dice.roll(300)).map { _ in UInt8(dice.roll(256)) }
    if bytes.count > 5, seed % 2 == 0 { bytes.replaceSubrange(0..<5, with: Array("SWCK".utf8) + [1]) }
    #expect(throws: CheckpointFrame.Failure.self) { try CheckpointFrame(decoding: bytes) }
  }

  @Test("A checkpoint that would inflate beyond the limit is refused before anything is allocated")
  func bomb() {
    var bomb = frame
    bomb.inflatedLength = 1 << 40
    #expect(throws: CheckpointFrame.Failure.tooLarge(bytes: 1 << 40, limit: 64 << 20)) {
      try CheckpointFrame(decoding: bomb.encoded)
    }
  }

  @Test("C02: an encoder that writes garbage at step 3 leaves the head at step 2")
  func garbage() throws {
    var store = Store()
    var chain = try CheckpointChain(epoch: 1)
    try store.commit(&chain, step: 1, isDelta: false)
    try store.commit(&chain, step: 2, isDelta: true)
    #expect(throws: CheckpointChain.Failure.damaged(.wrongChecksum)) {
      try store.commit(&chain, step: 3, isDelta: true) { $0[73] ^= 4 }
    }
    let head = try #require(store.head)
    let found = try CheckpointChain.restore(head) { store.blobs[$0] }
    #expect(found.step == 2 && found.frames.map(\.kind) == [.full, .delta] && found.damaged.isEmpty)
    // Written again it counts.
    try store.commit(&chain, step: 3, isDelta: true)
    #expect(store.head?.step == 3)
  }

  @Test("C03: of two that resume from one checkpoint the second is told, and nothing of the first is lost")
  func conflict() throws {
    var store = Store()
    var chain = try CheckpointChain(epoch: 1)
    try store.commit(&chain, step: 1, isDelta: false)
    let found = try CheckpointChain.restore(#require(store.head)) { store.blobs[$0] }
    var one = try CheckpointChain(epoch: 1, head: store.head, restored: found)
    var two = one
    try store.commit(&one, step: 2, isDelta: true)
    let (first, parent) = (store.head, two.head?.digest)
    #expect(throws: CheckpointChain.Failure.conflict(expected: parent ?? .none, found: first?.digest ?? .none)) {
      try store.commit(&two, step: 3, isDelta: true)
    }
    #expect(store.head == first)
    // A later claim fences the first.
    let after = try CheckpointChain.restore(#require(store.head)) { store.blobs[$0] }
    var later = try CheckpointChain(epoch: 2, head: store.head, restored: after)
    try store.commit(&later, step: 4, isDelta: true)
    #expect(throws: CheckpointChain.Failure.fenced(epoch: 1, current: 2)) {
      try store.commit(&one, step: 5, isDelta: true)
    }
    #expect(throws: CheckpointChain.Failure.fenced(epoch: 1, current: 2)) {
      try CheckpointChain(epoch: 1, head: store.head)
    }
  }

  @Test(
    "Every sixteenth checkpoint is full, across claims as well, and whichever are damaged the newest whole chain is found",
    arguments: 0..<30)
  func chains(seed: Int) throws {
    var dice = Dice(state: UInt64(seed))
    var store = Store()
    var chain = try CheckpointChain(epoch: 1)
    var deltas = 0
    for step in 1...UInt64(20 + dice.roll(60)) {
      let isDelta = !chain.needsFull
      deltas = isDelta ? deltas + 1 : 0
      #expect(deltas < CheckpointChain.fullInterval)
      try store.commit(&chain, step: step, isDelta: isDelta)
      if dice.roll(10) == 0 {
        let head = try #require(store.head)
        let found = try CheckpointChain.restore(head) { store.blobs[$0] }
        #expect(found.step == step && found.frames.count <= CheckpointChain.fullInterval)
        chain = try CheckpointChain(epoch: chain.epoch + 1, head: head, restored: found)
      }
    }
    let head = try #require(store.head)
    let kept = [head.digest] + head.history
    // The head alone: one step.
    var damaged = store
    damaged.blobs[head.digest]?[75] ^= 1
    #expect(try CheckpointChain.restore(head) { damaged.blobs[$0] }.step == head.step - 1)
    // Any, some missing: what is found is whole, and nothing newer is.
    for _ in 0..<3 { damaged.blobs[kept[dice.roll(kept.count)]] = dice.roll(2) == 0 ? nil : [1, 2, 3] }
    if let found = try? CheckpointChain.restore(head, load: { damaged.blobs[$0] }) {
      #expect(found.frames.first?.kind == .full)
      for (one, next) in zip(found.frames, found.frames.dropFirst()) {
        #expect(next.parent == Digest256(of: one.encoded) && next.kind == .delta)
      }
      #expect(found.step < head.step && !found.damaged.isEmpty)
    }
    #expect(throws: CheckpointChain.Failure.nothingReadable(tried: kept.count)) {
      try CheckpointChain.restore(head) { _ in nil }
    }
  }
}

@Suite struct StepJournalTests {
  /// Runs a task of so many calls against a journal that is kept in `store`, and dies before the `crash`th effect.
  private func run(
    calls: Int, epoch: UInt64, store: inout [StepJournal.Entry], made: inout [String], crash: Int?
  ) throws -> Bool {
    var journal = try StepJournal(task: "t", epoch: epoch, recovered: store)
    var left = crash ?? .max
    for call in 0..<calls {
      var effects = try journal.handle(.call(Digest256(of: [UInt8(call)])))
      while let effect = effects.first {
        effects.removeFirst()
        guard left > 0 else { return false }
        left -= 1
        switch effect {
        case .record(let entry):
          store.append(entry)
          // It may die between the store's answer and what follows.
          guard left > 0 else { return false }
          effects += try journal.handle(.recorded)
        case .perform(let key, let isRepeat):
          #expect(isRepeat == made.contains(key) || isRepeat, "a call is made twice and not called a repetition")
          made.append(key)
          guard left > 0 else { return false }
          effects += try journal.handle(.answered(Array("answer \(call)".utf8)))
        case .deliver(let bytes): #expect(bytes == Array("answer \(call)".utf8))
        }
      }
    }
    return true
  }

  @Test("Wherever it dies, at most the call under way is made again, under the same key", arguments: 0..<25)
  func crash(at effect: Int) throws {
    var store: [StepJournal.Entry] = []
    var made: [String] = []
    let isDone = try run(calls: 6, epoch: 1, store: &store, made: &made, crash: effect)
    if !isDone { #expect(try run(calls: 6, epoch: 2, store: &store, made: &made, crash: nil)) }
    #expect(Set(made) == Set((0..<6).map { "t/\($0)" }))
    #expect(made.count <= 7, "\(made)")
  }

  @Test("Dying at every call again and again costs one repetition each time", arguments: 0..<20)
  func crashes(seed: Int) throws {
    var dice = Dice(state: UInt64(seed))
    var store: [StepJournal.Entry] = []
    var made: [String] = []
    var epoch: UInt64 = 0
    repeat { epoch += 1 } while try !run(calls: 10, epoch: epoch, store: &store, made: &made, crash: 3 + dice.roll(40))
    #expect(made.count <= 10 + Int(epoch) - 1)
  }

  @Test("Code that makes other calls than before, and claims that are over, are told")
  func failures() throws {
    let first = StepJournal.Entry(sequence: 0, epoch: 2, kind: .intent(Digest256(of: [0])))
    #expect(throws: StepJournal.Failure.fenced(epoch: 1, current: 2)) {
      try StepJournal(task: "t", epoch: 1, recovered: [first])
    }
    var journal = try StepJournal(task: "t", epoch: 3, recovered: [first])
    let (recorded, wanted) = (Digest256(of: [0]), Digest256(of: [9]))
    #expect(throws: StepJournal.Failure.diverged(sequence: 0, recorded: recorded, wanted: wanted)) {
      try journal.handle(.call(wanted))
    }
    #expect(throws: StepJournal.Failure.unexpected) { try journal.handle(.recorded) }
    #expect(throws: StepJournal.Failure.broken(sequence: 4)) {
      try StepJournal(task: "t", epoch: 3, recovered: [.init(sequence: 4, epoch: 1, kind: .intent(recorded))])
    }
  }

  @Test("A checkpoint makes what is behind it superfluous")
  func base() throws {
    var store: [StepJournal.Entry] = []
    var made: [String] = []
    _ = try run(calls: 4, epoch: 1, store: &store, made: &made, crash: nil)
    var journal = try StepJournal(task: "t", epoch: 2, base: 3, recovered: store)
    #expect(journal.replayable == 1 && journal.sequence == 3)
    #expect(try journal.handle(.call(Digest256(of: [3]))) == [.deliver(Array("answer 3".utf8))])
    #expect(journal.sequence == 4)
  }

  @Test("A call that failed without effect is made again under the same key, and isn't a repetition of another claim's")
  func again() throws {
    var journal = try StepJournal(task: "t", epoch: 1)
    let call = Digest256(of: [1])
    _ = try journal.handle(.call(call))
    #expect(try journal.handle(.recorded) == [.perform(key: "t/0", isRepeat: false)])
    #expect(try journal.handle(.failed).isEmpty)
    _ = try journal.handle(.call(call))
    #expect(try journal.handle(.recorded) == [.perform(key: "t/0", isRepeat: false)])
  }
}

@Suite struct OutboxTests {
  @Test("Results that come while the engine is away are sent in order when it is back, each until it is acknowledged")
  func replay() {
    var outbox = Outbox(isConnected: false)
    for number in 0..<100 {
      #expect(outbox.handle(.put(key: "r\(number)", bytes: 10), now: at(0)) == [.store("r\(number)")])
    }
    #expect(outbox.handle(.put(key: "r5", bytes: 10), now: at(0)).isEmpty, "a key has one result")
    let first = outbox.handle(.connected, now: at(60))
    #expect(first == (0..<64).map { .send("r\($0)", attempt: 1) })
    #expect(
      outbox.handle(.acknowledged("r0"), now: at(60)) == [.remove("r0", isRefused: false), .send("r64", attempt: 1)])
    #expect(outbox.handle(.refused("r1"), now: at(60)) == [.remove("r1", isRefused: true), .send("r65", attempt: 1)])
    // The answers are lost.
    #expect(outbox.nextDeadline == at(70))
    let again = outbox.handle(.tick, now: at(70))
    #expect(again.count == 64 && again.first == .send("r2", attempt: 2))
  }

  @Test("It is bounded: beyond that its owner is told, and what it has stays")
  func bounded() {
    var policy = Outbox.Policy()
    policy.entries = 3
    policy.bytes = 100
    var outbox = Outbox(policy: policy, isConnected: false)
    #expect(outbox.handle(.put(key: "a", bytes: 60), now: at(0)) == [.store("a")])
    #expect(outbox.handle(.put(key: "b", bytes: 60), now: at(0)) == [.reject("b")])
    for key in ["b", "c"] { #expect(outbox.handle(.put(key: key, bytes: 10), now: at(0)) == [.store(key)]) }
    #expect(outbox.handle(.put(key: "d", bytes: 1), now: at(0)) == [.reject("d")])
    #expect(outbox.fillPercent == 100 && outbox.count == 3)
  }

  @Test("Whatever is lost, everything arrives once the engine answers", arguments: 0..<40)
  func property(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var outbox = Outbox()
    var (taken, arrived): (Set<String>, Set<String>) = ([], [])
    var now = Duration.zero
    func deliver(_ effects: [Outbox.Effect], loss: Int) {
      var effects = effects
      while let effect = effects.popLast() {
        switch effect {
        case .store(let key): taken.insert(key)
        case .send(let key, _):
          guard dice.roll(100) >= loss else { continue }
          arrived.insert(key)
          if dice.roll(100) >= loss { effects += outbox.handle(.acknowledged(key), now: now) }
        case .remove(let key, let isRefused):
          #expect(!isRefused && arrived.contains(key), "\(key) is forgotten and isn't safe")
        case .reject: break
        }
      }
    }
    for step in 0..<500 {
      now += .milliseconds(dice.roll(500))
      switch dice.roll(10) {
      case 0: _ = outbox.handle(.disconnected, now: now)
      case 1: deliver(outbox.handle(.connected, now: now), loss: 30)
      case 2: deliver(outbox.handle(.tick, now: now), loss: 30)
      default: deliver(outbox.handle(.put(key: "r\(step)", bytes: 1), now: now), loss: 30)
      }
    }
    deliver(outbox.handle(.connected, now: now), loss: 0)
    for _ in 0..<100 {
      now += .seconds(10)
      deliver(outbox.handle(.tick, now: now), loss: 0)
    }
    #expect(arrived == taken && outbox.count == 0 && taken.count > 100)
  }
}
