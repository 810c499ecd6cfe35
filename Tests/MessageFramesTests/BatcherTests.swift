import Testing

@testable import MessageFrames

@Suite struct BatcherTests {
  private typealias Subject = Batcher<Int>

  /// Adds, and gives what is written because of it.
  private func add(
    _ item: Int, _ bytes: Int = 10, _ lane: MessageLane = .normal, at now: Duration = .zero, to batcher: inout Subject
  ) -> [Int]? {
    batcher.add(item, bytes: bytes, lane: lane, now: now) == .taken(.write) ? batcher.takeBatch() : nil
  }

  private func written(at now: Duration = .zero, _ batcher: inout Subject) -> [Int]? {
    batcher.written(now: now) == .write ? batcher.takeBatch() : nil
  }

  @Test("A message that finds nothing under way is written at once")
  func idle() {
    var batcher = Subject()
    for number in 0..<5 {
      let first = add(number, at: .milliseconds(number), to: &batcher)
      let second = written(at: .milliseconds(number), &batcher)
      #expect(first == [number] && second == nil && batcher.isIdle)
    }
    #expect(batcher.writes == 5 && batcher.messages == 5)
  }

  @Test("What comes before the write is made goes along; what comes during it goes with the next one, in order")
  func underLoad() {
    var batcher = Subject()
    let begun = batcher.add(0, bytes: 10, lane: .normal, now: .zero)
    let joined = batcher.add(1, bytes: 10, lane: .normal, now: .zero)
    #expect(begun == .taken(.write) && joined == .taken(.wait))
    #expect(batcher.takeBatch() == [0, 1])
    for number in 2...20 {
      let during = add(number, to: &batcher)
      #expect(during == nil)
    }
    let next = written(at: .milliseconds(1), &batcher)
    let last = written(at: .milliseconds(2), &batcher)
    #expect(next == Array(2...20) && last == nil && batcher.writes == 2)
  }

  @Test("A batch ends at its number of messages and of bytes; the rest goes with the next")
  func fullBatches() {
    var batcher = Subject(.init(messages: 4, bytes: 100))
    _ = add(0, to: &batcher)
    for number in 1...6 { _ = add(number, to: &batcher) }
    _ = add(7, 95, to: &batcher)
    _ = add(8, 400, to: &batcher)
    let batches = (0..<5).map { _ in written(&batcher) }
    // A large message goes alone.
    #expect(batches == [[1, 2, 3, 4], [5, 6], [7], [8], nil] && batcher.waitingBytes == 0)
  }

  @Test("Messages that may linger are gathered until their time, a full batch, or one that may not")
  func linger() {
    var batcher = Subject(.init(messages: 3, linger: .milliseconds(50)))
    let idle = add(0, 1, .bulk, at: .seconds(1), to: &batcher)
    _ = written(at: .seconds(1), &batcher)
    #expect(idle == [0])
    let held = batcher.add(1, bytes: 1, lane: .bulk, now: .milliseconds(1_010))
    let early = batcher.look(now: .milliseconds(1_049))
    let due = batcher.look(now: .milliseconds(1_050))
    #expect(held == .taken(.waitUntil(.milliseconds(1_050))) && early == .waitUntil(.milliseconds(1_050)))
    #expect(due == .write && batcher.takeBatch() == [1])
    _ = written(at: .milliseconds(1_051), &batcher)
    _ = add(2, 1, .bulk, at: .milliseconds(1_052), to: &batcher)
    _ = add(3, 1, .bulk, at: .milliseconds(1_052), to: &batcher)
    let full = add(4, 1, .bulk, at: .milliseconds(1_052), to: &batcher)
    #expect(full == [2, 3, 4])
    _ = written(at: .milliseconds(1_053), &batcher)
    _ = add(5, 1, .bulk, at: .milliseconds(1_054), to: &batcher)
    let urgent = add(6, 1, .critical, at: .milliseconds(1_054), to: &batcher)
    #expect(urgent == [6, 5])
  }

