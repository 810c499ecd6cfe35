import KubernetesCore

@testable import ScalingDecision

/// The documented reasons for which a whole pass differs from the HPA's, beside those of its parts (docs/decision.md).
enum PassDifference: String, CaseIterable, Sendable {
  case specReplicas = "averages are compared with spec.replicas, not status.replicas"
  case ownTolerance = "an object's own tolerance holds whatever a feature gate says"
  case stale = "stale numbers are unknown"
  case overlap = "load that a new worker took over isn't counted twice"
  case collapse = "a collapse is confirmed first"
  case settling = "a shrink waits for samples from after the last write"
  case keptChanges = "one list of changes for both directions and without behavior"
  case foreignChanges = "changes by others count as changes, and a contest keeps a distance"
  case unknownProposes = "while nothing is known the present count is the proposal"
  case ownZero = "scale to zero needs no feature gate"
  case selectorFirst = "without a usable selector nothing is decided, bounds included"
  case sharedPods = "pods that another target's autoscaler selects too stop nobody"
}

/// A documented reason of any part.
enum PassReason: Hashable, Sendable, CaseIterable, CustomStringConvertible {
  case calculator(Difference)
  case behavior(BehaviorDifference)
  case pass(PassDifference)

  static let allCases =
    Difference.allCases.map(PassReason.calculator) + BehaviorDifference.allCases.map(PassReason.behavior)
    + PassDifference.allCases.map(PassReason.pass)

  var description: String {
    switch self {
    case .calculator(let difference): difference.rawValue
    case .behavior(let difference): difference.rawValue
    case .pass(let difference): difference.rawValue
    }
  }
}

/// The HPA's passes with each documented difference as a switch, memory included; like `HPAModel`, of which it is made.
///
/// With all switches off it writes what the HPA writes, with all on what the product writes: both are checked at every
/// step. So a difference is explained only if the switches predict the product's very count from its own past.
struct HPAPassModel {
  private struct Memory {
    var lastMilli: Int64?
    var lastWanted: Int?
    var collapses = 0
    var collapseAt: Milliseconds?
  }
  private struct Change {
    var change: Int
    var at: Milliseconds
  }

  private let vector: HPAPassVector
  private let reasons: Set<PassReason>
  private let calculator: Set<Difference>
  private let behavior: Set<BehaviorDifference>
  private var recommendations: [(replicas: Int, at: Milliseconds)]?
  private var growth: [Change] = []
  private var shrinks: [Change] = []
  private var isOwnZero: Bool
  private var expected: Int?
  private var lastWriteAt: Milliseconds?
  private var memories: [Memory]
  private var contest = (changes: 0, lastAt: Milliseconds?.none, ownWrites: 0)

  init(_ vector: HPAPassVector, _ reasons: Set<PassReason>) {
    self.vector = vector
    self.reasons = reasons
    calculator = Set(Difference.allCases.filter { reasons.contains(.calculator($0)) })
    behavior = Set(BehaviorDifference.allCases.filter { reasons.contains(.behavior($0)) })
    memories = vector.input.hpa_spec.metrics.map { _ in Memory() }
    isOwnZero = vector.isScaledToZero
    guard let state = vector.input.state else { return }
    recommendations = state.recommendations?.map { ($0.replicas, milliseconds($0.at_s)) }
    growth = state.scale_up_events.map { Change(change: $0.change, at: milliseconds($0.at_s)) }
    shrinks = state.scale_down_events.map { Change(change: $0.change, at: milliseconds($0.at_s)) }
    lastWriteAt = state.last_scale_s.map(milliseconds)
    expected = state.recommendations == nil ? nil : vector.steps.first?.spec_replicas
  }

  /// The writes of all passes under `reasons`.
  static func writes(_ vector: HPAPassVector, _ reasons: Set<PassReason>) -> [Int?] {
    var model = HPAPassModel(vector, reasons)
    return vector.steps.map { model.pass($0) }
  }

  private func has(_ difference: PassDifference) -> Bool { reasons.contains(.pass(difference)) }
  private var minimum: Int { vector.input.hpa_spec.minReplicas }
  private var maximum: Int { vector.input.hpa_spec.maxReplicas }

