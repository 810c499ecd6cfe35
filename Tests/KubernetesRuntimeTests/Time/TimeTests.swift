import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@Suite("Time")
struct TimeTests {
  @Test("Back-off stays between half and all of the full delay, and never above the cap", arguments: 1..<80)
  func backoffBounds(failures: Int) {
    let backoff = Backoff(base: .milliseconds(250), cap: .seconds(30))
    let full = backoff.fullDelay(failures: failures)
    #expect(full <= .seconds(30))
    #expect(failures < 2 || full >= backoff.fullDelay(failures: failures - 1))
    var random = SeededGenerator(seed: UInt64(failures))
    for _ in 0..<50 {
      let delay = backoff.delay(failures: failures, random: random.next())
      #expect(delay >= full / 2 && delay <= full)
    }
  }

  @Test("The system's clocks move on and its sleep ends not before the deadline")
  func systemTime() async throws {
    let time = SystemTimeSource()
    let deadline = time.monotonicNow + .milliseconds(2)
    try await time.sleep(until: deadline)
    #expect(time.monotonicNow >= deadline)
    // Any machine that runs this has a clock past 2025 and within the range of a Timestamp.
    #expect(time.wallNow > Timestamp(secondsSinceEpoch: 1_735_689_600))
  }

  @Test("A wakeup coalesces signals and lets one wait through")
  func wakeup() async throws {
    let time = ManualTimeSource()
    let wakeup = Wakeup()
    wakeup.signal()
    wakeup.signal()
    try await wakeup.wait(until: MonotonicTime(sinceOrigin: .seconds(1)), time)
    await withTaskGroup { group in
      group.addTask { try? await wakeup.wait(until: MonotonicTime(sinceOrigin: .seconds(1)), time) }
      await time.waitForSleepers(count: 1)
      time.advance(by: .seconds(1))
    }
  }

  @Test("An operation that outlasts its deadline is cancelled and gives nil")
  func deadline() async throws {
    let time = ManualTimeSource()
    let wasCancelled = Inbox<Bool>()
    try await withThrowingTaskGroup(of: Int?.self) { group in
      group.addTask {
        try await withDeadline(MonotonicTime(sinceOrigin: .seconds(3)), time) {
          do {
            try await Gate().wait()
          } catch {
            wasCancelled.put(error is CancellationError)
            throw error
          }
          return 1
        }
      }
      await time.waitForSleepers(count: 1)
      time.advance(by: .seconds(3))
      let result = try await group.next()
      #expect(result == .some(nil))
    }
    #expect(await wasCancelled.next())
    let inTime = try await withDeadline(MonotonicTime(sinceOrigin: .seconds(9)), time) { 7 }
    #expect(inTime == 7)
  }

  @Test("The manual clock wakes sleepers in the order of their deadlines")
  func manualOrder() async {
    let time = ManualTimeSource()
    let woken = Inbox<Int>()
    await withTaskGroup { group in
      for second in [3, 1, 2] {
        group.addTask {
          try? await time.sleep(until: MonotonicTime(sinceOrigin: .seconds(second)))
          woken.put(second)
        }
      }
      await time.waitForSleepers(count: 3)
      for second in 1...3 {
        time.advanceToNextSleeper()
        #expect(await woken.next() == second)
      }
    }
  }
}
