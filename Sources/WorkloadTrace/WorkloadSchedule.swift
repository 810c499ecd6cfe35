/// Which requests of a trace are due when. The requests of a bin are spread over it evenly, and its tokens over them, so that the
/// same trace gives the same requests at the same moments each time, at any speed.
package struct WorkloadSchedule: Sendable {
  /// One request of the trace.
  package struct Request: Hashable, Sendable {
    /// Its number, from 0.
    package var number: Int
    /// When it arrives, in the trace's time.
    package var at: Duration
    /// Its prompt's tokens.
    package var inputTokens: Int
    /// Its answer's tokens.
    package var outputTokens: Int
  }

  /// The trace.
  package let trace: WorkloadTrace
  /// All requests that this schedule gives.
  package let requests: Int
  private let scale: WorkloadFactor
  /// How many requests have been given.
  package private(set) var given = 0
  private var bin = 0
  /// Requests of the trace before the bin.
  private var before = 0
  /// Requests of the bin that have been given.
  private var givenOfBin = 0

  /// Schedules a trace with `scale` times its requests; each is as large as in the trace.
  package init(_ trace: WorkloadTrace, scale: WorkloadFactor = .one) {
    self.trace = trace
    self.scale = scale
    requests = scale.scale(trace.requests)
  }

  /// Whether all requests have been given.
  package var isFinished: Bool { given == requests }

  /// When the next request is due, in the trace's time; nil when there is none.
  package var next: Duration? {
    var copy = self
    return copy.skipEmptyBins() ? copy.moment : nil
  }

  /// Takes the requests that are due at a moment of the trace, `maximum` at most: the rest is due at the next call.
  package mutating func due(at now: Duration, maximum: Int) -> [Request] {
    var result: [Request] = []
    while result.count < maximum, skipEmptyBins(), moment <= now {
      let current = trace.bins[bin]
      // With more requests than the trace has, its shares are given out again from the first.
      let share = givenOfBin % current.requests
      result.append(
        Request(
          number: given, at: moment, inputTokens: Self.share(share, of: current.inputTokens, by: current.requests),
          outputTokens: Self.share(share, of: current.outputTokens, by: current.requests)))
      given += 1
      givenOfBin += 1
    }
    return result
  }

  /// How many requests the bin gives: rounding errors don't add up over the bins.
  private var countOfBin: Int {
    scale.scale(before + trace.bins[bin].requests) - scale.scale(before)
  }

  /// Goes to the next bin that has requests left; false at the end.
  private mutating func skipEmptyBins() -> Bool {
    while bin < trace.bins.count, givenOfBin >= countOfBin {
      before += trace.bins[bin].requests
      bin += 1
      givenOfBin = 0
    }
    return bin < trace.bins.count
  }

  /// When the bin's next request is due: in the middle of its part of the bin.
  private var moment: Duration {
    trace.bins[bin].start + trace.binLength * (2 * givenOfBin + 1) / (2 * countOfBin)
  }

  private static func share(_ index: Int, of total: Int, by count: Int) -> Int {
    let (total, index, count) = (Int128(total), Int128(index), Int128(count))
    return Int(total * (index + 1) / count - total * index / count)
  }
}
