import KubernetesCore
import KubernetesRuntime
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@Suite("Work queue runner")
struct WorkQueueRunnerTests {
  private let time = ManualTimeSource()
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test("Workers take keys in parallel, up to their number")
  func parallel() async {
    let started = Inbox<Int>()
    let gate = Gate()
    let runner = WorkQueueRunner<Int>(workers: 2, time: time, logger: logger) { key in
      started.put(key)
      try? await gate.wait()
      return .done
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      for key in 1...3 { runner.add(key) }
      #expect(Set(await started.next(2)) == [1, 2])
      #expect(runner.metrics.depth == 1)
      #expect(runner.metrics.processing == 2)
      gate.open()
      #expect(await started.next() == 3)
      group.cancelAll()
    }
    #expect(runner.metrics.completed == 3)
  }

  @Test("A delayed key comes when its time has come, and an earlier deadline wakes the timer")
  func delays() async {
    let done = Inbox<String>()
    let runner = WorkQueueRunner<String>(workers: 1, time: time, logger: logger) { key in
      done.put(key)
      return .done
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      runner.add("late", after: .seconds(60))
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(60)))
      runner.add("early", after: .seconds(5))
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(5)))
      time.advance(by: .seconds(5))
      #expect(await done.next() == "early")
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(60)))
      #expect(done.pending.isEmpty)
      time.advance(by: .seconds(55))
      #expect(await done.next() == "late")
      group.cancelAll()
    }
  }

  @Test("A key that becomes due while all workers are busy waits for one without spinning")
  func busy() async {
    let started = Inbox<String>()
    let gate = Gate()
    let runner = WorkQueueRunner<String>(workers: 1, time: time, logger: logger) { key in
      started.put(key)
      if key == "slow" { try? await gate.wait() }
      return .done
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      runner.add("slow")
      #expect(await started.next() == "slow")
      runner.add("due", after: .seconds(1))
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(1)))
      time.advance(by: .seconds(2))
      gate.open()
      #expect(await started.next() == "due")
      group.cancelAll()
    }
  }

  @Test("A failing key is tried again after its back-off")
  func retry() async {
    let attempts = Inbox<MonotonicTime>()
    let runner = WorkQueueRunner<String>(
      workers: 1, configuration: .init(backoff: Backoff(base: .seconds(4), cap: .seconds(60))), time: time,
      random: { 1024 }, logger: logger
    ) { [time] _ in
      attempts.put(time.monotonicNow)
      return .retry(after: nil)
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      runner.add("a")
      #expect(await attempts.next() == MonotonicTime(sinceOrigin: .zero))
      for (delay, expected) in [(4, 4), (8, 12), (16, 28)] {
        // The timer may go to sleep twice for one deadline: move by the time, not to the sleeper of the moment.
        await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(expected)))
        time.advance(by: .seconds(delay))
        #expect(await attempts.next() == MonotonicTime(sinceOrigin: .seconds(expected)))
      }
      group.cancelAll()
    }
  }

  @Test("On graceful shutdown the work in hand is finished and the rest dropped")
  func gracefulShutdown() async throws {
    let started = Inbox<Int>()
    let gate = Gate()
    let runner = WorkQueueRunner<Int>(workers: 1, time: time, logger: logger) { key in
      started.put(key)
      try? await gate.wait()
      return Task.isCancelled ? .retry(after: nil) : .done
    }
    let group = ServiceGroup(configuration: .init(services: [.init(service: runner)], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      runner.add(1)
      runner.add(2)
      #expect(await started.next() == 1)
      await group.triggerGracefulShutdown()
      // The shutdown travels through the group's own task; it has arrived when the queue refuses keys.
      while runner.add(1) != .refused, !Task.isCancelled { await Task.yield() }
      gate.open()
      try await tasks.next()
    }
    #expect(started.pending.isEmpty)
    #expect(runner.metrics.completed == 1)
    #expect(runner.metrics.retries == 0)
    #expect(runner.add(3) == .refused)
  }
}
