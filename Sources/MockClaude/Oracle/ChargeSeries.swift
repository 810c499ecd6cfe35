/// True charges of one pool in bins of one second.
///
/// Input and requests count in the second of their admission, at their true size. Output counts as it is produced; between
/// two events it is a constant flow, which is laid into the bins exactly.
package struct ChargeSeries: Sendable {
  /// The charges of one second.
  package struct Bin: Sendable {
    fileprivate var second = Int64.min
    /// Requests admitted.
    package var requests = 0
    /// Input tokens charged.
    package var inputTokens = 0
    fileprivate var outputUnits: Int128 = 0
    /// Output tokens, rounded.
    package var outputTokens: Int { Int((outputUnits + TokenBucket.unit / 2) / TokenBucket.unit) }
  }

  private var bins: [Bin]
  private var flow: Int64 = 0
  private var updated: MockTime
  /// The first second of which anything is known.
  package let firstSecond: Int64
  /// Totals since the start.
  package private(set) var (requests, inputTokens) = (0, 0)
  private var outputUnits: Int128 = 0

  /// A series that remembers `seconds` seconds.
  init(seconds: Int, start: MockTime) {
    bins = Array(repeating: Bin(), count: max(700, seconds))
    updated = start
    firstSecond = start.second
  }

  /// Output tokens since the start, rounded.
  package var outputTokens: Int { Int((outputUnits + TokenBucket.unit / 2) / TokenBucket.unit) }

  private mutating func change(_ second: Int64, _ body: (inout Bin) -> Void) {
    let index = Int(second % Int64(bins.count))
    if bins[index].second != second {
      bins[index] = Bin()
      bins[index].second = second
    }
    body(&bins[index])
  }

  /// The bin of a second; empty where nothing was charged or it's forgotten.
  package func bin(_ second: Int64) -> Bin {
    guard second >= 0 else { return Bin() }
    let bin = bins[Int(second % Int64(bins.count))]
    return bin.second == second ? bin : Bin()
  }

  /// The first second that is still remembered at `now`.
  package func firstRemembered(at now: MockTime) -> Int64 {
    max(firstSecond, now.second - Int64(bins.count) + 1)
  }

  /// Lays the flow of output into the bins until `now`.
  mutating func advance(to now: MockTime) {
    guard now > updated else { return }
    if flow > 0 {
      var from = updated
      while from < now {
        let until = min(now, MockTime(seconds: from.second + 1))
        let units = Int128(flow) * Int128(until.nanoseconds - from.nanoseconds)
        change(from.second) { $0.outputUnits += units }
        outputUnits += units
        from = until
      }
    }
    updated = now
  }

  /// Changes the flow of output from `now` on.
  mutating func changeFlow(by tokensPerMinute: Int64, at now: MockTime) {
    advance(to: now)
    flow += tokensPerMinute
  }

  /// Corrects the output by what the flow missed.
  mutating func addOutput(units: Int128, at now: MockTime) {
    advance(to: now)
    change(now.second) { $0.outputUnits += units }
    outputUnits += units
  }

  /// Counts an admitted request with its true input.
  mutating func add(inputTokens tokens: Int, at now: MockTime) {
    change(now.second) {
      $0.requests += 1
      $0.inputTokens += tokens
    }
    requests += 1
    inputTokens += tokens
  }

  /// Tokens of input and output in the `count` seconds that end with `second`.
  func tokens(inSecondsEndingWith second: Int64, count: Int64) -> Int64 {
    (0..<count).reduce(0) { sum, back in
      let bin = bin(second - back)
      return sum + Int64(bin.inputTokens) + Int64(bin.outputTokens)
    }
  }
}
