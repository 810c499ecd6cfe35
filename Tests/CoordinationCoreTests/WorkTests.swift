import CoordinationCore
import SlowTests
import Testing

private func at(_ milliseconds: Int) -> Duration { .milliseconds(milliseconds) }

@Suite struct ResultAggregatorTests {
  @Test("A result goes at once while nothing else does, the next ones after 50 ms or as 64")
  func frames() {
    var aggregator = ResultAggregator<Int>()
    #expect(aggregator.handle(.add(0, bytes: 10), now: at(0)).map(\.items) == [[0]])
    for number in 1...3 { #expect(aggregator.handle(.add(number, bytes: 10), now: at(number)).isEmpty) }
    #expect(aggregator.nextDeadline == at(51))
    #expect(aggregator.handle(.tick, now: at(50)).isEmpty)
    #expect(aggregator.handle(.tick, now: at(51)).map(\.items) == [[1, 2, 3]])
    var frames: [[Int]] = []
    for number in 0..<130 { frames += aggregator.handle(.add(number, bytes: 10), now: at(52)).map(\.items) }
    #expect(frames.map(\.count) == [64, 64] && aggregator.count == 2)
    #expect(aggregator.handle(.flush, now: at(52)).map(\.items) == [[128, 129]])
    #expect(aggregator.handle(.flush, now: at(52)).isEmpty && aggregator.nextDeadline == nil)
  }

  @Test(
    "No frame is larger than allowed but for a single large result, nothing is lost or swapped, and nothing waits longer than 50 ms",
    arguments: 0..<30)
  func property(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var aggregator = ResultAggregator<Int>()
    var sent: [Int] = []
    var came: [Duration] = []
    var now = Duration.zero
    func take(_ frames: [ResultAggregator<Int>.Effect]) {
      for frame in frames {
        #expect(frame.items.count <= 64 && (frame.bytes <= 512 << 10 || frame.items.count == 1))
        for item in frame.items { #expect(now - came[item] <= .milliseconds(50)) }
        sent += frame.items
      }
    }
    for number in 0..<2_000 {
      let next = now + .microseconds(dice.roll(dice.roll(20) == 0 ? 200_000 : 2_000))
      while let deadline = aggregator.nextDeadline, deadline <= next {
        now = deadline
        take(aggregator.handle(.tick, now: now))
      }
      now = next
      came.append(now)
      take(aggregator.handle(.add(number, bytes: dice.roll(dice.roll(50) == 0 ? 1 << 20 : 20_000)), now: now))
    }
    take(aggregator.handle(.flush, now: now))
    #expect(sent == Array(0..<2_000))
  }
}

@Suite struct GarbageCollectorTests {
  private func seconds(_ seconds: Int) -> Duration { .seconds(seconds) }

  @Test("A finished thing frees memory at once, is known for a day, then is gone with its blobs")
  func lifecycle() {
    var collector = GarbageCollector()
    _ = collector.handle(.started("t"), now: seconds(0))
    _ = collector.handle(.wrote(blob: "b1"), now: seconds(0))
    _ = collector.handle(.refers("t", to: ["b1", "b2"]), now: seconds(1))
    #expect(collector.handle(.tick, now: seconds(10_000)).isEmpty)
    #expect(collector.handle(.committed("t", keeps: ["b2"]), now: seconds(10_000)) == [.free("t"), .bury("t")])
    #expect(collector.handle(.committed("t", keeps: []), now: seconds(10_001)).isEmpty, "said twice")
    #expect(collector.handle(.tick, now: seconds(10_599)).isEmpty)
    #expect(collector.handle(.tick, now: seconds(10_600)) == [.deleteBlob("b1")])
    #expect(collector.handle(.tick, now: seconds(96_400)) == [.forget("t")])
    #expect(collector.handle(.tick, now: seconds(97_000)) == [.deleteBlob("b2")])
    #expect(collector.counts == (0, 0, 0) && collector.nextDeadline == nil)
  }

  @Test(
    "A blob that two things share stays for the second, and one that is referenced again in its grace stays as well")
  func shared() {
    var collector = GarbageCollector()
    for thing in ["a", "b"] { _ = collector.handle(.refers(thing, to: ["x"]), now: seconds(0)) }
    _ = collector.handle(.committed("a", keeps: []), now: seconds(0))
    #expect(collector.handle(.tick, now: seconds(5_000)).isEmpty)
    _ = collector.handle(.committed("b", keeps: []), now: seconds(5_000))
    _ = collector.handle(.refers("c", to: ["x"]), now: seconds(5_500))
    #expect(collector.handle(.tick, now: seconds(5_700)).isEmpty)
    _ = collector.handle(.refers("c", to: []), now: seconds(5_800))
    #expect(collector.handle(.tick, now: seconds(6_399)).isEmpty)
    #expect(collector.handle(.tick, now: seconds(6_400)) == [.deleteBlob("x")])
  }

  @Test("A blob that is written again has its grace anew: its reference may be on the way")
  func rewritten() {
    var collector = GarbageCollector()
    _ = collector.handle(.wrote(blob: "x"), now: seconds(0))
    _ = collector.handle(.wrote(blob: "x"), now: seconds(599))
    #expect(collector.handle(.tick, now: seconds(600)).isEmpty)
    #expect(collector.handle(.tick, now: seconds(1_199)) == [.deleteBlob("x")])
  }

  @Test("A thing that vanished refers to nothing, and its blobs go after their grace")
  func vanished() {
    var collector = GarbageCollector()
    _ = collector.handle(.refers("t", to: ["x"]), now: seconds(0))
    _ = collector.handle(.gone("t"), now: seconds(5))
    #expect(collector.handle(.gone("t"), now: seconds(6)).isEmpty && collector.counts == (0, 1, 0))
    #expect(collector.handle(.tick, now: seconds(604)).isEmpty)
    #expect(collector.handle(.tick, now: seconds(605)) == [.deleteBlob("x")])
    #expect(collector.counts == (0, 0, 0))
  }

  @Test("What a dead owner had is reaped in bounded batches, and what it let go in order is not")
  func reaper() {
    var collector = GarbageCollector()
    for number in 0..<1_000 {
      _ = collector.handle(.owns("pod", .init(kind: "lease", name: "l\(number)")), now: seconds(0))
    }
    _ = collector.handle(.owns("other", .init(kind: "watch", name: "w")), now: seconds(0))
    _ = collector.handle(.released("pod", .init(kind: "lease", name: "l7")), now: seconds(0))
    _ = collector.handle(.ownerEnded("pod"), now: seconds(1))
    var reaped: Set<String> = []
    var batches = 0
    while collector.nextDeadline == .zero {
      let effects = collector.handle(.tick, now: seconds(1))
      #expect(effects.count <= 256)
      batches += 1
      for effect in effects { if case .reap("pod", let resource) = effect { reaped.insert(resource.name) } }
    }
    #expect(batches == 4 && reaped.count == 999 && !reaped.contains("l7"))
    #expect(collector.counts.resources == 1)
  }

  @Test("C17: 100,000 agents leave nothing behind, and no blob in use is deleted", .slow)
  func residue() {
    var dice = Dice(state: 1)
    var policy = GarbageCollector.Policy()
    policy.tombstone = .seconds(100)
    policy.blobGrace = .seconds(10)
    var collector = GarbageCollector(policy: policy)
    var uses: [String: Int] = [:]
    var running: [(name: String, blobs: [String])] = []
    var now = Duration.zero
    var deleted = 0
    func apply(_ effects: [GarbageCollector.Effect]) {
      #expect(effects.count <= 256)
      for case .deleteBlob(let blob) in effects {
        deleted += 1
        #expect(uses[blob, default: 0] == 0, "a blob in use is deleted")
      }
    }
    for number in 0..<100_000 {
      now += .milliseconds(10)
      let blobs = (0..<dice.roll(3)).map { _ in "b\(number / 10 + dice.roll(20))" }
      for blob in Set(blobs) { uses[blob, default: 0] += 1 }
      _ = collector.handle(.started("a\(number)"), now: now)
      _ = collector.handle(.refers("a\(number)", to: blobs), now: now)
      running.append(("a\(number)", Array(Set(blobs))))
      if running.count > 50 {
        let ended = running.remove(at: dice.roll(running.count))
        for blob in ended.blobs { uses[blob, default: 0] -= 1 }
        _ = collector.handle(.committed(ended.name, keeps: []), now: now)
      }
      if number % 50 == 0 { apply(collector.handle(.tick, now: now)) }
    }
    for ended in running {
      for blob in ended.blobs { uses[blob, default: 0] -= 1 }
      _ = collector.handle(.committed(ended.name, keeps: []), now: now)
    }
    while let next = collector.nextDeadline {
      now = max(now, next)
      apply(collector.handle(.tick, now: now))
    }
    #expect(collector.counts == (0, 0, 0) && deleted > 1_000)
  }
}
