import RateBudget

/// The Claude API's limits as documented, written independently of the code under test: three buckets in floating
/// point, input charged by an own estimate and corrected when the response begins, output as it is produced.
package struct SimulatedUpstream {
  struct Bucket {
    var perSecond: Double
    var depth: Double
    var level: Double
    var drain = 0.0

    init(perMinute: Double, depthSeconds: Double) {
      perSecond = perMinute / 60
      depth = perSecond * depthSeconds
      level = depth
    }

    mutating func pass(_ seconds: Double) {
      level = min(depth, level + (perSecond - drain) * seconds)
    }

    /// A changed limit scales everything.
    mutating func scale(by factor: Double) {
      perSecond *= factor
      depth *= factor
      level *= factor
    }
  }

  var requests: Bucket
  var input: Bucket
  var output: Bucket
  private var last = 0.0
  private(set) var refused = 0
  private(set) var admitted = 0
  package private(set) var admissions: [Double] = []
  /// The input that our fleets were charged in each second, and what flowed in.
  private(set) var inputBySecond: [Double] = []
  private(set) var inputCapacity: [Double] = []
  private(set) var outputBySecond: [Double] = []
  private(set) var outputCapacity: [Double] = []

  init(requests: Double, input: Double, output: Double, depthSeconds: Double) {
    self.requests = Bucket(perMinute: requests, depthSeconds: depthSeconds)
    self.input = Bucket(perMinute: input, depthSeconds: depthSeconds)
    self.output = Bucket(perMinute: output, depthSeconds: depthSeconds)
  }

  /// Others' use of the input limit, in parts of it.
  mutating func setForeign(_ part: Double) { input.drain = input.perSecond * part }

  /// A changed limit scales all buckets; what is in them as well.
  mutating func scaleLimits(by factor: Double) {
    requests.scale(by: factor)
    input.scale(by: factor)
    output.scale(by: factor)
  }

  mutating func pass(to now: Double) {
    while last < now {
      let end = min(now, last.rounded(.down) + 1)
      let seconds = end - last
      let second = Int(last.rounded(.down))
      while inputBySecond.count <= second + 1 {
        inputBySecond.append(0)
        inputCapacity.append(0)
        outputBySecond.append(0)
        outputCapacity.append(0)
      }
      outputBySecond[second] += output.drain * seconds
      inputCapacity[second] += input.perSecond * seconds
      outputCapacity[second] += output.perSecond * seconds
      requests.pass(seconds)
      input.pass(seconds)
      output.pass(seconds)
      last = end
    }
  }

  private mutating func charge(_ amount: Double) {
    input.level = min(input.depth, input.level - amount)
    inputBySecond[Int(last.rounded(.down))] += amount
  }

  /// Whether a request is admitted; a refused one debits nothing.
  mutating func admit(estimate: Double) -> Bool {
    guard requests.level >= 1, input.level >= min(estimate, input.depth), output.level > 0 else {
      refused += 1
      return false
    }
    requests.level -= 1
    charge(estimate)
    admitted += 1
    admissions.append(last)
    return true
  }

  /// The response begins: the true input replaces the estimate, and tokens are produced.
  mutating func begin(actual: Double, estimate: Double, speed: Double) {
    charge(actual - estimate)
    output.drain += speed
  }

  mutating func end(speed: Double) {
    output.drain -= speed
  }

  /// The rate-limit headers at `now`, by a clock that is `skew` seconds off.
  func headers(now: Double, skew: Double) -> RateHeaders {
    let second = (now + skew + 1_790_000_000).rounded(.down)
    var headers = RateHeaders(date: WallTime(milliseconds: Int64(second) * 1000))
    func reading(_ bucket: Bucket, rounding: Double) -> RateHeaders.Reading {
      let full = second + ((bucket.depth - bucket.level) / bucket.perSecond).rounded(.up)
      return RateHeaders.Reading(
        limit: Int64((bucket.perSecond * 60).rounded()),
        remaining: Int64((max(bucket.level, 0) / rounding).rounded() * rounding),
        reset: WallTime(milliseconds: Int64(full) * 1000))
    }
    headers.readings.requests = reading(requests, rounding: 1)
    headers.readings.inputTokens = reading(input, rounding: 1_000)
    headers.readings.outputTokens = reading(output, rounding: 1_000)
    return headers
  }

  // MARK: Figures

  /// Charged input in parts of what flowed in, from one second to another.
  package func inputUse(from start: Int, to end: Int) -> Double { Self.use(inputBySecond, inputCapacity, start, end) }

  /// Charged output in parts of what flowed in, from one second to another.
  func outputUse(from start: Int, to end: Int) -> Double { Self.use(outputBySecond, outputCapacity, start, end) }

  private static func use(_ charged: [Double], _ capacity: [Double], _ start: Int, _ end: Int) -> Double {
    charged[start..<end].reduce(0, +) / capacity[start..<end].reduce(0, +)
  }

  /// The largest use of any 60 s between two times.
  func peak(isOutput: Bool, from start: Int, to end: Int) -> Double {
    guard end - start >= 60 else { return 0 }
    return (start...(end - 60)).map { second in
      isOutput ? outputUse(from: second, to: second + 60) : inputUse(from: second, to: second + 60)
    }.max() ?? 0
  }

  /// The longest time without an admission after `start`.
  func longestGap(after start: Double, end: Double) -> Double {
    let times = [start] + admissions.filter { $0 > start } + [end]
    return zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? 0
  }
}
