import KubernetesCore
import Testing

@testable import ScalingDecision

/// The HPA's golden vectors on the product's own path: equal, or different for a documented reason.
@Suite("The HPA's vectors")
struct HPAVectorTests {
  @Test(
    "Each count equals the HPA's, or differs for a documented reason",
    arguments: [
      ("calc_resource_utilization", 492), ("calc_resource_raw", 184), ("calc_pods", 245), ("calc_object", 194),
      ("calc_external", 197), ("calc_object_per_pod", 110), ("calc_external_per_pod", 142),
    ])
  func calculators(_ kind: String, _ count: Int) throws {
    let vectors = try HPAVector.load(kind)
    #expect(vectors.count == count)
    var equal = 0
    for vector in vectors {
      let proposal = vector.proposal
      let theirs = vector.expected.error == nil ? vector.expected.replicas : nil
      if proposal.replicas == theirs {
        equal += 1
      } else {
        #expect(
          Difference.explain(vector, ours: proposal.replicas) != nil,
          "\(vector.id): \(proposal.outcome), the HPA \(theirs ?? -1) \(vector.expected.error?.kind ?? "")")
      }
    }
    // A classification that explains everything explains nothing.
    #expect(equal * 10 >= vectors.count * 5, "only \(equal) of \(vectors.count) are equal")
  }

  @Test("Windows equal the HPA's, but for proposals from the future")
  func stabilize() throws {
    let vectors = try HPAVector.load("behavior_stabilize")
    #expect(vectors.count == 174)
    for vector in vectors {
      let input = vector.input
      // Proposals from the future (the clock stepped back) hold for ever in the HPA; here they count as made now.
      if input.recommendations?.contains(where: { $0.at_s > 0 }) == true { continue }
      let growthWindow = milliseconds(input.scale_up_stabilization_window_s ?? 0)
      let shrinkWindow = milliseconds(input.scale_down_stabilization_window_s ?? 300)
      var growth = WindowHistory()
      var shrink = WindowHistory()
      let proposed = input.desired_replicas ?? 0
      let now = start.milliseconds
      let past = (input.recommendations ?? []).sorted { $0.at_s < $1.at_s }.map {
        (replicas: $0.replicas, at: now + milliseconds($0.at_s))
      }
      for (replicas, at) in past + [(proposed, now)] {
        growth.noteForSmallest(replicas, at: at, window: growthWindow)
        shrink.noteForLargest(replicas, at: at, window: shrinkWindow)
      }
      let result = StabilizationWindow.stabilize(
        current: input.current_replicas ?? 0, proposed: proposed, growth: growth, shrink: shrink, now: now,
        growthWindow: growthWindow, shrinkWindow: shrinkWindow)
      #expect(result.replicas == vector.expected.replicas, "\(vector.id)")
    }
  }

  @Test("Policies equal the HPA's, but for what doubles round wrongly")
  func rate() throws {
    let vectors = try HPAVector.load("behavior_rate")
    #expect(vectors.count == 261)
    var rounded = 0
    for vector in vectors {
      let input = vector.input
      guard let up = input.scale_up, let down = input.scale_down, let proposed = input.desired_replicas else {
        continue
      }
      let now = start.milliseconds
      var events = ScaleEvents()
      let changes =
        (input.scale_up_events ?? []).map { ($0.change, $0.at_s) }
        + (input.scale_down_events ?? []).map { (-$0.change, $0.at_s) }
      for (change, at) in changes.sorted(by: { $0.1 < $1.1 }) {
        events.note(change, at: now + milliseconds(at), forgettingUntil: .min)
      }
      let current = vector.current
      let minimum = input.min_replicas ?? 0
      let maximum = input.max_replicas ?? 0
      var ours = proposed
      if proposed > current, let limit = RatePolicies.growthLimit(rules(up), current: current, events: events, now: now)
      {
        ours = min(proposed, min(max(limit.replicas, current), maximum))
      } else if proposed < current,
        let limit = RatePolicies.shrinkLimit(rules(down), current: current, events: events, now: now)
      {
        ours = max(proposed, max(min(limit.replicas, current), minimum))
      }
      // As it is, the HPA takes a count outside its bounds for right when it doesn't change.
      if proposed != current { ours = max(min(ours, maximum), minimum) }
      if ours == vector.expected.replicas { continue }
      let isPercent = (proposed > current ? up : down).policies.contains { $0.type == "Percent" }
      #expect(
        isPercent && abs(ours - (vector.expected.replicas ?? 0)) == 1,
        "\(vector.id): \(ours), the HPA \(vector.expected.replicas ?? -1)")
      rounded += 1
    }
    #expect(rounded < 30, "\(rounded)")
  }

  private func rules(_ rules: HPAVector.Rules) -> ScalingRules {
    ScalingRules(
      stabilizationWindow: .zero, selectPolicy: .init(rawValue: rules.select_policy) ?? .max,
      policies: rules.policies.map {
        .init($0.type == "Pods" ? .pods : .percent, $0.value, per: .milliseconds(milliseconds($0.period_s)))
      })
  }
}