  @Test("So much of a lane may wait and no more, whatever waits in the others; there is room again after a write")
  func backPressure() {
    var batcher = Subject(.init(messages: 2, waitingMessages: 3, waitingBytes: 100))
    _ = add(0, 1, .bulk, to: &batcher)
    for number in 1...3 { _ = add(number, 1, .bulk, to: &batcher) }
    let refused = batcher.add(4, bytes: 1, lane: .bulk, now: .zero)
    let other = batcher.add(5, bytes: 1, lane: .normal, now: .zero)
    #expect(refused == .refused && other == .taken(.wait))
    let next = written(&batcher)
    #expect(next == [5, 1] && batcher.hasRoom(for: 98, lane: .bulk) && !batcher.hasRoom(for: 99, lane: .bulk))
    _ = written(&batcher)
    #expect(batcher.hasRoom(for: 1_000, lane: .bulk), "a message that finds none waiting is taken however large")
  }

  @Test("Messages of chance are each written once, in order within their lane, one write at a time", arguments: 0..<50)
  func model(seed: UInt64) {
    var random = SplitMix(seed: seed)
    var configuration = Subject.Configuration(
      messages: 1 + random.below(8), bytes: 1 + random.below(300), waitingMessages: 1 + random.below(40),
      linger: .milliseconds(random.below(3) * 20))
    configuration[linger: .normal] = .milliseconds(random.below(2) * 5)
    var batcher = Subject(configuration)
    var (added, seen, lanes) = ([Int](), [Int](), [Int: MessageLane]())
    var (isWriting, begun, now, due) = (false, false, Duration.zero, Duration?.none)
    func takeBatch() {
      let items = batcher.takeBatch()
      #expect(!items.isEmpty && items.count <= configuration.messages)
      seen += items
      begun = false
    }
    func take(_ action: Subject.Action) {
      due = nil
      switch action {
      case .wait: break
      case .waitUntil(let time):
        #expect(time > now && !isWriting && time <= now + .milliseconds(40))
        due = time
      case .write:
        #expect(!isWriting)
        isWriting = true
        begun = true
      }
    }
    for number in 0..<2_000 {
      now += .microseconds(random.below(3_000))
      if begun, random.below(2) == 0 {
        takeBatch()
      } else if isWriting, !begun, random.below(3) == 0 {
        isWriting = false
        take(batcher.written(now: now))
      } else if let due, due <= now {
        take(batcher.look(now: now))
      } else {
        let lane = MessageLane.allCases[random.below(4)]
        if case .taken(let action) = batcher.add(number, bytes: 1 + random.below(100), lane: lane, now: now) {
          lanes[number] = lane
          added.append(number)
          take(action)
        }
      }
    }
    while !batcher.isIdle {
      now += .seconds(1)
      if begun { takeBatch() }
      let wasWriting = isWriting
      isWriting = false
      take(wasWriting ? batcher.written(now: now) : batcher.look(now: now))
    }
    #expect(seen.sorted() == added && batcher.messages == seen.count)
    for lane in MessageLane.allCases {
      let order = seen.filter { lanes[$0] == lane }
      #expect(order == order.sorted())
    }
  }
}

@Suite struct LaneQueueTests {
  @Test("While all lanes have messages, each gets its share of 85 turns")
  func shares() {
    var queue = LaneQueue<MessageLane>()
    for lane in MessageLane.allCases { for _ in 0..<100 { queue.append(lane, lane: lane) } }
    var counts: [MessageLane: Int] = [:]
    for _ in 0..<85 { counts[queue.popFirst()?.element ?? .bulk, default: 0] += 1 }
    #expect(counts == [.critical: 64, .high: 16, .normal: 4, .bulk: 1])
  }

  @Test("A critical message is next, whatever waits before it")
  func criticalFirst() {
    var queue = LaneQueue<Int>()
    for number in 0..<1_000 { queue.append(number, lane: .bulk) }
    for _ in 0..<500 { _ = queue.popFirst() }
    queue.append(-1, lane: .critical)
    #expect(queue.popFirst()?.element == -1)
    #expect(queue.popFirst()?.element == 500)
  }
}