  /// One pass; gives the count that is written.
  mutating func pass(_ step: HPAPassVector.Step) -> Int? {
    let now = milliseconds(step.t_s)
    let hasSelector = step.selector == "app=x"
    guard step.scale_get_error == nil, hasSelector || !has(.selectorFirst) else { return nil }
    let current = step.spec_replicas
    notice(current, now)
    guard let next = next(step, hasSelector: hasSelector, now), next != current else { return nil }
    if isHeldOff(now) || step.scale_update_error != nil { return nil }
    noteWrite(from: current, to: next, now)
    return next
  }

  private mutating func notice(_ current: Int, _ now: Milliseconds) {
    if recommendations == nil { recommendations = [(current, now)] }
    if current > 0 { isOwnZero = false }
    if let last = contest.lastAt, now - last >= 600_000 { contest = (0, nil, 0) }
    defer { expected = current }
    guard has(.foreignChanges), let expected, expected != current else { return }
    note(current - expected, now)
    contest.changes += 1
    contest.lastAt = now
  }

  /// The count that a pass leads to; nil: it decides nothing.
  private mutating func next(_ step: HPAPassVector.Step, hasSelector: Bool, _ now: Milliseconds) -> Int? {
    let current = step.spec_replicas
    if current == 0, !isOwnZero { return nil }
    if current > maximum { return maximum }
    if current < minimum, current > 0 || reasons.contains(.behavior(.boundsFirst)) { return minimum }
    let isShared = (vector.input.other_hpas ?? []).contains { $0.selector.contains("x") && !step.pods.isEmpty }
    guard hasSelector, !isShared || has(.sharedPods), let desired = desired(step, now) else { return nil }
    var parts = vector.normalization(current: current, desired: desired)
    parts.input.recommendations = (recommendations ?? []).map {
      HPAVector.Recommendation(replicas: $0.replicas, at_s: seconds($0.at - now))
    }
    parts.input.scale_up_events = growth.map { HPAVector.Event(change: $0.change, at_s: seconds($0.at - now)) }
    parts.input.scale_down_events = shrinks.map { HPAVector.Event(change: $0.change, at_s: seconds($0.at - now)) }
    recommendations?.append((desired, now))
    var model = BehaviorModel(vector: parts, differences: behavior)
    model.isSettling = isSettling(step, now)
    // A target that was put to zero comes back to the minimum at least.
    return current == 0 ? max(model.count, minimum) : model.count
  }

  private func seconds(_ milliseconds: Milliseconds) -> Double { Double(milliseconds) / 1000 }

  // MARK: Metrics

  private mutating func desired(_ step: HPAPassVector.Step, _ now: Milliseconds) -> Int? {
    let current = step.spec_replicas
    var largest: Int?
    var isUnknown = false
    for index in memories.indices {
      guard let count = proposal(index, step, now) else {
        isUnknown = true
        continue
      }
      largest = max(largest ?? 0, count)
    }
    guard isUnknown, largest ?? -1 < current else { return largest }
    return has(.unknownProposes) ? current : nil
  }

  /// The calculation of a metric, without the samples that the switches leave out.
  private func calculation(_ index: Int, _ step: HPAPassVector.Step) -> HPAModel {
    var part = vector.calculation(
      index, step, status: has(.specReplicas) ? step.spec_replicas : step.status_replicas,
      honoursTolerance: has(.ownTolerance) || vector.isOn("HPAConfigurableTolerance"))
    let isCPU = part.kind.hasPrefix("calc_resource") && part.input.resource == "cpu"
    if has(.overlap), isCPU { part.input.metrics = part.input.metrics.map { withoutOverlap($0, step) } }
    if has(.stale) {
      let oldest = Double(DecisionLimits().freshness.milliseconds) / 1000
      part.input.metrics = part.input.metrics?.filter { abs($0.value.timestamp_s ?? 0) <= oldest }
    }
    return HPAModel(vector: part, differences: calculator)
  }

