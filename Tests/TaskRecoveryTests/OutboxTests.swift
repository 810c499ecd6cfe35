import CoordinationCore
import Synchronization
import TaskRecovery
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A folder of its own, which is removed with it.
private final class Folder {
  let path: String

  init() {
    path = "/tmp/outbox-test-\(UInt64.random(in: 0...UInt64.max))"
    mkdir(path, 0o700)
  }

  var file: String { "\(path)/outbox.log" }

  func read() -> [UInt8] {
    guard let file = fopen(file, "r") else { return [] }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = fread(&bytes, 1, bytes.count, file)
    return Array(bytes.prefix(count))
  }

  func write(_ bytes: [UInt8]) {
    guard let file = fopen(file, "w") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }

  deinit {
    unlink(file)
    rmdir(path)
  }
}

@Suite struct OutboxLogTests {
  private let items = (0..<6).map { OutboxLog.Item(key: "task-\($0)/1", payload: (0..<$0 * 7).map { UInt8($0) }) }

  @Test("What was appended is there for the next process, in its order, without what was delivered")
  func replay() throws {
    let folder = Folder()
    do {
      let log = try OutboxLog(folder: folder.path)
      try log.append(Array(items[..<4]))
      try log.append(Array(items[4...]), delivered: ["task-1/1", "task-3/1"])
    }
    let log = try OutboxLog(folder: folder.path)
    #expect(log.recovered == [items[0], items[2], items[4], items[5]] && log.damaged == 0)
  }

  @Test("Cut at each byte it gives the results before the cut, and goes on from there")
  func torn() throws {
    let folder = Folder()
    do { try OutboxLog(folder: folder.path).append(items) }
    let whole = folder.read()
    var ends: [Int] = []
    for item in items { ends.append((ends.last ?? 0) + 15 + item.key.utf8.count + item.payload.count) }
    #expect(ends.last == whole.count)
    for length in 0...whole.count {
      folder.write(Array(whole.prefix(length)))
      let expected = Array(items[..<ends.count { $0 <= length }])
      do {
        let log = try OutboxLog(folder: folder.path)
        #expect(log.recovered == expected && log.damaged == 0, "cut at \(length)")
        try log.append([OutboxLog.Item(key: "later", payload: [1])])
      }
      #expect(try OutboxLog(folder: folder.path).recovered.count == expected.count + 1)
    }
  }

  @Test("With any byte changed it gives no result that wasn't there, and loses the one that it belongs to alone")
  func damaged() throws {
    let folder = Folder()
    do { try OutboxLog(folder: folder.path).append(items) }
    let whole = folder.read()
    for at in 0..<whole.count {
      var bytes = whole
      bytes[at] ^= 1 << UInt8(at % 8)
      let found = OutboxLog.parse(bytes)
      #expect(found.items.allSatisfy { items.contains($0) } && found.items.count == 5, "byte \(at)")
      #expect(found.damaged + (found.isTorn ? 1 : 0) == 1)
    }
  }

  @Test("A folder that another one uses, or that can't be made, is refused in words")
  func taken() throws {
    let folder = Folder()
    let log = try OutboxLog(folder: folder.path)
    #expect { try OutboxLog(folder: folder.path) } throws: { ($0 as? OutboxLog.Failure)?.isTaken == true }
    #expect(throws: OutboxLog.Failure.self) { try OutboxLog(folder: "/proc/no-such-folder") }
    #expect(log.recovered.isEmpty)
  }

  @Test("It is written anew without what was delivered")
  func rewritten() throws {
    let folder = Folder()
    let log = try OutboxLog(folder: folder.path)
    for number in 0..<40 {
      try log.append([OutboxLog.Item(key: "\(number)", payload: [UInt8](repeating: 1, count: 50_000))])
      try log.append([], delivered: ["\(number)"])
    }
    #expect(log.isWasteful)
    try log.rewrite([items[1]])
    #expect(log.bytes < 100 && !log.isWasteful)
    try log.append([items[2]])
    #expect(OutboxLog.parse(folder.read()).items == [items[1], items[2]])
  }
}

/// An engine that takes results, or doesn't.
private final class Receiver: Sendable {
  private struct State {
    var isAway = false
    var frames: [[String]] = []
    var refused: Set<String> = []
    var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  var isAway: Bool {
    get { state.withLock { $0.isAway } }
    set { state.withLock { $0.isAway = newValue } }
  }
  var frames: [[String]] { state.withLock { $0.frames } }
  func refuse(_ key: String) { state.withLock { _ = $0.refused.insert(key) } }

  func take(_ items: [OutboxLog.Item]) -> [ResultOutbox.Delivery] {
    let (answers, ready) = state.withLock { state -> ([ResultOutbox.Delivery], [CheckedContinuation<Void, Never>]) in
      guard !state.isAway else { return (items.map { _ in .later }, []) }
      state.frames.append(items.map(\.key))
      let count = state.frames.joined().count
      let ready = state.waiters.filter { $0.count <= count }.map(\.continuation)
      state.waiters.removeAll { $0.count <= count }
      return (items.map { state.refused.contains($0.key) ? .refused : .delivered }, ready)
    }
    for waiter in ready { waiter.resume() }
    return answers
  }

