import CoordinationEngine
import EngineConformance
import TaskQueue
import Testing

@testable import LocalEngine

/// Splitmix64: the same seed gives the same run.
private struct Dice: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &self) }
}

@Suite struct CoreTests {
  @Test("Sorted elements are a sorted set, from any start", arguments: 0..<10)
  func sorted(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var elements = SortedElements<Int>()
    var model: Set<Int> = []
    for step in 0..<6_000 {
      let element = dice.roll(3_000)
      // First it grows over several pieces, then it shrinks to none.
      if dice.roll(4) < (step < 4_000 ? 3 : 1) {
        elements.insert(element)
        model.insert(element)
      } else {
        elements.remove(element)
        model.remove(element)
      }
      guard step.isMultiple(of: 500) else { continue }
      for start in [nil, dice.roll(3_000), -1, 5_000] as [Int?] {
        var found: [Int] = []
        elements.forEach(from: start) { element in
          found.append(element)
          return true
        }
        #expect(found == model.filter { $0 >= start ?? .min }.sorted())
      }
    }
    for element in model { elements.remove(element) }
    elements.forEach(from: nil) { _ in
      Issue.record("something is left")
      return false
    }
  }

  @Test("A watcher that follows the changes of keys knows them all, however far it falls behind", arguments: 0..<10)
  func watched(seed: Int) throws {
    var dice = Dice(state: UInt64(seed))
    var table = StateTable(limits: StateLimits())
    var seen: [String: [UInt8]] = [:]
    var position: UInt64 = 0
    for _ in 0..<3_000 {
      let key = "k.\(dice.roll(30))"
      switch dice.roll(5) {
      case 0: _ = try table.apply([.delete(key: key)], now: .zero)
      case 1: _ = try table.apply([.put(key: "other.\(dice.roll(9))", value: [])], now: .zero)
      default: _ = try table.apply([.put(key: key, value: [UInt8(dice.roll(200))])], now: .zero)
      }
      guard dice.roll(40) == 0 else { continue }
      while position < table.revision {
        let (events, next) = try table.events("k.", after: position, upTo: table.revision, maximum: 7)
        #expect(next > position)
        for event in events {
          switch event {
          case .put(let entry): seen[entry.key] = entry.value
          case .removed(let key, _): seen[key] = nil
          case .current: Issue.record("a table knows no beginning")
          }
        }
        position = next
      }
      let entries = try table.list("k.").entries
      #expect(seen == Dictionary(uniqueKeysWithValues: entries.map { ($0.key, $0.value) }))
    }
  }

