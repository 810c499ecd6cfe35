import KubernetesCore
import SlowTests
import Testing

@testable import ScalingDecision

/// The HPA's golden vectors about whole passes on the product's own path: the same write, or another for a documented reason.
@Suite("The HPA's passes")
struct HPAPassVectorTests {
  /// What a kind shows: vectors, passes, and for how many passes each reason matters.
  struct Kind: Sendable, CustomTestStringConvertible {
    var name: String
    var vectors: Int
    var passes: Int
    var differing: Int
    var reasons: [PassReason: Int]
    var testDescription: String { name }
  }

  static let kinds: [Kind] = [
    Kind(
      name: "reconcile", vectors: 330, passes: 330, differing: 32,
      reasons: [
        .behavior(.oneBehavior): 18, .behavior(.fromZero): 4, .behavior(.future): 3, .calculator(.finishedPods): 2,
        .behavior(.boundsFirst): 1, .calculator(.readyBlip): 1, .pass(.ownTolerance): 1, .pass(.specReplicas): 1,
        .calculator(.exactNumbers): 1, .pass(.overlap): 1, .pass(.selectorFirst): 1,
      ]),
    Kind(
      name: "reconcile_sequence", vectors: 112, passes: 2_187, differing: 122,
      reasons: [
        .pass(.collapse): 62, .behavior(.oneBehavior): 38, .pass(.foreignChanges): 26, .pass(.keptChanges): 12,
        .pass(.overlap): 10, .calculator(.deletingPods): 9, .pass(.settling): 8, .calculator(.readyBlip): 7,
        .calculator(.startingCapacity): 7, .calculator(.exactNumbers): 6, .calculator(.surge): 4,
        .pass(.unknownProposes): 4, .behavior(.fromZero): 3,
      ]),
  ]

  @Test("Each pass writes what the HPA wrote, or something else for a documented reason", arguments: kinds)
  func passes(_ kind: Kind) throws {
    let vectors = try HPAVector.load(kind.name, as: HPAPassVector.self)
    #expect(vectors.count == kind.vectors)
    #expect(vectors.reduce(0) { $0 + $1.steps.count } == kind.passes)
    var seen: [PassReason: Int] = [:]
    var differing = 0
    for vector in vectors {
      var product = try ProductPasses(vector)
      let ours = vector.steps.map { product.pass($0) }
      #expect(HPAPassModel.writes(vector, []) == vector.theirs, "\(vector.id): the model of the HPA")
      let right = HPAPassModel.writes(vector, Set(PassReason.allCases))
      #expect(ours == right, "\(vector.id): the model of the product")
      guard ours != vector.theirs else { continue }
      let matters = Self.reasons(vector)
      for (index, pair) in zip(ours, vector.theirs).enumerated() where pair.0 != pair.1 {
        differing += 1
        #expect(!matters[index].isEmpty, "\(vector.id), pass \(index): \(pair)")
        for reason in matters[index] { seen[reason, default: 0] += 1 }
      }
    }
    printSummary("\(kind.name), \(kind.passes) passes of", vectors.count, differing, seen)
    #expect(differing == kind.differing)
    #expect(seen == kind.reasons)
  }

  /// What the vectors above show nothing of, and their variations must.
  private static let onlyVaried: [PassReason] = [.pass(.stale), .pass(.ownZero), .pass(.sharedPods)]

  @Test("Variations of the passes write what the model says, whatever goes wrong between them", .slow, arguments: kinds)
  func variations(_ kind: Kind) throws {
    var random = Seeded(UInt64(kind.passes))
    let all = Set(PassReason.allCases)
    var seen: Set<PassReason> = []
    var failedWrites = 0
    for original in try HPAVector.load(kind.name, as: HPAPassVector.self) {
      for _ in 0..<6 {
        var vector = original
        vector.vary(using: &random)
        var product = try ProductPasses(vector)
        let ours = vector.steps.map { product.pass($0) }
        let right = HPAPassModel.writes(vector, all)
        #expect(ours == right, "\(vector.id), varied")
        for reason in Self.onlyVaried where HPAPassModel.writes(vector, all.subtracting([reason])) != right {
          seen.insert(reason)
        }
        failedWrites += vector.steps.count { $0.scale_update_error != nil }
      }
    }
    #expect(failedWrites > 50)
    #expect(seen == Set(kind.name == "reconcile" ? Self.onlyVaried.filter { $0 != .pass(.ownZero) } : Self.onlyVaried))
  }

