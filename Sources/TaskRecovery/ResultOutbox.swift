package import CoordinationCore
import Synchronization

/// Results on their way to the engine: taken at once, kept on this machine's disk where there is a folder for them, and said in frames until the engine has
/// heard them. So an agent is done when its work is, however long the engine is away.
///
/// In the order in which they came, each key once; what a process that was killed has left behind is said by the next one. When it is full, or the disk doesn't take
/// more, `put` waits: nothing is dropped.
package actor ResultOutbox {
  /// What the engine says to a result.
  package enum Delivery: Hashable, Sendable {
    /// It has it, from now or from before.
    case delivered
    /// It never takes it.
    case refused
    /// It can't be reached, or can't write now.
    case later
  }

  /// What is there and what happened.
  package struct Counts: Hashable, Sendable {
    /// Results that aren't delivered.
    package var waiting = 0
    /// How full it is, in percent: the ladder's `outbox`.
    package var fillPercent = 0
    /// Results delivered.
    package var delivered = 0
    /// Results that the engine refused for good.
    package var refused = 0
    /// Frames that were said.
    package var frames = 0
    /// Times that the disk refused a result.
    package var diskFailures = 0
  }

  private let clock: any RecoveryClock
  private let deliver: @Sendable ([OutboxLog.Item]) async throws -> [Delivery]
  private let disk: OutboxDisk?
  private let pauses: ClosedRange<Duration>
  private let changed = Wakeups()
  private var core: Outbox
  private var aggregator: ResultAggregator<String>
  private var payloads: [String: [UInt8]] = [:]
  private var order: [String] = []
  private var frames: [[String]] = []
  private var settled: [String: @Sendable (_ isDelivered: Bool) -> Void] = [:]
  /// Results to put on the disk with the next write, and deliveries.
  private var unwritten: [String] = []
  private var durable: Set<String> = []
  private var forgotten: [String] = []
  private var isWriting = false
  private var retryAt: Duration?
  private var pause: Duration
  /// The engine didn't hear what was said last.
  private var isUnheard = false
  private var happened = Counts()
  private let published = Mutex(Counts())

  /// Makes an outbox; `log`: where results are kept, with what an earlier process has left there; nil: in memory.
  package init(
    log: sending OutboxLog?, policy: Outbox.Policy = Outbox.Policy(),
    aggregation: ResultAggregator<String>.Policy = .init(), clock: any RecoveryClock = SystemRecoveryClock(),
    pauses: ClosedRange<Duration> = .milliseconds(200)...(.seconds(5)),
    deliver: @escaping @Sendable ([OutboxLog.Item]) async throws -> [Delivery]
  ) {
    (self.clock, self.deliver, self.pauses, pause) = (clock, deliver, pauses, pauses.lowerBound)
    var core = Outbox(policy: policy)
    var aggregator = ResultAggregator<String>(policy: aggregation)
    var (payloads, order, frames) = ([String: [UInt8]](), [String](), [[String]]())
    let recovered = log?.recovered ?? []
    for item in recovered {
      payloads[item.key] = item.payload
      order.append(item.key)
      for case .send(let key, _) in core.handle(.put(key: item.key, bytes: item.payload.count), now: clock.now) {
        let size = payloads[key]?.count ?? 0
        frames += aggregator.handle(.add(key, bytes: size), now: clock.now).map(\.items)
      }
    }
    (self.core, self.aggregator, self.payloads, self.order, self.frames) = (core, aggregator, payloads, order, frames)
    durable = Set(order)
    if let log { disk = OutboxDisk(log) } else { disk = nil }
  }

  /// What is there and what happened.
  package var counts: Counts {
    var counts = happened
    (counts.waiting, counts.fillPercent) = (core.count, core.fillPercent)
    return counts
  }

  /// The same as of the last change, for whoever can't wait.
  package nonisolated var latest: Counts { published.withLock { $0 } }

  private func noteChange() {
    let counts = counts
    published.withLock { $0 = counts }
    changed.signal()
  }

  /// Takes a result; returns when it is kept, or delivered. Waits while the outbox is full or the disk takes nothing.
  ///
  /// - Parameter whenSettled: called once the engine has it (true) or has refused it for good.
  /// - Throws: `CancellationError`; the result is said nevertheless as long as `run` runs, unless it had no room.
  package func put(
    _ key: String, _ payload: [UInt8], whenSettled: @escaping @Sendable (_ isDelivered: Bool) -> Void = { _ in }
  ) async throws {
    guard payloads[key] == nil else { return }
    while true {
      let seen = changed.count
      let effects = core.handle(.put(key: key, bytes: payload.count), now: clock.now)
      if effects.first != .reject(key) {
        payloads[key] = payload
        order.append(key)
        settled[key] = whenSettled
        carry(out: effects)
        break
      }
      try await changed.wait(after: seen)
    }
    guard disk != nil else { return }
    unwritten.append(key)
    while true {
      let seen = changed.count
      await write()
      if durable.contains(key) || payloads[key] == nil { return }
      try await changed.wait(after: seen, until: clock.now + pauses.upperBound, clock)
    }
  }

  /// Says results until the task is cancelled.
  package func run() async throws {
    while true {
      let seen = changed.count
      let now = clock.now
      if let retryAt, retryAt <= now {
        self.retryAt = nil
        carry(out: core.handle(.connected, now: now))
      }
      frames += aggregator.handle(.tick, now: now).map(\.items)
      guard retryAt == nil, !frames.isEmpty else {
        try await changed.wait(after: seen, until: retryAt ?? aggregator.nextDeadline, clock)
        continue
      }
      try await say(frames.removeFirst())
    }
  }

  /// Waits until the outbox is less full than `percent`; 0: until it is empty.
  package func untilBelow(percent: Int) async throws {
    while true {
      let seen = changed.count
      if percent == 0 ? core.count == 0 : core.fillPercent < percent { return }
      if percent == 0 { frames += aggregator.handle(.flush, now: clock.now).map(\.items) }
      if percent == 0, !frames.isEmpty { changed.signal() }
      try await changed.wait(after: percent == 0 && !frames.isEmpty ? changed.count : seen)
    }
  }

  /// Waits while the engine doesn't hear what is said: results go before new work, since the leases of their tasks may have run out and whoever
  /// claims gets the oldest task.
  package func untilHeard() async throws {
    while true {
      let seen = changed.count
      guard isUnheard else { return }
      try await changed.wait(after: seen)
    }
  }

  /// Lets go of the disk's thread. What is on the disk stays there.
  package func close() async { await disk?.close() }

  // MARK: Saying

  private func say(_ keys: [String]) async throws {
    let items = keys.compactMap { key in payloads[key].map { OutboxLog.Item(key: key, payload: $0) } }
    guard !items.isEmpty else { return }
    happened.frames += 1
    let answers = try await deliver(items)
    var isAway = false
    for (item, answer) in zip(items, answers) {
      switch answer {
      case .delivered:
        happened.delivered += 1
        carry(out: core.handle(.acknowledged(item.key), now: clock.now))
      case .refused:
        happened.refused += 1
        carry(out: core.handle(.refused(item.key), now: clock.now))
      case .later: isAway = true
      }
    }
    isUnheard = isAway || answers.count < items.count
    if isUnheard {
      // What was on its way is said again, in its order.
      _ = core.handle(.disconnected, now: clock.now)
      _ = aggregator.handle(.flush, now: clock.now)
      frames = []
      retryAt = clock.now + pause
      pause = min(pause * 2, pauses.upperBound)
    } else {
      pause = pauses.lowerBound
    }
    noteChange()
    if !forgotten.isEmpty { await write() }
  }

  private func carry(out effects: [Outbox.Effect]) {
    for effect in effects {
      switch effect {
      case .store, .reject: break
      case .send(let key, _):
        let size = payloads[key]?.count ?? 0
        frames += aggregator.handle(.add(key, bytes: size), now: clock.now).map(\.items)
      case .remove(let key, let isRefused):
        payloads[key] = nil
        unwritten.removeAll { $0 == key }
        if durable.remove(key) != nil { forgotten.append(key) }
        settled.removeValue(forKey: key)?(!isRefused)
      }
    }
    if order.count > 2 * payloads.count + 1_024 { order.removeAll { payloads[$0] == nil } }
    noteChange()
  }

  // MARK: The disk

  /// Puts what waits on the disk, what came meanwhile with the next write.
  private func write() async {
    guard let disk, !isWriting else { return }
    isWriting = true
    defer {
      isWriting = false
      noteChange()
    }
    while !unwritten.isEmpty || !forgotten.isEmpty {
      let (keys, gone) = (unwritten, forgotten)
      (unwritten, forgotten) = ([], [])
      let items = keys.compactMap { key in payloads[key].map { OutboxLog.Item(key: key, payload: $0) } }
      do {
        try await disk.append(items, delivered: gone)
        for item in items {
          // Delivered meanwhile: it is to be forgotten there, too.
          if payloads[item.key] == nil { forgotten.append(item.key) } else { durable.insert(item.key) }
        }
        guard await disk.isWasteful else { continue }
        try await disk.rewrite(
          order.filter { durable.contains($0) }.compactMap { key in
            payloads[key].map { OutboxLog.Item(key: key, payload: $0) }
          })
      } catch {
        // A delivery that isn't noted is said again after a crash, which is harmless.
        happened.diskFailures += 1
        unwritten = keys.filter { payloads[$0] != nil } + unwritten
        return
      }
    }
  }
}