  @Test("Who is further behind than what is remembered gets the keys themselves, unless a removal is forgotten")
  func forgotten() throws {
    var table = StateTable(limits: StateLimits())
    _ = try table.apply([.put(key: "old", value: [1])], now: .zero)
    for number in 0..<70_000 { _ = try table.apply([.put(key: "k\(number % 10)", value: [2])], now: .zero) }
    var keys: Set<String> = []
    var position: UInt64 = 0
    while position < table.revision {
      let (events, next) = try table.events("", after: position, upTo: table.revision, maximum: 100)
      for case .put(let entry) in events { keys.insert(entry.key) }
      position = next
    }
    #expect(keys == Set(["old"] + (0..<10).map { "k\($0)" }))
    _ = try table.apply([.delete(key: "old")], now: .zero)
    let removal = table.revision
    for number in 0..<70_000 { _ = try table.apply([.put(key: "k\(number % 10)", value: [3])], now: .zero) }
    #expect(throws: EngineError.compacted(oldest: Revision(removal))) {
      try table.events("", after: removal - 1, upTo: table.revision, maximum: 100)
    }
    _ = try table.events("", after: removal, upTo: table.revision, maximum: 100)
  }

  @Test("A key that is put again and again with a time to live leaves nothing behind")
  func renewals() throws {
    var table = StateTable(limits: StateLimits())
    for second in 0..<10_000 {
      _ = try table.apply([.put(key: "lease", value: [1], ttl: .seconds(30))], now: .seconds(second))
    }
    #expect(try table.get("lease") != nil)
    table.expire(now: .seconds(10_029))
    #expect(try table.get("lease") == nil)
    #expect(table.nextDeadline == nil)
  }

  @Test("What goes beyond the limits is refused whole, and bytes that were freed count again")
  func limits() throws {
    var limits = StateLimits()
    limits.keys = 2
    limits.totalBytes = 10
    var table = StateTable(limits: limits)
    #expect(throws: EngineError.full(what: "bytes of values", limit: 10)) {
      try table.apply([.put(key: "a", value: [UInt8](repeating: 0, count: 11))], now: .zero)
    }
    _ = try table.apply(
      [.put(key: "a", value: [UInt8](repeating: 0, count: 10)), .put(key: "b", value: [])], now: .zero)
    #expect(throws: EngineError.full(what: "keys", limit: 2)) {
      try table.apply([.put(key: "c", value: [])], now: .zero)
    }
    #expect(throws: EngineError.full(what: "bytes of values", limit: 10)) {
      try table.apply([.put(key: "b", value: [1])], now: .zero)
    }
    _ = try table.apply(
      [.put(key: "a", value: [1]), .put(key: "b", value: [UInt8](repeating: 0, count: 9))], now: .zero)
  }

  @Test("A scheduled task waits while its queue is full, and comes when there is room")
  func fullQueue() throws {
    var settings = LocalEngineSettings()
    settings.tasks.tasks = 1
    var core = EngineCore(settings, instance: "a")
    _ = try core.queues.change("q") { queue throws(TaskQueueError) in
      try queue.submit([NewTask(payload: [1])], now: .zero)
    }
    try core.schedules.schedule("s", .task(NewTask(payload: [2]), queue: "q"), at: .seconds(1), now: .zero)
    #expect(core.expire(now: .seconds(1)).queues.isEmpty)
    #expect(core.nextDeadline == .seconds(2))
    _ = try core.queues.change("q") { queue throws(TaskQueueError) in
      let claimed = try queue.claim(worker: "w", maximum: 1, lease: nil, now: .seconds(1))
      _ = try queue.complete(claimed[0].ticket, result: [], now: .seconds(1))
    }
    #expect(core.expire(now: .seconds(2)).queues == ["q"])
    #expect(core.schedules.pending(now: .seconds(2)).isEmpty)
  }

  @Test("Of a thousand claims that wait as many are woken as there are tasks, the first to come first")
  func waiting() async throws {
    let engine = LocalEngine(clock: ManualEngineClock())
    let tasks = engine.tasks
    try await withThrowingTaskGroup(of: Int?.self) { group in
      for number in 0..<1_000 {
        group.addTask {
          let request = ClaimRequest(queue: "q", worker: "w\(number)")
          return try await tasks.claim(request, wait: .seconds(60)).isEmpty ? nil : number
        }
      }
      while engine.waiting(in: "q") < 1_000, !Task.isCancelled { await Task.yield() }
      _ = try await tasks.submit((0..<3).map { _ in NewTask(payload: []) }, to: "q")
      for _ in 0..<3 { #expect(try await group.next() != .some(nil)) }
      #expect(engine.waiting(in: "q") == 997)
      // Those who are cancelled pass their turn on.
      tasks.endWaiting()
      for try await rest in group { #expect(rest == nil) }
      #expect(engine.waiting(in: "q") == 0)
    }
  }

  @Test("A listener that doesn't look loses the oldest messages, and they are counted")
  func dropped() async throws {
    let engine = LocalEngine(clock: ManualEngineClock())
    let subscription = try await engine.messages.subscribe(.exactly("a"), buffer: 3)
    for number in 0..<10 { try await engine.messages.publish(Message(subject: "a", payload: [UInt8(number)])) }
    #expect(subscription.dropped == 7)
    var iterator = subscription.makeAsyncIterator()
    for number in 7..<10 { #expect(try await iterator.next()?.payload == [UInt8(number)]) }
    subscription.cancel()
    #expect(try await iterator.next() == nil)
  }
}
