import CoordinationEngine
import Synchronization
import TaskQueue

/// From the moment at which a task was due to be submitted until an idle agent has it (20), by one and by three servers.
struct LatencyRows: PromiseSource {
  var promises: [Int] { [20] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let length = context.isQuick ? 2.0 : 10.0
    var polled = IntegerHistogram()
    polled.add(try await latency(.jetStream, rate: 100, seconds: min(length, 4), poll: .milliseconds(100)))
    let baseline = "asked for every 100 ms: \(text(polled))"
    for (kind, rate, target) in [
      (EngineKind.jetStream, 100.0, 2.0 as Double?), (.jetStream, 1_000, nil), (.jetStream3, 100, 10),
      (.memory, 100, nil),
    ] {
      var all = IntegerHistogram()
      var rounds: [Double] = []
      for _ in 0..<(target == nil ? 1 : context.rounds) {
        let times = try await latency(kind, rate: rate, seconds: length)
        rounds.append(times.milliseconds.p99)
        all.add(times)
      }
      let p99 = median(rounds)
      let spread = rounds.count > 1 ? "; p99 of runs \((rounds.min() ?? 0).text(2))–\((rounds.max() ?? 0).text(2))" : ""
      var row = ReportRow(
        id: "20", what: "submitted → agent starts, \(kind.rawValue), \(rate.text(0)) tasks/s, open loop",
        baseline: baseline,
        seed: Promise.all[19].seed, target: target.map { "p99 < \($0.text(0)) ms" } ?? "",
        measured: text(all) + spread,
        verdict: target.map { Verdict(seed: p99 < 100, target: p99 < $0) } ?? (p99 < 100 ? .shown : .missed))
      row.figures = [
        "p50_milliseconds": all.milliseconds.p50, "p99_milliseconds": p99, "p999_milliseconds": all.milliseconds.p999,
      ]
      if let target, p99 >= target {
        row.why =
          "a submission is five messages stored one after the other; with other programs on the two cores each waits for its turn"
      }
      report.add(row)
    }
  }

  private func text(_ histogram: IntegerHistogram) -> String {
    let (p50, p99, p999, most) = histogram.milliseconds
    return
      "p50 \(p50.text(2)), p99 \(p99.text(2)), p99.9 \(p999.text(2)), most \(most.text(1)) ms of \(histogram.count)"
  }

  /// `poll`: agents don't wait, they ask again after so long.
  private func latency(
    _ kind: EngineKind, rate: Double, seconds: Double, poll: Duration? = nil
  ) async throws -> IntegerHistogram {
    // The submitter has a connection of its own, as clients have.
    try await withPods(kind, 2) { engines in
      let (client, pod) = (engines[0], engines[1])
      let count = Int(rate * seconds)
      let warm = min(count / 5, 200)
      // Both sides have made their streams and consumers.
      _ = try await client.tasks.submit([NewTask(payload: [])], to: "q")
      for task in try await pod.tasks.claim(ClaimRequest(queue: "q", worker: "w"), wait: .seconds(30)) {
        _ = try await pod.tasks.complete(task.ticket, result: [])
      }
      let starts = Starts(count)
      return try await withThrowingTaskGroup(of: Void.self) { group in
        for agent in 0..<16 {
          group.addTask {
            while !Task.isCancelled {
              let claimed = try await pod.tasks.claim(
                ClaimRequest(queue: "q", worker: "w\(agent)"), wait: poll == nil ? .seconds(20) : .zero)
              let now = ContinuousClock.now
              for task in claimed {
                starts.began(Int(String(decoding: task.payload, as: UTF8.self)) ?? 0, now)
                _ = try await pod.tasks.complete(task.ticket, result: [])
              }
              if let poll, claimed.isEmpty { try await Task.sleep(for: poll) }
            }
          }
        }
        let first = ContinuousClock.now + .milliseconds(200)
        let dues = (0..<count).map { first + .nanoseconds(Int64(Double($0) / rate * 1e9)) }
        for (number, due) in dues.enumerated() {
          try await Task.sleep(until: due, tolerance: .zero, clock: .continuous)
          group.addTask { _ = try await client.tasks.submit([NewTask(payload: Array("\(number)".utf8))], to: "q") }
        }
        await starts.all()
        group.cancelAll()
        while await group.nextResult() != nil {}
        return starts.histogram(dues, after: warm)
      }
    }
  }

  private final class Starts: Sendable {
    private struct State {
      var times: [ContinuousClock.Instant?]
      var missing: Int
      var waiter: CheckedContinuation<Void, Never>?
    }
    private let state: Mutex<State>
    init(_ count: Int) { state = Mutex(State(times: Array(repeating: nil, count: count), missing: count)) }

    func began(_ number: Int, _ time: ContinuousClock.Instant) {
      let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
        guard state.times[number] == nil else { return nil }
        state.times[number] = time
        state.missing -= 1
        guard state.missing == 0 else { return nil }
        defer { state.waiter = nil }
        return state.waiter
      }
      waiter?.resume()
    }

    func all() async {
      await withCheckedContinuation { continuation in
        let isThere = state.withLock { state in
          if state.missing == 0 { return true }
          state.waiter = continuation
          return false
        }
        if isThere { continuation.resume() }
      }
    }

    func histogram(_ dues: [ContinuousClock.Instant], after warm: Int) -> IntegerHistogram {
      var histogram = IntegerHistogram()
      state.withLock { state in
        for (due, time) in zip(dues, state.times).dropFirst(warm) { if let time { histogram.add(time - due) } }
      }
      return histogram
    }
  }
}
