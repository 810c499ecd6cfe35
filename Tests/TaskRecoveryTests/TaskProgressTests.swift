import CoordinationEngine
import LocalEngine
import TaskQueue
import TaskRecovery
import Testing

@Suite struct StepTests {
  @Test("A step's answer is recorded: a resumed task gets it and the call isn't made again")
  func replay() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    #expect(try await first.take("read", calls) == "answer to read")
    #expect(try await first.take("review", calls) == "answer to review")
    let second = bench.progress(try await bench.claim())
    #expect(try await second.take("read", calls) == "answer to read")
    #expect(try await second.take("review", calls) == "answer to review")
    #expect(try await second.take("write", calls) == "answer to write")
    #expect(calls.names == ["read", "review", "write"] && calls.repeats == [false, false, false])
    #expect(Set(calls.keys).count == 3)
    #expect(await second.counts.replayed == 2)
  }

  @Test("A crash during a call repeats that one, under the same key, and says so")
  func crash() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    try await first.take("read", calls)
    // The worker dies with the call under way: nothing of it is said to the engine.
    await #expect(throws: Broken.self) {
      _ = try await first.step("review", request: Array("review".utf8)) {
        _ = calls.made("review", $0)
        throw Broken()
      }
    }
    let second = bench.progress(try await bench.claim())
    try await second.take("read", calls)
    try await second.take("review", calls)
    #expect(calls.names == ["read", "review", "review"] && calls.repeats == [false, false, true])
    #expect(calls.keys[1] == calls.keys[2])
  }

  @Test("A worker that lost its task can't record: its answer is refused, and the next claim's counts")
  func fenced() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    try await first.take("read", calls)
    let second = bench.progress(try await bench.claim())
    await #expect(throws: RecoveryError.self) { try await first.take("review", calls) }
    try await second.take("read", calls)
    #expect(try await second.take("review", calls) == "answer to review")
    #expect(calls.names == ["read", "review"], "the late worker was stopped at its intent")
    // And while the call was under way.
    let third = bench.progress(try await bench.claim())
    await #expect(throws: RecoveryError.self) {
      for name in ["read", "review"] { try await third.take(name, calls) }
      _ = try await third.step("late", request: Array("late".utf8)) { call in
        let fourth = bench.progress(try await bench.claim())
        for name in ["read", "review", "late"] { try await fourth.take(name, calls) }
        return calls.made("late", call)
      }
    }
    let fifth = bench.progress(try await bench.claim())
    for name in ["read", "review", "late"] { try await fifth.take(name, calls) }
    #expect(calls.names == ["read", "review", "late", "late"])
  }

  @Test("A lease that has run out holds on until somebody else has the task: then no further call is made")
  func expired() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    bench.clock.advance(.seconds(31))
    try await first.take("read", calls)
    #expect(calls.names == ["read"])
    bench.clock.advance(.seconds(62))
    _ = try await bench.claim()
    await #expect(throws: RecoveryError.self) { try await first.take("review", calls) }
    #expect(calls.names == ["read"])
  }

  @Test("Other steps than the recorded ones, or two at a time, are refused in words")
  func diverged() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    try await first.take("read", calls)
    let second = bench.progress(try await bench.claim())
    await #expect(throws: RecoveryError.self) { try await second.take("write", calls) }
    try await second.take("read", calls)
    await #expect(throws: RecoveryError.concurrent("step inner")) {
      _ = try await second.step("outer", request: [1]) { _ in
        try await second.step("inner", request: [2]) { _ in [] }
      }
    }
  }

  @Test("An answer of megabytes goes to the blobs and comes back whole")
  func large() async throws {
    let bench = try await Bench()
    let answer = [UInt8](repeating: 7, count: 3 << 20)
    let first = bench.progress(try await bench.claim())
    _ = try await first.step("large", request: [1]) { _ in answer }
    let second = bench.progress(try await bench.claim())
    let again = try await second.step("large", request: [1]) { _ in throw Broken() }
    #expect(again == answer)
  }

  @Test(
    "A damaged answer is found: that call and those after it are made again, those before it aren't", arguments: 0..<3)
  func damaged(place: Int) async throws {
    let bench = try await Bench()
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    for name in ["a", "b", "c"] { try await first.take(name, calls) }
    let entries = try await bench.engine.state.list("recovery.").entries
    let entry = try #require(entries.first { $0.key.contains(".answer.\(place).") })
    var value = entry.value
    value[value.count - 1] ^= 1
    try await bench.engine.state.put(entry.key, value)
    let second = bench.progress(try await bench.claim())
    for name in ["a", "b", "c"] { #expect(try await second.take(name, calls) == "answer to \(name)") }
    #expect(calls.names.count == 3 + 3 - place)
    let third = bench.progress(try await bench.claim())
    for name in ["a", "b", "c"] { try await third.take(name, calls) }
    #expect(calls.names.count == 3 + 3 - place)
  }

  @Test("What is kept of a task is gone when it is finished")
  func finished() async throws {
    let bench = try await Bench()
    let calls = Calls()
    let task = bench.progress(try await bench.claim())
    for name in ["a", "b"] { try await task.take(name, calls) }
    try await task.checkpoint([1, 2, 3])
    #expect(try await !bench.engine.state.list("recovery.").entries.isEmpty)
    await task.finish()
    #expect(try await bench.engine.state.list("recovery.").entries.isEmpty)
  }
}