  func untilTaken(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.frames.joined().count >= count { return true }
        state.waiters.append((count, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }
}

/// Something that happened.
private final class Flag: Sendable {
  private let state = Mutex(false)

  var isSet: Bool { state.withLock { $0 } }
  func set() { state.withLock { $0 = true } }
}

@Suite struct ResultOutboxTests {
  @Test("The first result goes at once, what comes soon after it together")
  func frames() async throws {
    let (clock, receiver) = (ManualClock(), Receiver())
    let outbox = ResultOutbox(log: nil, clock: clock) { receiver.take($0) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await outbox.run() }
      try await outbox.put("0", [0])
      await receiver.untilTaken(1)
      for number in 1...20 { try await outbox.put("\(number)", [0]) }
      #expect(receiver.frames == [["0"]])
      await clock.untilAsleep()
      clock.advance(.milliseconds(50))
      await receiver.untilTaken(21)
      #expect(receiver.frames.count == 2 && receiver.frames[1] == (1...20).map { "\($0)" })
      group.cancelAll()
    }
  }

  @Test("While the engine is away results are kept; then they are said in their order, each once")
  func away() async throws {
    let (clock, receiver) = (ManualClock(), Receiver())
    let outbox = ResultOutbox(log: nil, clock: clock) { receiver.take($0) }
    receiver.isAway = true
    let settled = Mutex<[String]>([])
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await outbox.run() }
      for number in 0..<200 {
        // It returns although nobody has the result.
        try await outbox.put("\(number)", [1]) { _ in settled.withLock { $0.append("\(number)") } }
      }
      #expect(await outbox.counts.waiting == 200 && settled.withLock { $0.isEmpty })
      let isHeard = Mutex(false)
      group.addTask {
        while await outbox.counts.frames == 0, !Task.isCancelled { await Task.yield() }
        try await outbox.untilHeard()
        isHeard.withLock { $0 = true }
      }
      while await outbox.counts.frames == 0, !Task.isCancelled { await Task.yield() }
      #expect(!isHeard.withLock { $0 }, "nobody has heard it")
      receiver.refuse("7")
      receiver.isAway = false
      clock.run()
      await receiver.untilTaken(200)
      try await outbox.untilBelow(percent: 0)
      #expect(Array(receiver.frames.joined()) == (0..<200).map { "\($0)" })
      #expect(settled.withLock { $0 } == (0..<200).map { "\($0)" })
      #expect(await outbox.counts.refused == 1)
      group.cancelAll()
    }
  }

  @Test("A full outbox makes its owner wait, and drops nothing")
  func full() async throws {
    let (clock, receiver) = (ManualClock(), Receiver())
    var policy = Outbox.Policy()
    policy.entries = 10
    let outbox = ResultOutbox(log: nil, policy: policy, clock: clock) { receiver.take($0) }
    for number in 0..<10 { try await outbox.put("\(number)", [1]) }
    #expect(await outbox.counts.fillPercent == 100)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await outbox.put("late", [1]) }
      group.addTask { try await outbox.run() }
      await receiver.untilTaken(1)
      clock.advance(.milliseconds(50))
      try await group.next()
      clock.advance(.milliseconds(50))
      await receiver.untilTaken(11)
      group.cancelAll()
    }
    #expect(Array(receiver.frames.joined()) == (0..<10).map { "\($0)" } + ["late"])
  }

  @Test("What a process has left behind the next one says; said twice it is taken once")
  func restart() async throws {
    let folder = Folder()
    let clock = ManualClock()
    do {
      let outbox = ResultOutbox(log: try OutboxLog(folder: folder.path), clock: clock) { _ in [] }
      for number in 0..<5 { try await outbox.put("\(number)", [UInt8(number)]) }
      await outbox.close()
    }
    let receiver = Receiver()
    let outbox = ResultOutbox(log: try OutboxLog(folder: folder.path), clock: clock) { receiver.take($0) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await outbox.run() }
      await receiver.untilTaken(1)
      clock.advance(.milliseconds(50))
      await receiver.untilTaken(5)
      try await outbox.untilBelow(percent: 0)
      group.cancelAll()
    }
    #expect(Array(receiver.frames.joined()) == ["0", "1", "2", "3", "4"])
  }

  @Test("A disk that is full holds the result's owner until the engine has it; nothing is lost")
  func fullDisk() async throws {
    let folder = Folder()
    let (clock, receiver) = (ManualClock(), Receiver())
    receiver.isAway = true
    let log = try OutboxLog(folder: folder.path, fileBytes: 8)
    let outbox = ResultOutbox(log: log, clock: clock) { receiver.take($0) }
    let isBack = Flag()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await outbox.run() }
      group.addTask {
        try await outbox.put("0", [1])
        isBack.set()
      }
      while await outbox.counts.diskFailures == 0, !Task.isCancelled { await Task.yield() }
      #expect(!isBack.isSet)
      receiver.isAway = false
      clock.run()
      await receiver.untilTaken(1)
      try await group.next()
      #expect(isBack.isSet && receiver.frames == [["0"]])
      group.cancelAll()
    }
  }
}