  /// For each pass the reasons that matter: each alone changes the HPA's write, or is missed in the product's.
  private static func reasons(_ vector: HPAPassVector) -> [Set<PassReason>] {
    let all = Set(PassReason.allCases)
    let ours = HPAPassModel.writes(vector, all)
    let theirs = HPAPassModel.writes(vector, [])
    var matters = vector.steps.map { _ in Set<PassReason>() }
    for reason in PassReason.allCases {
      let alone = HPAPassModel.writes(vector, [reason])
      let missed = HPAPassModel.writes(vector, all.subtracting([reason]))
      for index in matters.indices where alone[index] != theirs[index] || missed[index] != ours[index] {
        matters[index].insert(reason)
      }
    }
    return matters
  }
}

extension HPAPassVector {
  /// Changes a few things at random: counts by hand, failures, old numbers, pods, other autoscalers, gates.
  fileprivate mutating func vary(using random: inout Seeded) {
    if Bool.random(using: &random) { input.controller.feature_gates["HPAScaleToZero"] = Bool.random(using: &random) }
    if Int.random(in: 0..<6, using: &random) == 0 { input.other_hpas = [Other(selector: "app in (x,y)")] }
    if var step = input.step {
      Self.vary(&step, input.hpa_spec.maxReplicas, using: &random)
      input.step = step
    }
    for _ in 0..<6 {
      guard let index = input.steps?.indices.randomElement(using: &random), var step = input.steps?[index] else {
        break
      }
      Self.vary(&step, input.hpa_spec.maxReplicas, using: &random)
      input.steps?[index] = step
    }
  }

  private static func vary(_ step: inout Step, _ maximum: Int, using random: inout Seeded) {
    switch Int.random(in: 0..<9, using: &random) {
    case 0: step.spec_replicas = Int.random(in: 0...(maximum + 3), using: &random)
    case 1: step.status_replicas = Int.random(in: 0...(maximum + 3), using: &random)
    case 2: step.selector = Bool.random(using: &random) ? "" : "cheddar cheese"
    case 3: step.scale_get_error = "gone"
    case 4: step.scale_update_error = "denied"
    case 5:
      if let index = step.samples.indices.randomElement(using: &random) {
        step.samples[index] = Reading(error: .init(kind: "metrics_unavailable"))
      }
    case 6:
      let age = ([30, 100, 200, 4_000] as [Double]).randomElement(using: &random) ?? 0
      for index in step.samples.indices {
        step.samples[index].pods = step.samples[index].pods?.mapValues { sample in
          var sample = sample
          sample.timestamp_s = (sample.timestamp_s ?? 0) - age
          return sample
        }
      }
    case 7:
      let factor = ([0, 1, 3, 5, 20] as [Int64]).randomElement(using: &random) ?? 1
      for index in step.samples.indices {
        step.samples[index].value_milli = step.samples[index].value_milli.map { $0 / 10 * factor }
        step.samples[index].values_milli = step.samples[index].values_milli?.map { $0 / 10 * factor }
        step.samples[index].pods = step.samples[index].pods?.mapValues { sample in
          var sample = sample
          sample.value_milli = sample.value_milli / 10 * factor
          return sample
        }
      }
    default:
      guard let index = step.pods.indices.randomElement(using: &random) else { return }
      step.pods[index].phase = ["Pending", "Succeeded", "Failed", "Unknown"].randomElement(using: &random) ?? "Failed"
      step.pods[index].deleted = Bool.random(using: &random)
    }
  }
}