  private mutating func proposal(_ index: Int, _ step: HPAPassVector.Step, _ now: Milliseconds) -> Int? {
    let model = calculation(index, step)
    guard let count = model.count, has(.collapse), let observed = model.observed else {
      return model.count.map { max($0, 0) }
    }
    guard let last = memories[index].lastMilli, observed.milli < last.subtractingSaturated(observed.milli) else {
      memories[index] = Memory(lastMilli: observed.milli, lastWanted: count)
      return count
    }
    let at = now + milliseconds(observed.at)
    if memories[index].collapseAt.map({ at > $0 }) ?? true {
      memories[index].collapses += 1
      memories[index].collapseAt = at
    }
    guard memories[index].collapses > 2 else {
      return max(count, min(step.spec_replicas, memories[index].lastWanted ?? step.spec_replicas))
    }
    memories[index] = Memory(lastMilli: observed.milli, lastWanted: count)
    return count
  }

  /// Each worker's sample only once the samples of all that were ready earlier began after it became ready; for 120 s.
  private func withoutOverlap(
    _ samples: [String: HPAVector.Sample], _ step: HPAPassVector.Step
  ) -> [String: HPAVector.Sample] {
    var readySince: [String: Double] = [:]
    for pod in step.pods where pod.phase == "Running" && pod.ready == "True" && !pod.deleted {
      readySince[pod.name] = pod.ready_transition_s ?? pod.start_s ?? 0
    }
    func begin(_ name: String) -> Double? {
      samples[name].map { ($0.timestamp_s ?? 0) - min(max($0.window_s ?? 0, 0), 60) }
    }
    return samples.filter { name, _ in
      guard let since = readySince[name], since > -120 else { return true }
      return readySince.allSatisfy { other, earlier in
        let order = earlier > -120 ? earlier : -.infinity
        return order >= since || (begin(other) ?? .infinity) >= since
      }
    }
  }

  // MARK: What is remembered

  private func isSettling(_ step: HPAPassVector.Step, _ now: Milliseconds) -> Bool {
    guard has(.settling), let wrote = lastWriteAt, wrote <= now, now < wrote + 60_000 else { return false }
    return memories.indices.contains { index in
      let model = calculation(index, step)
      guard model.count != nil else { return false }
      var samples = vector.calculation(index, step, status: 0, honoursTolerance: false).input.metrics ?? [:]
      if has(.overlap), model.vector.kind.hasPrefix("calc_resource"), model.vector.input.resource == "cpu" {
        samples = withoutOverlap(samples, step)
      }
      return samples.values.contains {
        now + milliseconds(($0.timestamp_s ?? 0) - min(max($0.window_s ?? 0, 0), 60)) < wrote
      }
    }
  }

  private func isHeldOff(_ now: Milliseconds) -> Bool {
    guard has(.foreignChanges), contest.changes >= 3, let wrote = lastWriteAt else { return false }
    return wrote + min(60_000 << Int64(contest.ownWrites), 600_000) > now
  }

  private mutating func noteWrite(from current: Int, to next: Int, _ now: Milliseconds) {
    expected = next
    lastWriteAt = now
    isOwnZero = next == 0 && (has(.ownZero) || vector.isOn("HPAScaleToZero"))
    if contest.changes >= 3 { contest.ownWrites += 1 }
    if has(.keptChanges) || vector.input.hpa_spec.behavior != nil { note(next - current, now) }
  }

  private mutating func note(_ change: Int, _ now: Milliseconds) {
    let new = Change(change: abs(change), at: now)
    let rules = vector.input.hpa_spec.behavior
    if change > 0 {
      store(new, &growth, rules?.scaleUp)
    } else {
      store(new, &shrinks, rules?.scaleDown)
    }
  }

  /// The HPA uses one slot again once it is older than the longest period of its own direction.
  private func store(_ new: Change, _ list: inout [Change], _ rules: HPAPassVector.Rules?) {
    let longest = milliseconds(rules?.policies.map(\.periodSeconds).max() ?? 0)
    if !has(.keptChanges), let slot = list.lastIndex(where: { $0.at < new.at - longest }) {
      list[slot] = new
    } else {
      list.append(new)
    }
  }
}
