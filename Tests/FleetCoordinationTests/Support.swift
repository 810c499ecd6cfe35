import CoordinationProtocol
import Coordinator
import KubernetesCore
import RateBudget
import ScalingAPI
import TestSupport

@testable import FleetCoordination

/// Midnight UTC, so that what is left of the day is easy to say.
let start = Timestamp(secondsSinceEpoch: 1_767_225_600)

/// What a worker says of itself; decisions have a type of the same name.
typealias Said = WorkerActivity

func at(_ seconds: Int64) -> BudgetTime { BudgetTime(nanoseconds: seconds * 1_000_000_000) }

/// A budget object `team/claude` with the JSON of its spec.
func budget(_ spec: String, _ name: String = "claude", namespace: String = "team") throws -> BudgetObject {
  let json = #"{"metadata":{"namespace":"\#(namespace)","name":"\#(name)","generation":3},"spec":\#(spec)}"#
  return BudgetObject(APIBudget(try KubernetesJSON.decode(JSONValue.self, from: Array(json.utf8))))
}

func worker(
  _ pod: String, fleet: String = "reviewers", namespace: String = "team", incarnation: String = "1"
) -> WorkerIdentity {
  WorkerIdentity(namespace: namespace, pod: pod, uid: "uid-\(pod)", fleet: fleet, incarnation: incarnation)
}

let reviewers = ObjectKey(namespace: "team", name: "reviewers")
let writers = ObjectKey(namespace: "team", name: "writers")

/// A coordinator's state machine with workers that talk to it by hand.
struct TestFleet {
  var state: CoordinatorState
  var budgets: [BudgetObject]
  var now = BudgetTime.zero
  private var lastStream: UInt64 = 0
  private var lastNumber: UInt64 = 0
  private var streams: [String: StreamID] = [:]

  init(_ budgets: [BudgetObject], isSuccessor: Bool = false) {
    self.budgets = budgets
    state = CoordinatorState(
      configuration: CoordinatorConfiguration(groups: BudgetObject.groups(of: budgets)), name: "c",
      isSuccessor: isSuccessor, seed: 1, wall: WallTime(milliseconds: start.secondsSinceEpoch * 1_000), now: .zero)
  }

  var snapshot: FleetSnapshot {
    mutating get { FleetSnapshot(state.report(now: now), budgets: budgets, at: start + (now - .zero)) }
  }

  @discardableResult
  mutating func join(_ identity: WorkerIdentity, _ activity: WorkerActivity? = nil) -> [CoordinatorEffect] {
    lastStream += 1
    streams[identity.client] = StreamID(lastStream)
    return state.join(
      WorkerHello(identity: identity, activity: activity), stream: StreamID(lastStream), now: now)
  }

  mutating func lose(_ identity: WorkerIdentity) {
    if let stream = streams[identity.client] { state.disconnect(stream, now: now) }
  }

  mutating func say(_ identity: WorkerIdentity, _ frame: WorkerFrame) -> [CoordinatorEffect] {
    guard let stream = streams[identity.client] else { return [] }
    return state.handle(frame, from: stream, now: now)
  }

  /// Asks for requests of 1,000 input and `output` tokens, of the model group; what is granted is used at once.
  mutating func ask(_ identity: WorkerIdentity, _ count: Int, output: Int64, group: String = "team/claude") {
    let key = GroupKey(organization: "", modelGroup: group)
    var frame = WorkerFrame()
    frame.groups = [key]
    for _ in 0..<count {
      lastNumber += 1
      frame.requests.append(
        RequestNote(
          group: key,
          request: GrantRequest(
            id: GrantID(client: identity.client, number: lastNumber), fleet: identity.fleetName,
            estimate: Estimate(input: 1_000, expectedOutput: output), deadline: now + .seconds(300),
            model: "claude-sonnet-5")))
    }
    _ = say(identity, frame)
  }

  /// Lets time pass; grants are settled with what they were estimated to use.
  mutating func run(_ duration: Duration, output: Int64, group: String = "team/claude") {
    let end = now + duration
    while now < end {
      now = now + .milliseconds(500)
      for effect in state.advance(now: now) {
        guard case .tell(let stream, .grant(let grant)) = effect else { continue }
        var frame = WorkerFrame()
        frame.settlements = [
          SettlementNote(
            group: GroupKey(organization: "", modelGroup: group), number: grant.number, kind: .final,
            usage: Usage(input: 1_000, output: output))
        ]
        _ = state.handle(frame, from: stream, now: now)
      }
    }
  }
}
