@testable import ScalingDecision

/// The documented reasons for which windows, policies and bounds differ from the HPA's (docs/decision.md).
enum BehaviorDifference: String, CaseIterable, Sendable {
  case exactPercent = "exact percentages"
  case future = "proposals from the future count as made now"
  case fromZero = "windows and policies don't hold growth from a zero of our own"
  /// The HPA's pass does so too, before its policies are asked; the functions behind these vectors know nothing of it.
  case boundsFirst = "a count outside its bounds goes to them at once"
  case oneBehavior = "without `behavior` the defaults of `behavior` hold"
}

/// The HPA's windows, policies and bounds with each documented difference as a switch; like `HPAModel`.
struct BehaviorModel {
  var vector: HPAVector
  /// What is decided as in the product.
  var differences: Set<BehaviorDifference>
  /// Whether the present count holds a shrink between the windows and the policies (`PassDifference.settling`).
  var isSettling = false

  private var input: HPAVector.Input { vector.input }
  private var proposed: Int { input.desired_replicas ?? 0 }
  private var minimum: Int { input.min_replicas ?? 0 }
  private var maximum: Int { input.max_replicas ?? largestReplicas }
  private func has(_ difference: BehaviorDifference) -> Bool { differences.contains(difference) }

  /// The differences that matter for `vector`, as `HPAModel.reasons`.
  static func reasons(_ vector: HPAVector) -> [BehaviorDifference] {
    let all = Set(BehaviorDifference.allCases)
    let ours = BehaviorModel(vector: vector, differences: all).count
    let theirs = BehaviorModel(vector: vector, differences: []).count
    return BehaviorDifference.allCases.filter {
      BehaviorModel(vector: vector, differences: [$0]).count != theirs
        || BehaviorModel(vector: vector, differences: all.subtracting([$0])).count != ours
    }
  }

  /// The count that is written.
  var count: Int {
    if has(.boundsFirst), vector.current < minimum { return minimum }
    if has(.boundsFirst), vector.current > maximum { return maximum }
    if has(.fromZero), vector.current == 0 { return min(max(proposed, minimum), maximum) }
    if vector.kind == "legacy_normalize", !has(.oneBehavior) { return legacy }
    let stabilized = vector.kind == "behavior_rate" ? proposed : stabilized
    if vector.kind == "behavior_stabilize" { return stabilized }
    return limited(isSettling ? max(stabilized, vector.current) : stabilized)
  }

  /// The counts proposed within a window, and now.
  private func within(_ window: Milliseconds, inclusive: Bool = false) -> [Int] {
    (input.recommendations ?? []).filter {
      let at = has(.future) ? min(milliseconds($0.at_s), 0) : milliseconds($0.at_s)
      return inclusive ? at >= -window : at > -window
    }.map(\.replicas) + [proposed]
  }

  private var stabilized: Int {
    let behavior = vector.behavior
    let lowest = within(behavior.scaleUp.stabilizationWindow.milliseconds).min() ?? proposed
    let highest = within(behavior.scaleDown.stabilizationWindow.milliseconds).max() ?? proposed
    return min(max(vector.current, lowest), highest)
  }

  private var legacy: Int {
    let window = milliseconds(input.controller_downscale_stabilization_s ?? 300)
    let highest = within(window, inclusive: true).max() ?? proposed
    return highest < minimum ? minimum : min(highest, max(2 * vector.current, 4), maximum)
  }

  private func limited(_ proposed: Int) -> Int {
    let rules = vector.behavior
    let current = vector.current
    if proposed > current {
      return min(proposed, max(limit(rules.scaleUp, sign: 1), current), maximum)
    }
    return proposed < current ? max(proposed, min(limit(rules.scaleDown, sign: -1), current), minimum) : proposed
  }

  private func limit(_ rules: ScalingRules, sign: Int) -> Int {
    if rules.selectPolicy == .disabled { return vector.current }
    let limits = rules.policies.map { policy in
      let start = vector.current - changed(since: -policy.period.milliseconds)
      let value = Int(policy.value)
      guard policy.unit == .percent else { return start + sign * value }
      guard has(.exactPercent) else {
        let product = Double(start) * (1 + Double(sign) * Double(value) / 100)
        return Int(sign > 0 ? product.rounded(.up) : product.rounded(.towardZero))
      }
      let product = start * (100 + sign * value)
      return product / 100 + (sign > 0 && product > 0 && product % 100 != 0 ? 1 : 0)
    }
    let isLargest = (rules.selectPolicy == .max) == (sign > 0)
    return (isLargest ? limits.max() : limits.min()) ?? (sign > 0 ? largestReplicas : 0)
  }

  private func changed(since cutoff: Milliseconds) -> Int {
    (input.scale_up_events ?? []).filter { milliseconds($0.at_s) > cutoff }.reduce(0) { $0 + $1.change }
      - (input.scale_down_events ?? []).filter { milliseconds($0.at_s) > cutoff }.reduce(0) { $0 + $1.change }
  }
}
