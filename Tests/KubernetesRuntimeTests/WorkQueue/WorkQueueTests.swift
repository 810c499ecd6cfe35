import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@Suite("Work queue")
struct WorkQueueTests {
  private func at(_ seconds: Int) -> MonotonicTime { MonotonicTime(sinceOrigin: .seconds(seconds)) }

  @Test("Keys come out in the order in which they were added, each once")
  func fifo() {
    var queue = WorkQueue<Int>()
    for key in [3, 1, 2, 1, 3] { _ = queue.add(key, now: at(0)) }
    #expect(queue.next(now: at(1)) == .work(3))
    #expect(queue.next(now: at(1)) == .work(1))
    #expect(queue.next(now: at(1)) == .work(2))
    #expect(queue.next(now: at(1)) == .wait(until: nil))
    #expect(queue.metrics(now: at(1)).merged == 2)
    #expect(queue.metrics(now: at(1)).waitTotal == .seconds(3))
  }

  @Test("A key added while it is worked on comes out again after the work, not before")
  func dirty() {
    var queue = WorkQueue<String>()
    _ = queue.add("a", now: at(0))
    #expect(queue.next(now: at(0)) == .work("a"))
    #expect(queue.add("a", now: at(1)) == .accepted)
    #expect(queue.add("a", now: at(1)) == .merged)
    #expect(queue.next(now: at(1)) == .wait(until: nil))
    queue.finish("a", .done, now: at(2), random: 0)
    #expect(queue.next(now: at(2)) == .work("a"))
    queue.finish("a", .done, now: at(3), random: 0)
    #expect(queue.next(now: at(3)) == .wait(until: nil))
  }

  @Test("Of several deadlines the earliest counts", arguments: [[30, 10, 20], [10, 20, 30], [30, 20, 10]])
  func earliestDeadline(delays: [Int]) {
    var queue = WorkQueue<String>()
    for delay in delays { _ = queue.add("a", notLaterThan: at(delay), now: at(0)) }
    #expect(queue.next(now: at(9)) == .wait(until: at(10)))
    #expect(queue.next(now: at(10)) == .work("a"))
    queue.finish("a", .done, now: at(11), random: 0)
    #expect(queue.next(now: at(40)) == .wait(until: nil))
  }

  @Test("Adding at once overrides a delay")
  func immediateOverrides() {
    var queue = WorkQueue<String>()
    _ = queue.add("a", notLaterThan: at(10), now: at(0))
    #expect(queue.add("a", now: at(1)) == .accepted)
    #expect(queue.next(now: at(1)) == .work("a"))
    queue.finish("a", .done, now: at(1), random: 0)
    #expect(queue.next(now: at(20)) == .wait(until: nil))
    #expect(queue.metrics(now: at(20)).delayed == 0)
  }

  @Test("Failures back off exponentially up to the cap, and success forgets them")
  func backoff() {
    var queue = WorkQueue<String>(.init(backoff: Backoff(base: .seconds(2), cap: .seconds(8))))
    var now = at(0)
    _ = queue.add("a", now: now)
    // random 1024 draws the whole delay: 2, 4, 8, 8.
    for expected in [2, 4, 8, 8] {
      #expect(queue.next(now: now) == .work("a"))
      queue.finish("a", .retry(after: nil), now: now, random: 1024)
      #expect(queue.next(now: now) == .wait(until: now + .seconds(expected)))
      now = now + .seconds(expected)
    }
    #expect(queue.next(now: now) == .work("a"))
    queue.finish("a", .requeue(after: .seconds(60)), now: now, random: 0)
    now = now + .seconds(60)
    #expect(queue.next(now: now) == .work("a"))
    queue.finish("a", .retry(after: nil), now: now, random: 0)
    #expect(queue.nextDeadline == now + .seconds(1))
    #expect(queue.metrics(now: now).retries == 5)
  }

  @Test("A retry waits as long as the server asked")
  func retryAfter() {
    var queue = WorkQueue<String>()
    _ = queue.add("a", now: at(0))
    _ = queue.next(now: at(0))
    queue.finish("a", .retry(after: .seconds(42)), now: at(0), random: 0)
    #expect(queue.next(now: at(41)) == .wait(until: at(42)))
  }

  @Test("A full queue refuses new keys, not those it knows, and has room again after the work")
  func bounded() {
    var queue = WorkQueue<Int>(.init(maximumKeys: 2))
    #expect(queue.add(1, now: at(0)) == .accepted)
    #expect(queue.add(2, notLaterThan: at(5), now: at(0)) == .accepted)
    #expect(queue.add(3, now: at(0)) == .refused)
    #expect(queue.add(2, now: at(0)) == .accepted)
    #expect(queue.next(now: at(0)) == .work(1))
    queue.finish(1, .done, now: at(0), random: 0)
    #expect(queue.add(3, now: at(0)) == .accepted)
    #expect(queue.metrics(now: at(0)).refused == 1)
  }

