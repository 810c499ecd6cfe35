import KubernetesCore
import Testing

@testable import ScalingDecision

/// The HPA's golden vectors about what it keeps of a change of the count, against the product's own list of changes.
///
/// Lists are compared by what policies can see of them: the change within each period of either direction, now and later.
@Suite("The HPA's changes")
struct HPAScaleEventTests {
  struct Vector: Decodable {
    struct Input: Decodable {
      var prev_replicas: Int
      var new_replicas: Int
      var scale_up: HPAVector.Rules?
      var scale_down: HPAVector.Rules?
      var scale_up_events: [HPAVector.Event]
      var scale_down_events: [HPAVector.Event]
    }
    struct Expected: Decodable {
      var scale_up_events_after: [HPAVector.Event]
      var scale_down_events_after: [HPAVector.Event]
    }
    var id: String
    var input: Input
    var expected: Expected
  }

  /// Why the HPA sees another change within a period; rows of docs/decision.md.
  enum Reason: String {
    case noBehavior = "without behavior the HPA keeps nothing"
    case reusedSlot = "the HPA has used the slot of a change again that the other direction still looks back to"
  }

  private struct Change {
    var change: Int
    var at: Milliseconds
  }

  private static func changes(_ growth: [HPAVector.Event], _ shrinks: [HPAVector.Event]) -> [Change] {
    growth.map { Change(change: $0.change, at: milliseconds($0.at_s)) }
      + shrinks.map { Change(change: -$0.change, at: milliseconds($0.at_s)) }
  }

  private static func sum(_ changes: [Change], after cutoff: Milliseconds) -> Int {
    changes.filter { $0.at > cutoff }.reduce(0) { $0 + $1.change }
  }

  /// What the product remembers after a change from the one count to the other, found at an evaluation.
  private static func remembered(_ vector: Vector) -> ScaleEvents {
    let input = vector.input
    var spec = DecisionSpec.plain([], min: 0, max: largestReplicas)
    if let rules = input.scale_up { spec.behavior.scaleUp = HPAVector.rules(rules, window: 0) }
    if let rules = input.scale_down { spec.behavior.scaleDown = HPAVector.rules(rules, window: 0) }
    var state = DecisionState()
    state.expectedReplicas = input.prev_replicas
    let past = changes(input.scale_up_events, input.scale_down_events)
    for change in past.sorted(by: { $0.at < $1.at }) {
      state.events.note(change.change, at: start.milliseconds + change.at, forgettingUntil: .min)
    }
    let replicas = input.new_replicas
    let plan = ScalingDecision.decide(
      spec, state, DecisionInput(now: start, specReplicas: replicas, statusReplicas: replicas))
    return plan.state.events
  }

  @Test("Each period sees the change that the HPA's lists show, or more for a documented reason")
  func changesWithinPeriods() throws {
    let vectors = try HPAVector.load("store_scale_event", as: Vector.self)
    #expect(vectors.count == 84)
    var seen: [Reason: Int] = [:]
    var differing = 0
    var compared = 0
    for vector in vectors {
      let input = vector.input
      let ours = Self.remembered(vector)
      let theirs = Self.changes(vector.expected.scale_up_events_after, vector.expected.scale_down_events_after)
      let change = input.new_replicas - input.prev_replicas
      let past = Self.changes(input.scale_up_events, input.scale_down_events)
      let all = past + (change == 0 ? [] : [Change(change: change, at: 0)])
      let periods = ((input.scale_up?.policies ?? []) + (input.scale_down?.policies ?? [])).map(\.period_s) + [15, 60]
      var reasons: Set<Reason> = []
      for period in Set(periods.map(milliseconds)) {
        for later in [0, 1_000, 15_000, 60_000, 600_000] as [Milliseconds] {
          compared += 1
          let cutoff = later - period
          let own = ours.change(since: start.milliseconds + cutoff)
          #expect(own == Self.sum(all, after: cutoff), "\(vector.id), \(period) ms, \(later) ms later")
          guard own != Self.sum(theirs, after: cutoff) else { continue }
          if input.scale_up == nil && input.scale_down == nil {
            reasons.insert(.noBehavior)
          } else {
            // The HPA's slots: one of the present direction that is older than its longest period is used again.
            let rules = change > 0 ? input.scale_up : input.scale_down
            let longest = milliseconds(rules?.policies.map(\.period_s).max() ?? 0)
            let lost = past.contains { ($0.change > 0) == (change > 0) && $0.at < -longest && $0.at > cutoff }
            #expect(lost, "\(vector.id), \(period) ms, \(later) ms later: \(own), without a reason")
            reasons.insert(.reusedSlot)
          }
        }
      }
      if !reasons.isEmpty { differing += 1 }
      for reason in reasons { seen[reason, default: 0] += 1 }
    }
    #expect(compared > 1_500)
    printSummary("store_scale_event", vectors.count, differing, seen)
    #expect(differing == 26)
    #expect(seen == [.noBehavior: 7, .reusedSlot: 19])
  }
}
