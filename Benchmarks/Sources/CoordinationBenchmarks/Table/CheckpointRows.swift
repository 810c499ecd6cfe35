import CoordinationEngine
import Foundation

/// A checkpoint of 16 KB put and got, at 1,000 a second in an open loop (15): on three servers with three replicas, beside one machine's SQLite.
struct CheckpointRows: PromiseSource {
  var promises: [Int] { [15] }

  private static let rate = 1_000
  private static let bytes = 16_384
  /// Agents whose checkpoints they are.
  private static let keys = 500

  private struct Times {
    var put = IntegerHistogram()
    var get = IntegerHistogram()
  }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let seconds = context.isQuick ? 1 : 10
    let promise = Promise.all[14]
    let local = try await measure(.sqliteNode, seconds: seconds)
    var all: [Times] = []
    for _ in 0..<(context.isQuick ? 1 : min(3, context.rounds)) {
      all.append(try await measure(.jetStream3, seconds: seconds))
    }
    let put = median(all.map(\.put.milliseconds.p99))
    let get = median(all.map(\.get.milliseconds.p99))
    var row = ReportRow(
      id: "15", what: "\(promise.definition) (\(EngineKind.jetStream3.rawValue), \(seconds) s, open loop)",
      baseline: "\(promise.baseline), synced: \(text(local))", seed: promise.seed, target: promise.target,
      measured: "\(all.map(text).joined(separator: " / "))", verdict: Verdict(target: put < 10 && get < 5))
    row.figures = [
      "put_p99_milliseconds": put, "get_p99_milliseconds": get,
      "sqlite_put_p99_milliseconds": local.put.milliseconds.p99,
      "sqlite_get_p99_milliseconds": local.get.milliseconds.p99,
    ]
    if row.verdict != .met {
      row.why = "three servers and the client share this machine's processors and its one disk"
    }
    report.add(row)
  }

  private func text(_ times: Times) -> String {
    let (put, get) = (times.put.milliseconds, times.get.milliseconds)
    return
      "put p50 \(put.p50.text(2)), p99 \(put.p99.text(2)) ms; get p50 \(get.p50.text(2)), p99 \(get.p99.text(2)) ms"
  }

  private func measure(_ kind: EngineKind, seconds: Int) async throws -> Times {
    try await withPods(kind, 1) { engines in
      let state = engines[0].state
      var random = Seeded(state: 15)
      // Packed states are as good as random.
      let values = (0..<16).map { _ in (0..<Self.bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
      for key in 0..<Self.keys { _ = try await state.put("agent.\(key)", values[key % 16]) }
      var times = Times()
      times.put = try await openLoop(Self.rate * seconds) { number in
        _ = try await state.put("agent.\(number % Self.keys)", values[number % 16])
      }
      times.get = try await openLoop(Self.rate * seconds) { number in
        guard try await state.get("agent.\(number * 7 % Self.keys)")?.value.count == Self.bytes else {
          throw Unmeasurable(description: "a checkpoint of another size came back")
        }
      }
      return times
    }
  }

  /// From the moment at which each was due, not from when it was begun: what waits counts.
  private func openLoop(
    _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void
  ) async throws -> IntegerHistogram {
    try await withThrowingTaskGroup(of: Duration.self) { group in
      let first = ContinuousClock.now + .milliseconds(100)
      for number in 0..<count {
        let due = first + .microseconds(number * 1_000_000 / Self.rate)
        try await Task.sleep(until: due, tolerance: .zero, clock: .continuous)
        group.addTask {
          try await body(number)
          return ContinuousClock.now - due
        }
      }
      var times = IntegerHistogram()
      for try await time in group { times.add(time) }
      return times
    }
  }
}