  @Test("A forgotten key is gone wherever it stood, and the others keep their order")
  func forget() {
    var queue = WorkQueue<Int>()
    for key in 1...3 { _ = queue.add(key, now: at(0)) }
    _ = queue.add(4, notLaterThan: at(1), now: at(0))
    queue.forget(2)
    queue.forget(4)
    #expect(queue.next(now: at(9)) == .work(1))
    #expect(queue.next(now: at(9)) == .work(3))
    #expect(queue.next(now: at(9)) == .wait(until: nil))
  }

  @Test("A closed queue hands out nothing more")
  func closed() {
    var queue = WorkQueue<Int>()
    _ = queue.add(1, now: at(0))
    queue.close()
    #expect(queue.next(now: at(0)) == .stop)
    #expect(queue.add(2, now: at(0)) == .refused)
  }

  @Test(
    "No key is lost and none is worked on twice at once, whatever the order of calls",
    arguments: 0..<200 as Range<UInt64>)
  func properties(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var queue = WorkQueue<Int>()
    var model = QueueModel()
    var now = at(0)
    for _ in 0..<600 {
      now = now + .milliseconds(Int.random(in: 0...400, using: &random))
      let key = Int.random(in: 0..<8, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0:
        _ = queue.add(key, now: now)
        model.add(key, at: now)
      case 1:
        let deadline = now + .milliseconds(Int.random(in: 0...3000, using: &random))
        _ = queue.add(key, notLaterThan: deadline, now: now)
        model.add(key, at: max(now, deadline))
      case 2, 3:
        if case .work(let next) = queue.next(now: now) {
          let isAllowed = model.begin(next, now: now)
          #expect(isAllowed, "seed \(seed): \(next) was handed out while it was worked on or too early")
        } else {
          #expect(!model.hasReadyKey(now: now), "seed \(seed): a ready key wasn't handed out")
        }
      default:
        guard let running = model.running.sorted().randomElement(using: &random) else { continue }
        let draw = random.next()
        let outcome: WorkOutcome = [.done, .requeue(after: .seconds(1)), .retry(after: nil)][Int(draw % 3)]
        queue.finish(running, outcome, now: now, random: draw)
        model.finish(running, outcome == .done ? nil : now + .seconds(600), now: now)
      }
    }
    // Liveness: with workers free and enough time everything that was asked for comes out.
    for key in model.running.sorted() {
      queue.finish(key, .done, now: now, random: 0)
      model.finish(key, nil, now: now)
    }
    now = now + .seconds(3600)
    while case .work(let key) = queue.next(now: now) {
      let isAllowed = model.begin(key, now: now)
      #expect(isAllowed, "seed \(seed)")
      queue.finish(key, .done, now: now, random: 0)
      model.finish(key, nil, now: now)
    }
    #expect(model.wanted.isEmpty, "seed \(seed): lost \(model.wanted)")
    #expect(queue.metrics(now: now).processing == 0)
    #expect(queue.metrics(now: now).delayed == 0)
    #expect(queue.metrics(now: now).depth == 0)
  }
}

/// What any queue must do, said as simply as possible: by when each key is wanted, and which keys are worked on.
private struct QueueModel {
  var wanted: [Int: MonotonicTime] = [:]
  var running: Set<Int> = []
  /// Keys whose work asked for another run at a time that only the queue knows (back-off).
  var mayRunAgain: Set<Int> = []

  mutating func add(_ key: Int, at deadline: MonotonicTime) {
    wanted[key] = wanted[key].map { min($0, deadline) } ?? deadline
  }

  mutating func begin(_ key: Int, now: MonotonicTime) -> Bool {
    let isDue = wanted[key].map { $0 <= now } ?? false
    guard !running.contains(key), isDue || mayRunAgain.contains(key) else { return false }
    wanted[key] = nil
    mayRunAgain.remove(key)
    running.insert(key)
    return true
  }

  mutating func finish(_ key: Int, _ again: MonotonicTime?, now: MonotonicTime) {
    running.remove(key)
    guard let again else { return }
    mayRunAgain.insert(key)
    add(key, at: again)
  }

  func hasReadyKey(now: MonotonicTime) -> Bool {
    wanted.contains { !running.contains($0.key) && $0.value <= now }
  }
}