@Suite struct CheckpointTests {
  /// States that grow and change, as an agent's do.
  static func states(_ count: Int) -> [[UInt8]] {
    var state = (0..<20_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
    return (0..<count).map { number in
      state += (0..<200).map { UInt8(truncatingIfNeeded: $0 ^ number) }
      state[number * 11] = UInt8(truncatingIfNeeded: number)
      return state
    }
  }

  @Test("Each checkpoint comes back, whichever claim wrote it; most of them are small, and old ones are removed")
  func chain() async throws {
    let bench = try await Bench()
    let states = Self.states(40)
    var sizes: [Int] = []
    for part in 0..<4 {
      let progress = bench.progress(try await bench.claim())
      let restored = try await progress.restore()
      #expect(restored?.state == (part == 0 ? nil : states[part * 10 - 1]))
      #expect(restored.map { $0.step } == (part == 0 ? nil : UInt64(part * 10)))
      for number in part * 10..<part * 10 + 10 {
        let before = await progress.counts.checkpointBytes
        #expect(try await progress.checkpoint(states[number]) == UInt64(number + 1))
        sizes.append(await progress.counts.checkpointBytes - before)
      }
    }
    #expect(sizes.count { $0 > 5_000 } <= 4, "every sixteenth is full")
    let kept = try await bench.engine.state.list("recovery.").entries.count
    #expect(kept <= 36, "\(kept) are kept of 40")
  }

  @Test("C02: what the store damages isn't named, and the step before stays", arguments: [true, false])
  func garbage(isLarge: Bool) async throws {
    let bench = try await Bench()
    let states =
      isLarge
      ? (0..<3).map { n in (0..<400_000).map { UInt8(truncatingIfNeeded: ($0 &* 31 &+ n) &* 2_654_435_761 >> 11) } }
      : Self.states(3)
    let faulty = FaultyEngine(bench.engine)
    let first = bench.progress(try await bench.claim(), through: faulty)
    try await first.checkpoint(states[0])
    try await first.checkpoint(states[1])
    faulty.damagesNextPut()
    await #expect(throws: RecoveryError.self) { try await first.checkpoint(states[2]) }
    let second = bench.progress(try await bench.claim())
    let restored = try #require(try await second.restore())
    #expect(restored.step == 2 && restored.state == states[1] && restored.damaged == 0)
    #expect(try await second.checkpoint(states[2]) == 3)
  }

  @Test("C03: of two that resume from one checkpoint the second is told, and nothing of the first is lost")
  func conflict() async throws {
    let bench = try await Bench()
    let states = Self.states(3)
    let claimed = try await bench.claim()
    try await bench.progress(claimed).checkpoint(states[0])
    // The same claim twice: a worker whose process was doubled.
    let again = try await bench.claim()
    let (left, right) = (bench.progress(again), bench.progress(again))
    _ = try await (left.restore(), right.restore())
    try await left.checkpoint(states[1])
    await #expect(throws: RecoveryError.self) { try await right.checkpoint(states[2]) }
    let last = try await bench.progress(try await bench.claim()).restore()
    #expect(last?.step == 2 && last?.state == states[1])
  }

  @Test("Each damaged byte of the newest checkpoint is found, one step is lost and no call is repeated")
  func damaged() async throws {
    let bench = try await Bench()
    let states = Self.states(3)
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    var keys: [Set<String>] = []
    for number in 0..<3 {
      try await first.take("step \(number)", calls)
      try await first.checkpoint(states[number])
      keys.append(
        Set(try await bench.engine.state.list("recovery.").entries.map(\.key).filter { $0.contains("checkpoint") }))
    }
    try await first.take("step 3", calls)
    let newest = try #require(keys[2].subtracting(keys[1]).first)
    let whole = try #require(try await bench.engine.state.get(newest)).value
    let claimed = try await bench.claim()
    for at in 0..<whole.count {
      var value = whole
      value[at] ^= 1 << UInt8(at % 8)
      try await bench.engine.state.put(newest, value)
      let progress = bench.progress(claimed)
      let restored = try #require(try await progress.restore())
      #expect(restored.step == 2 && restored.state == states[1] && restored.damaged == 1, "byte \(at)")
      for number in 2...3 { try await progress.take("step \(number)", calls) }
    }
    #expect(calls.names.count == 4, "the answers of the lost step are still there")
    // It goes on from there, under a higher number, and the damaged one isn't built on.
    let progress = bench.progress(try await bench.claim())
    _ = try await progress.restore()
    #expect(try await progress.checkpoint(states[2]) == 4)
    #expect(try await bench.progress(try await bench.claim()).restore()?.state == states[2])
  }

  @Test("Whatever single checkpoint of a long chain is damaged, the last good one is found")
  func anyDamaged() async throws {
    let bench = try await Bench()
    let states = Self.states(20)
    let first = bench.progress(try await bench.claim())
    var order: [String] = []
    for state in states {
      try await first.checkpoint(state)
      let keys = try await bench.engine.state.list("recovery.").entries.map(\.key)
      order.append(try #require(keys.first { !order.contains($0) }))
    }
    for (number, key) in order.enumerated() {
      guard let entry = try await bench.engine.state.get(key) else { continue }
      var value = entry.value
      value[value.count / 2] ^= 16
      try await bench.engine.state.put(key, value)
      let restored = try await bench.progress(try await bench.claim()).restore()
      // The chain of the second full one begins at 16.
      #expect(restored?.step == (number < 16 ? 20 : UInt64(number)), "checkpoint \(number + 1)")
      try await bench.engine.state.put(key, entry.value)
    }
  }

  @Test("A rollback goes to the checkpoint before for good, and the calls after it are other calls")
  func rollback() async throws {
    let bench = try await Bench()
    let states = Self.states(3)
    let calls = Calls()
    let first = bench.progress(try await bench.claim())
    for number in 0..<3 {
      try await first.take("step \(number)", calls)
      try await first.checkpoint(states[number])
    }
    #expect(try await first.rollBack().state == states[1])
    try await first.take("step 2", calls)
    #expect(calls.names == ["step 0", "step 1", "step 2", "step 2"])
    #expect(calls.keys[2] != calls.keys[3])
    let second = bench.progress(try await bench.claim())
    #expect(try await second.restore()?.state == states[1])
    try await second.take("step 2", calls)
    #expect(calls.names.count == 4)
    #expect(try await second.rollBack().state == states[0])
    await #expect(throws: RecoveryError.noCheckpoint(tried: 1)) { _ = try await second.rollBack() }
  }

  @Test("A task with a checkpoint that asks for a step before it is restored is told so")
  func notRestored() async throws {
    let bench = try await Bench()
    let calls = Calls()
    try await bench.progress(try await bench.claim()).checkpoint([1])
    let second = bench.progress(try await bench.claim())
    await #expect(throws: RecoveryError.notRestored(step: 1)) { try await second.take("a", calls) }
  }

  @Test("A store that is away for a while is asked again, and nothing is repeated")
  func away() async throws {
    let bench = try await Bench()
    let faulty = FaultyEngine(bench.engine)
    let calls = Calls()
    let progress = bench.progress(try await bench.claim(), through: faulty)
    faulty.isAway = true
    async let answer = progress.take("a", calls)
    await bench.clock.untilAsleep()
    faulty.isAway = false
    bench.clock.advance(.seconds(1))
    #expect(try await answer == "answer to a")
    #expect(calls.names == ["a"])
  }
}
