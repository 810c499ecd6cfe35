import CoordinationProtocol
import Coordinator
import KubernetesCore
import RateBudget
import SwarmCoordination
import TestSupport
import Testing

/// A clock that stands still until a test moves it.
struct ManualCoordinationClock: BudgetClock, CoordinationClock {
  let time = ManualTimeSource()

  var now: BudgetTime { BudgetTime(nanoseconds: time.monotonicNow.sinceOrigin.wholeNanoseconds) }
  var wall: WallTime { WallTime(milliseconds: 1_767_225_600_000) + (now - .zero) }

  func sleep(until deadline: BudgetTime) async throws {
    try await time.sleep(until: MonotonicTime(sinceOrigin: .nanoseconds(deadline.nanoseconds)))
  }
}

extension SystemBudgetClock: CoordinationClock {}

let sonnet = GroupKey(organization: "org", modelGroup: "claude-sonnet")
let wallStart = WallTime(milliseconds: 1_767_225_600_000)

/// The instant so many seconds after the origin.
func at(_ seconds: Double) -> BudgetTime { BudgetTime(nanoseconds: Int64(seconds * 1_000_000_000)) }

/// 100 % of the limits, no reserve, no ramp: numbers that are easy to follow.
func plain(
  requests: Int64? = nil, input: Int64? = nil, output: Int64? = nil, burst: Duration = .seconds(60)
) -> BudgetConfiguration {
  var budget = BudgetConfiguration(
    limits: PerDimension(requests: requests, inputTokens: input, inputTokensTotal: nil, outputTokens: output),
    targetPercent: 100, outputTargetPercent: 100, burst: burst, reservePercent: 0, queueLimit: 100_000, ramp: nil)
  budget.assumedLimits = PerDimension(repeating: nil)
  return budget
}

func coordinatorConfiguration(_ budget: BudgetConfiguration) -> CoordinatorConfiguration {
  CoordinatorConfiguration(
    groups: [GroupConfiguration(modelGroup: "claude-sonnet", models: ["claude-sonnet-*"], budget: budget)],
    defaults: budget)
}

func worker(_ name: String, fleet: String = "reviewers", incarnation: String = "1") -> WorkerIdentity {
  WorkerIdentity(
    namespace: "team", pod: name, uid: "uid-\(name)", fleet: fleet, kind: "agent", incarnation: incarnation)
}

func request(
  _ number: UInt64, of identity: WorkerIdentity, input: Int64 = 0, output: Int64 = 0, deadline: BudgetTime = at(100_000)
) -> GrantRequest {
  GrantRequest(
    id: GrantID(client: identity.client, number: number), fleet: identity.fleetName,
    estimate: Estimate(input: input, expectedOutput: output), deadline: deadline, model: "claude-sonnet-5",
    kind: "agent")
}

func admissionRequest(
  _ number: UInt64, of identity: WorkerIdentity, group: GroupKey = sonnet, input: Int64 = 0,
  deadline: BudgetTime = at(100_000)
) -> AdmissionRequest {
  AdmissionRequest(group: group, grant: request(number, of: identity, input: input, deadline: deadline))
}

func asking(_ requests: [GrantRequest], group: GroupKey = sonnet) -> WorkerFrame {
  var frame = WorkerFrame()
  frame.groups = [group]
  frame.requests = requests.map { RequestNote(group: group, request: $0) }
  return frame
}

/// The numbers granted on a stream, in order.
func grants(_ effects: [CoordinatorEffect], on stream: StreamID? = nil) -> [UInt64] {
  effects.compactMap {
    guard case .tell(let to, .grant(let grant)) = $0, stream == nil || to == stream else { return nil }
    return grant.number
  }
}

/// The refusals on a stream, in order.
func refusals(_ effects: [CoordinatorEffect]) -> [RefusalNote] {
  effects.compactMap { if case .tell(_, .refusal(let note)) = $0 { note } else { nil } }
}

/// Coordinator and links in virtual time, joined without a network: the same state machines and the same wire forms,
/// every step repeatable.
struct VirtualSwarm {
  var coordinator: CoordinatorState?
  var links: [LinkState] = []
  var now = BudgetTime.zero
  var admitted: [[(time: BudgetTime, admission: Admission)]] = []
  var failed: [[UInt64: AdmissionError]] = []
  var answered: [[UInt64: RejectionDecision]] = []
  var drains: [[DrainOrder]] = []
  private struct Wire {
    var numbers = GroupNumbers()
    var table = GroupTable()
  }

  private var streams: [StreamID: Int] = [:]
  private var wires: [StreamID: Wire] = [:]
  private var lastStream: UInt64 = 0
  private let configuration: CoordinatorConfiguration

