import RateBudget

/// The Claude API's limits as documented, written independently of the code under test: three buckets in floating
/// point, input charged by an own estimate and corrected when the response begins, output as it is produced.
struct SimulatedUpstream {
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
  }

  var requests: Bucket
  var input: Bucket
  var output: Bucket
  private var last = 0.0
  private(set) var refused = 0
  private(set) var admitted = 0
  private(set) var inputCharged = 0.0
  private(set) var outputCharged = 0.0

  init(requests: Double, input: Double, output: Double, depthSeconds: Double) {
    self.requests = Bucket(perMinute: requests, depthSeconds: depthSeconds)
    self.input = Bucket(perMinute: input, depthSeconds: depthSeconds)
    self.output = Bucket(perMinute: output, depthSeconds: depthSeconds)
  }

  mutating func pass(to now: Double) {
    let seconds = now - last
    last = now
    outputCharged += output.drain * seconds
    requests.pass(seconds)
    input.pass(seconds)
    output.pass(seconds)
  }

  /// Whether a request is admitted; a refused one debits nothing.
  mutating func admit(estimate: Double) -> Bool {
    guard requests.level >= 1, input.level >= min(estimate, input.depth), output.level > 0 else {
      refused += 1
      return false
    }
    requests.level -= 1
    input.level -= estimate
    inputCharged += estimate
    admitted += 1
    return true
  }

  /// The response begins: the true input replaces the estimate, and tokens are produced.
  mutating func begin(actual: Double, estimate: Double, speed: Double) {
    input.level = min(input.depth, input.level - (actual - estimate))
    inputCharged += actual - estimate
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
}

/// A closed loop of agents, the budget and the simulated upstream in virtual time.
struct FleetSimulation {
  struct Settings {
    var pods = 1_000
    var agentsPerPod = 2
    var fleets = 2
    var meanInput = 6_000.0
    var meanOutput = 900.0
    var think = 10.0
    var firstToken = 1.5
    var speed = 70.0
    var depthSeconds = 60.0
    var skew = 120.0
    var warmUp = 60.0
    var end = 180.0
    /// How many times as many agents the first tenth of the pods has.
    var hotFactor = 1
  }

  struct Result {
    var inputShare = 0.0
    var outputShare = 0.0
    var refused = 0
    var admitted = 0
    var fairness = 0.0
    var trace = 0
  }

  private enum Kind { case wish, begin, progress, end, wake }

  private struct Event {
    var time: Double
    var order: Int
    var kind: Kind
    var agent: Int
  }

  private struct Agent {
    var pod: Int
    var number: UInt64 = 0
    var id = GrantID(client: "", number: 0)
    var input = 0.0
    var output = 0.0
    var upstreamEstimate = 0.0
    var began = 0.0
    var isRunning = false
  }

  private static let requestLimit = 10_000.0
  private static let inputLimit = 10_000_000.0
  private static let outputLimit = 2_000_000.0
  private let settings: Settings
  private var generator: SeededGenerator
  private var upstream: SimulatedUpstream
  private var budget: GroupBudget
  private var estimator = InputEstimator()
  private var agents: [Agent] = []
  private var heap: [Event] = []
  private var order = 0
  private var owners: [GrantID: Int] = [:]
  private var wakeAt = Double.infinity
  private var perFleet: [Double]

  init(_ settings: Settings, seed: UInt64) {
    self.settings = settings
    generator = SeededGenerator(seed: seed)
    upstream = SimulatedUpstream(
      requests: Self.requestLimit, input: Self.inputLimit, output: Self.outputLimit,
      depthSeconds: settings.depthSeconds)
    var configuration = BudgetConfiguration(
      limits: .limits(requests: 10_000, input: 10_000_000, output: 2_000_000), ramp: nil)
    configuration.queueLimit = 100_000
    budget = GroupBudget(configuration: configuration, now: .zero)
    perFleet = Array(repeating: 0, count: settings.fleets)
    for pod in 0..<settings.pods {
      let factor = pod < settings.pods / 10 ? settings.hotFactor : 1
      for _ in 0..<settings.agentsPerPod * factor { agents.append(Agent(pod: pod)) }
    }
  }

  private mutating func unit() -> Double { Double(generator.next() >> 11) / Double(1 << 53) }

  /// Near enough to a log-normal of sigma 1: exp of the sum of twelve uniform numbers, by repeated squaring.
  private mutating func skewed(mean: Double, maximum: Double) -> Double {
    let normal = (0..<12).reduce(0.0) { sum, _ in sum + unit() } - 6
    return min(maximum, max(1, (mean * exponential(normal - 0.5)).rounded()))
  }

  private func exponential(_ value: Double) -> Double {
    var result = 1 + value / 1_024
    for _ in 0..<10 { result *= result }
    return result
  }

  private mutating func schedule(_ kind: Kind, at time: Double, agent: Int = 0) {
    order += 1
    heap.append(Event(time: time, order: order, kind: kind, agent: agent))
    var child = heap.count - 1
    while child > 0, isBefore(heap[child], heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private func isBefore(_ left: Event, _ right: Event) -> Bool {
    left.time != right.time ? left.time < right.time : left.order < right.order
  }

  private mutating func next() -> Event? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(heap[child], heap[least]) {
        least = child
      }
      if least == parent { return first }
      heap.swapAt(least, parent)
      parent = least
    }
  }

