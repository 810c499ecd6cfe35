import KubernetesCore
import Testing

@testable import ScalingDecision

/// The HPA's golden vectors on the product's own path: equal, or different for a documented reason.
///
/// `HPAModel` and `BehaviorModel` predict each count, with the reasons switched off for the HPA's and on for the product's.
@Suite("The HPA's vectors")
struct HPAVectorTests {
  /// What the vectors of a kind show: how many, and for how many each reason matters.
  struct Kind<Reason: Hashable & Sendable>: Sendable, CustomTestStringConvertible {
    var name: String
    var count: Int
    var reasons: [Reason: Int]
    var testDescription: String { name }

    init(_ name: String, _ count: Int, _ reasons: [Reason: Int] = [:]) {
      self.name = name
      self.count = count
      self.reasons = reasons
    }
  }

  /// `ignoredRequests` and `negative` aren't in these vectors: see `variations`, D13 and D21.
  static let calculatorKinds: [Kind<Difference>] = [
    Kind(
      "calc_resource_utilization", 492,
      [.exactNumbers: 23, .finishedPods: 12, .startingCapacity: 4, .surge: 2, .ghosts: 1]),
    Kind("calc_resource_raw", 184, [.startingCapacity: 5, .ghosts: 3, .exactNumbers: 1]),
    Kind("calc_pods", 245, [.finishedPods: 9, .ghosts: 8, .startingCapacity: 4, .exactNumbers: 2, .surge: 1]),
    Kind("calc_object", 194, [.readyBlip: 31, .startingCapacity: 13, .noPods: 8, .deletingPods: 7]),
    Kind("calc_external", 197, [.readyBlip: 26, .startingCapacity: 16, .deletingPods: 8, .noPods: 5]),
    Kind("calc_object_per_pod", 110), Kind("calc_external_per_pod", 142),
  ]

  @Test("Each count equals the HPA's, or differs for a documented reason", arguments: calculatorKinds)
  func calculators(_ kind: Kind<Difference>) throws {
    let vectors = try HPAVector.load(kind.name)
    #expect(vectors.count == kind.count)
    var seen: [Difference: Int] = [:]
    var differing = 0
    for vector in vectors {
      let ours = vector.proposal
      let theirs = vector.theirs
      #expect(HPAModel(vector: vector, differences: []).count == theirs, "\(vector.id): the model of the HPA")
      let right = HPAModel(vector: vector, differences: Set(Difference.allCases)).count
      #expect(
        ours.replicas == right,
        "\(vector.id): \(ours.outcome), not \(right ?? -1), the HPA \(theirs ?? -1) \(vector.expected.error?.kind ?? "")"
      )
      guard ours.replicas != theirs else { continue }
      differing += 1
      let reasons = HPAModel.reasons(vector)
      #expect(!reasons.isEmpty, "\(vector.id): \(ours.outcome), the HPA \(theirs ?? -1)")
      for reason in reasons { seen[reason, default: 0] += 1 }
    }
    printSummary(kind.name, vectors.count, differing, seen)
    #expect(seen == kind.reasons)
  }

  @Test("Variations of the vectors give what the model says, whatever is wrong with them", arguments: calculatorKinds)
  func variations(_ kind: Kind<Difference>) throws {
    var random = Seeded(UInt64(kind.count))
    var seen: Set<Difference> = []
    for original in try HPAVector.load(kind.name) {
      for _ in 0..<2 {
        var vector = original
        vector.vary(using: &random)
        let ours = vector.proposal
        let right = HPAModel(vector: vector, differences: Set(Difference.allCases)).count
        #expect(ours.replicas == right, "\(vector.id), varied: \(ours.outcome), not \(right ?? -1)")
        for difference in [Difference.ignoredRequests, .negative] {
          let others = Set(Difference.allCases).subtracting([difference])
          if HPAModel(vector: vector, differences: others).count != right { seen.insert(difference) }
        }
      }
    }
    #expect(seen.contains(.negative))
    #expect(seen.contains(.ignoredRequests) == (kind.name == "calc_resource_utilization"))
  }

  @Test(
    "Windows, policies and both in a row equal the HPA's, or differ as documented",
    arguments: [
      Kind<BehaviorDifference>("behavior_stabilize", 174, [.future: 1]),
      Kind("behavior_rate", 261, [.exactPercent: 6, .fromZero: 1, .boundsFirst: 1]),
      Kind("behavior_normalize", 210, [.boundsFirst: 2]), Kind("legacy_normalize", 111, [.oneBehavior: 27]),
    ])
  func behavior(_ kind: Kind<BehaviorDifference>) throws {
    let vectors = try HPAVector.load(kind.name)
    #expect(vectors.count == kind.count)
    var seen: [BehaviorDifference: Int] = [:]
    var differing = 0
    for vector in vectors {
      let ours = vector.limited.desiredReplicas
      let theirs = vector.expected.replicas
      #expect(BehaviorModel(vector: vector, differences: []).count == theirs, "\(vector.id): the model of the HPA")
      let right = BehaviorModel(vector: vector, differences: Set(BehaviorDifference.allCases)).count
      #expect(ours == right, "\(vector.id): \(ours), not \(right), the HPA \(theirs ?? -1)")
      guard ours != theirs else { continue }
      differing += 1
      let reasons = BehaviorModel.reasons(vector)
      #expect(!reasons.isEmpty, "\(vector.id): \(ours), the HPA \(theirs ?? -1)")
      for reason in reasons { seen[reason, default: 0] += 1 }
    }
    printSummary(kind.name, vectors.count, differing, seen)
    #expect(seen == kind.reasons)
  }
}

/// Prints how many vectors ran, how many differ, and how many under each reason.
func printSummary<Reason: Hashable>(_ kind: String, _ count: Int, _ differing: Int, _ seen: [Reason: Int]) {
  print("HPA vectors on the product's path: \(kind) \(count), \(differing) differ")
  for (reason, count) in seen.map({ ("\($0.key)", $0.value) }).sorted(by: { ($1.1, $0.0) < ($0.1, $1.0) }) {
    print("  \(count): \(reason)")
  }
}

extension HPAVector {
  /// Changes a few things at random: counts, targets, samples, phases, requests.
  fileprivate mutating func vary(using random: inout Seeded) {
    let values: [Int64] = [-1, 0, 1, 999, 1_000_000, 1_000_000_007, 4_000_000_000_000]
    func pick<Element>(_ elements: [Element]) -> Element? { elements.randomElement(using: &random) }
    let count = Int.random(in: 1...60, using: &random)
    if input.status_replicas == nil { input.current_replicas = count } else { input.status_replicas = count }
    if input.target_utilization != nil { input.target_utilization = Int64.random(in: 1...300, using: &random) }
    if let name = pick((input.metrics ?? [:]).keys.sorted()) {
      input.metrics?[name]?.value_milli = pick(values) ?? 0
    }
    if input.metric_value_milli != nil { input.metric_value_milli = pick(values) }
    if input.metric_values_milli?.isEmpty == false { input.metric_values_milli?[0] = pick(values) ?? 0 }
    guard let pods = input.pods, !pods.isEmpty else { return }
    let index = Int.random(in: pods.indices, using: &random)
    input.pods?[index].phase = pick(["Pending", "Running", "Succeeded", "Failed", "Unknown"]) ?? "Running"
    input.pods?[index].deleted = Bool.random(using: &random)
    if Bool.random(using: &random), pods[index].containers?.isEmpty == false {
      input.pods?[index].containers?[0].requests_milli = [:]
    }
  }
}