  init(_ budget: BudgetConfiguration, workers: Int) {
    configuration = coordinatorConfiguration(budget)
    for index in 0..<workers {
      var link = LinkConfiguration(host: "localhost", port: 1, security: .plaintext, defaults: budget)
      link.initialPercent = 1
      links.append(LinkState(identity: worker("pod\(index)"), configuration: link, seed: UInt64(index)))
      admitted.append([])
      failed.append([:])
      answered.append([:])
      drains.append([])
    }
  }

  mutating func start(isSuccessor: Bool = false) {
    coordinator = CoordinatorState(
      configuration: configuration, name: "c\(lastStream)", isSuccessor: isSuccessor, seed: 1, wall: wallStart, now: now
    )
  }

  mutating func connect(_ index: Int) {
    lastStream += 1
    let stream = StreamID(lastStream)
    streams[stream] = index
    var wire = Wire()
    do {
      let message = links[index].hello(now: now).wire(numbers: &wire.numbers, now: now)
      let hello = try WorkerHello(validating: message, table: &wire.table, now: now)
      wires[stream] = wire
      carryOut(coordinator?.join(hello, stream: stream, now: now) ?? [])
    } catch {
      Issue.record(error)
    }
  }

  mutating func connectAll() {
    for index in links.indices { connect(index) }
  }

  /// The coordinator is gone, and the links notice at once.
  mutating func crash() {
    coordinator = nil
    streams = [:]
    for index in links.indices { resolve(index, links[index].lost(now: now)) }
  }

  mutating func ask(_ index: Int, _ number: UInt64, input: Int64 = 0, deadline: BudgetTime = at(100_000)) {
    switch links[index].acquire(
      admissionRequest(number, of: worker("pod\(index)"), input: input, deadline: deadline), now: now)
    {
    case .admitted(let admission): admitted[index].append((now, admission))
    case .failed(let error): failed[index][number] = error
    case .waiting: break
    }
  }

  mutating func step(_ duration: Duration = .milliseconds(5)) {
    now = now + duration
    for index in links.indices {
      while let frame = links[index].takeOutgoing(now: now) {
        guard let stream = streams.first(where: { $0.value == index })?.key else { break }
        deliver(frame, from: index, by: stream)
      }
    }
    carryOut(coordinator?.advance(now: now) ?? [])
    for index in links.indices { resolve(index, links[index].advance(now: now)) }
  }

  /// By the wire's form, so that what the coordinator sees is what it would see.
  private mutating func deliver(_ frame: WorkerFrame, from index: Int, by stream: StreamID) {
    guard var wire = wires[stream] else { return }
    do {
      let message = frame.wire(numbers: &wire.numbers, now: now)
      let read = try WorkerFrame(
        validating: message, table: &wire.table, identity: worker("pod\(index)"), now: now)
      wires[stream] = wire
      carryOut(coordinator?.handle(read, from: stream, now: now) ?? [])
    } catch {
      Issue.record(error)
    }
  }

  mutating func run(_ duration: Duration, step width: Duration = .milliseconds(100)) {
    let end = now + duration
    while now < end { step(width) }
  }

  private mutating func carryOut(_ effects: [CoordinatorEffect]) {
    for effect in effects {
      switch effect {
      case .welcome(let stream, let welcome):
        if let index = streams[stream] { links[index].welcomed(welcome, now: now) }
      case .tell(let stream, let note):
        guard let index = streams[stream] else { continue }
        var frame = CoordinatorFrame()
        switch note {
        case .grant(let grant): frame.grants = [grant]
        case .refusal(let refusal): frame.refusals = [refusal]
        case .answer(let answer): frame.answers = [answer]
        case .share(let key, let share): frame.shares = [(key, share)]
        case .lease(let lease): frame.lease = lease
        case .drain(let order): frame.drains = [order]
        case .group(let group): frame.groups = [group]
        }
        resolve(index, links[index].received(frame, now: now))
      case .close(let stream, _): streams[stream] = nil
      }
    }
  }

  private mutating func resolve(_ index: Int, _ resolutions: [LinkState.Resolution]) {
    for resolution in resolutions {
      switch resolution {
      case .admitted(_, let admission): admitted[index].append((now, admission))
      case .failed(let number, let error): failed[index][number] = error
      case .answered(let number, let decision): answered[index][number] = decision
      case .drain(let order): drains[index].append(order)
      }
    }
  }

  /// How many requests were admitted in all.
  var count: Int { admitted.reduce(0) { $0 + $1.count } }

  /// How many were admitted from `start` on, before `end`.
  func count(from start: BudgetTime, to end: BudgetTime) -> Int {
    admitted.reduce(0) { $0 + $1.filter { $0.time >= start && $0.time < end }.count }
  }
}