  mutating func run() -> Result {
    for agent in agents.indices { schedule(.wish, at: unit() * settings.think, agent: agent) }
    var result = Result()
    var start = (input: 0.0, output: 0.0, fleets: perFleet)
    var isMeasuring = false
    while let event = next(), event.time < settings.end {
      upstream.pass(to: event.time)
      if !isMeasuring, event.time >= settings.warmUp {
        isMeasuring = true
        start = (upstream.inputCharged, upstream.outputCharged, perFleet)
      }
      handle(event)
      for outcome in budget.advance(now: at(event.time)) {
        result.trace = result.trace &* 31 &+ Int(outcome.id.number) &+ outcome.id.client.utf8.count
        if case .granted(let grant) = outcome, let agent = owners[grant.id] { send(agent, now: event.time) }
      }
      if let deadline = budget.nextDeadline(now: at(event.time)), budget.waitingCount > 0 {
        let time = max(Double(deadline.nanoseconds) / 1e9, event.time + 0.005)
        if time < wakeAt || wakeAt <= event.time {
          wakeAt = time
          schedule(.wake, at: time)
        }
      }
    }
    upstream.pass(to: settings.end)
    let minutes = (settings.end - settings.warmUp) / 60
    result.inputShare = (upstream.inputCharged - start.input) / (Self.inputLimit * minutes)
    result.outputShare = (upstream.outputCharged - start.output) / (Self.outputLimit * minutes)
    result.refused = upstream.refused
    result.admitted = upstream.admitted
    result.fairness = jain(zip(perFleet, start.fleets).map { $0 - $1 })
    return result
  }

  private func features(_ agent: Int) -> InputEstimator.Features {
    InputEstimator.Features(model: "claude-sonnet-5", kind: "agent", session: "")
  }

  private mutating func handle(_ event: Event) {
    let now = event.time
    switch event.kind {
    case .wake: break
    case .wish:
      let agent = event.agent
      agents[agent].number += 1
      agents[agent].input = skewed(mean: settings.meanInput, maximum: 150_000)
      agents[agent].output = skewed(mean: settings.meanOutput, maximum: 20_000)
      let pod = agents[agent].pod
      let id = GrantID(client: "pod\(pod)", number: UInt64(agent) << 32 | agents[agent].number)
      agents[agent].id = id
      owners[id] = agent
      let wish = GrantRequest(
        id: id, fleet: "fleet\(pod % settings.fleets)",
        estimate: estimator.estimate(features(agent), inFlight: budget.outstandingCount),
        deadline: at(now + 1_000), model: "claude-sonnet-5", kind: "agent")
      _ = budget.submit(wish, now: at(now))
    case .begin:
      let agent = event.agent
      upstream.begin(
        actual: agents[agent].input, estimate: agents[agent].upstreamEstimate, speed: settings.speed)
      agents[agent].began = now
      budget.settle(
        agents[agent].id, usage: Usage(input: Int64(agents[agent].input), output: 1), isFinal: false, now: at(now))
      let end = now + agents[agent].output / settings.speed
      schedule(.end, at: end, agent: agent)
      if now + 3 < end { schedule(.progress, at: now + 3, agent: agent) }
    case .progress:
      let agent = event.agent
      let produced = (now - agents[agent].began) * settings.speed
      guard produced < agents[agent].output - settings.speed * 0.1 else { return }
      budget.settle(agents[agent].id, usage: Usage(output: Int64(produced)), isFinal: false, now: at(now))
      if produced + settings.speed * 3 < agents[agent].output { schedule(.progress, at: now + 3, agent: agent) }
    case .end:
      let agent = event.agent
      upstream.end(speed: settings.speed)
      let usage = Usage(input: Int64(agents[agent].input), output: Int64(agents[agent].output))
      budget.settle(agents[agent].id, usage: usage, isFinal: true, now: at(now))
      estimator.learn(features(agent), usage: usage)
      finish(agent, now: now)
    }
  }

  private mutating func finish(_ agent: Int, now: Double) {
    perFleet[agents[agent].pod % settings.fleets] += agents[agent].input + agents[agent].output
    owners[agents[agent].id] = nil
    schedule(.wish, at: now + settings.think * 2 * unit(), agent: agent)
  }

  private mutating func send(_ agent: Int, now: Double) {
    agents[agent].upstreamEstimate = (agents[agent].input * (0.8 + 0.4 * unit())).rounded()
    let isAdmitted = upstream.admit(estimate: agents[agent].upstreamEstimate)
    let headers = upstream.headers(now: now, skew: settings.skew)
    if isAdmitted {
      budget.observe(headers, now: at(now))
      schedule(.begin, at: now + settings.firstToken, agent: agent)
    } else {
      _ = budget.reject(
        agents[agent].id, verdict: .rateLimited(retryAfter: .seconds(1)), headers: headers, now: at(now),
        using: &generator)
    }
  }
}
