import RateBudget

/// A closed loop of agents, pods, the budget and the simulated upstream in virtual time.
package struct FleetSimulation {
  /// Something that happens to the world.
  package enum Fault {
    /// All limits change by a factor, the levels with them.
    case limits(Double)
    /// Others use so much of the input limit from now on.
    case foreign(Double)
    /// A pod dies; another with a new name takes its place two seconds later.
    case killPod
    /// The coordinator dies.
    case loseCoordinator
    /// A new one begins, without memory; the pods find it within two seconds.
    case newCoordinator
  }

  package struct Settings {
    package var pods = 1_000
    package var agentsPerPod = 2
    package var fleets = 2
    package var requestLimit = 10_000.0
    package var inputLimit = 10_000_000.0
    package var outputLimit = 2_000_000.0
    package var meanInput = 6_000.0
    package var meanOutput = 900.0
    /// How far sizes of bodies lead astray, as a part of the tokens; nil: the bodies can't be read, and requests are
    /// guessed by the mean of all.
    package var sizeError: Double?
    package var think = 10.0
    /// All agents wish at the same moments, so many seconds apart; nil: whenever they have thought.
    package var burstPeriod: Double?
    package var firstToken = 1.5
    package var speed = 70.0
    package var depthSeconds = 60.0
    /// Of the input limit, how much is aimed at.
    package var targetPercent: Int64 = 95
    package var skew = 120.0
    package var warmUp = 60.0
    package var end = 180.0
    /// How many times as many agents the first tenth of the pods has.
    package var hotFactor = 1
    package var faults: [(time: Double, fault: Fault)] = []
    /// No coordinator: each pod has its part of the limits for itself, and knows nothing of the others. The yardstick.
    package var isSplit = false

    /// What holds where nothing else is said.
    package init() {}
  }

  package struct Result {
    package var inputUse = 0.0
    package var outputUse = 0.0
    /// Refused attempts in parts of all attempts.
    package var refusedShare = 0.0
    package var admitted = 0
    /// The largest use of any 60 s after the warm-up.
    package var peak = 0.0
    /// The longest time without an admission, in seconds.
    package var gap = 0.0
    package var fairness = 0.0
    package var trace = 0
    /// Of the time that agents wanted to work, the part in which they did not wait for a grant: E_budget.
    package var unblocked = 1.0
  }

  enum Kind { case wish, begin, progress, end, wake, podWake, shares, fault, reconnect }

  struct Event {
    var time: Double
    var order: Int
    var kind: Kind
    /// An agent, a pod or a fault.
    var index: Int
    /// The wish that it is about; a later wish makes it void.
    var number: UInt64
  }

  struct Agent {
    var pod: Int
    var number: UInt64 = 0
    var id = GrantID(client: "", number: 0)
    var wish: GrantRequest?
    var input = 0.0
    var output = 0.0
    var bodyBytes: Int64?
    var upstreamEstimate = 0.0
    var began = 0.0
    var wished = 0.0
    var isStreaming = false
  }

  package let settings: Settings
  let configuration: BudgetConfiguration
  var generator: SeededGenerator
  package internal(set) var upstream: SimulatedUpstream
  /// The coordinator's budget.
  var budget: GroupBudget
  var isCoordinated = true
  /// Each pod's own, where the limits are split.
  var split: [GroupBudget] = []
  /// Seconds for which agents waited for a grant, and for which they did anything else.
  var (waited, worked) = (0.0, 0.0)
  /// The pods' sides; only where the coordinator dies.
  var locals: [LocalBudget] = []
  var names: [String]
  var estimator = InputEstimator()
  var agents: [Agent] = []
  var heap: [Event] = []
  var order = 0
  var owners: [GrantID: Int] = [:]
  var wakeAt = Double.infinity
  var perFleet: [Double]
  var trace = 0

  package init(_ settings: Settings, seed: UInt64) {
    self.settings = settings
    generator = SeededGenerator(seed: seed)
    upstream = SimulatedUpstream(
      requests: settings.requestLimit, input: settings.inputLimit, output: settings.outputLimit,
      depthSeconds: settings.depthSeconds)
    var configuration = BudgetConfiguration(
      limits: .limits(
        requests: Int64(settings.requestLimit), input: Int64(settings.inputLimit), output: Int64(settings.outputLimit)),
      ramp: nil)
    configuration.targetPercent = settings.targetPercent
    configuration.queueLimit = 100_000
    self.configuration = configuration
    budget = GroupBudget(configuration: configuration, now: .zero)
    budget.startLearning(now: .zero)
    perFleet = Array(repeating: 0, count: settings.fleets)
    names = (0..<settings.pods).map { "pod\($0)" }
    for pod in 0..<settings.pods {
      let factor = pod < settings.pods / 10 ? settings.hotFactor : 1
      for _ in 0..<settings.agentsPerPod * factor { agents.append(Agent(pod: pod)) }
    }
    let losesCoordinator = settings.faults.contains { if case .loseCoordinator = $0.fault { true } else { false } }
    if losesCoordinator {
      let none = Share(rates: .zero, floor: .zero)
      for _ in names {
        var local = LocalBudget(configuration: configuration, initial: none, now: .zero)
        _ = local.connect(now: .zero)
        locals.append(local)
      }
    }
    if settings.isSplit {
      let parts = Int64(settings.pods)
      var part = configuration
      part.limits = .limits(
        requests: Int64(settings.requestLimit) / parts, input: Int64(settings.inputLimit) / parts,
        output: Int64(settings.outputLimit) / parts)
      split = names.indices.map { pod in
        var own = GroupBudget(configuration: part, now: .zero)
        own.connect(client: names[pod], fleet: fleet(of: pod), now: .zero)
        return own
      }
    }
    for pod in names.indices { budget.connect(client: names[pod], fleet: fleet(of: pod), now: .zero) }
  }

  func fleet(of pod: Int) -> String { "fleet\(pod % settings.fleets)" }

  mutating func unit() -> Double { Double(generator.next() >> 11) / Double(1 << 53) }

  /// Near enough to a log-normal of sigma 1: exp of the sum of twelve uniform numbers, by repeated squaring.
  mutating func skewed(mean: Double, maximum: Double) -> Double {
    let normal = (0..<12).reduce(0.0) { sum, _ in sum + unit() } - 6
    return min(maximum, max(1, (mean * exponential(normal - 0.5)).rounded()))
  }

  private func exponential(_ value: Double) -> Double {
    var result = 1 + value / 1_024
    for _ in 0..<10 { result *= result }
    return result
  }

  mutating func schedule(_ kind: Kind, at time: Double, index: Int = 0, number: UInt64 = 0) {
    order += 1
    heap.append(Event(time: time, order: order, kind: kind, index: index, number: number))
    var child = heap.count - 1
    while child > 0, Self.isBefore(heap[child], heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Static, so that `self` isn't copied for each comparison in a debug build.
  private static func isBefore(_ left: Event, _ right: Event) -> Bool {
    left.time != right.time ? left.time < right.time : left.order < right.order
  }

  private mutating func next() -> Event? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && Self.isBefore(heap[child], heap[least])
      {
        least = child
      }
      if least == parent { return first }
      heap.swapAt(least, parent)
      parent = least
    }
  }

  /// Runs to the end; what was measured after the warm-up.
  package mutating func run(isOutputBound: Bool = false) -> Result {
    for agent in agents.indices { schedule(.wish, at: unit() * settings.think, index: agent) }
    for place in settings.faults.indices { schedule(.fault, at: settings.faults[place].time, index: place) }
    if !locals.isEmpty { schedule(.shares, at: 1) }
    var start = perFleet
    var isMeasuring = false
    while let event = next(), event.time < settings.end {
      upstream.pass(to: event.time)
      if !isMeasuring, event.time >= settings.warmUp {
        isMeasuring = true
        start = perFleet
      }
      handle(event)
      // A report of output only takes: it lets nobody in.
      if event.kind != .progress { grant(now: event.time) }
    }
    upstream.pass(to: settings.end)
    let (from, to) = (Int(settings.warmUp), Int(settings.end))
    var result = Result()
    result.inputUse = upstream.inputUse(from: from, to: to)
    result.outputUse = upstream.outputUse(from: from, to: to)
    result.refusedShare = Double(upstream.refused) / Double(upstream.admitted + upstream.refused)
    result.admitted = upstream.admitted
    result.peak = upstream.peak(isOutput: isOutputBound, from: from, to: to)
    result.gap = upstream.longestGap(after: 20, end: settings.end)
    result.fairness = jain(zip(perFleet, start).map { $0 - $1 })
    result.trace = trace
    result.unblocked = waited + worked > 0 ? worked / (waited + worked) : 1
    return result
  }

  private mutating func grant(now: Double) {
    guard isCoordinated, !settings.isSplit else { return }
    for outcome in budget.advance(now: at(now)) {
      trace = trace &* 31 &+ Int(outcome.id.number) &+ outcome.id.client.utf8.count
      guard case .granted(let grant) = outcome, let agent = owners[grant.id] else { continue }
      if !locals.isEmpty, let wish = agents[agent].wish { locals[agents[agent].pod].mirror(wish, now: at(now)) }
      send(agent, now: now)
    }
    if let deadline = budget.nextDeadline(now: at(now)), budget.waitingCount > 0 {
      let time = max(Double(deadline.nanoseconds) / 1e9, now + 0.01)
      if time < wakeAt || wakeAt <= now {
        wakeAt = time
        schedule(.wake, at: time)
      }
    }
  }
}
