@testable import ScalingDecision

/// The documented reasons for which a metric's count differs from the HPA's (docs/decision.md).
enum Difference: String, CaseIterable, Sendable {
  case exactNumbers = "exact fractions instead of doubles, whole percent and sums that wrap"
  case surge = "a shrink never grows"
  case startingCapacity = "asked-for capacity is capacity"
  case readyBlip = "a moment in which few are ready isn't little load"
  case deletingPods = "pods that are being deleted aren't ready capacity"
  case finishedPods = "finished pods aren't workers"
  case ignoredRequests = "only workers that count need a request"
  case negative = "a negative number is unknown"
  case ghosts = "numbers of pods that are gone don't count"
  case noPods = "without pods the present count is decided from"
}

/// The HPA's calculators with each documented difference as a switch, written a second time and in another way.
///
/// With no difference switched on it answers as the HPA does, with all of them as the product does; both are checked for
/// every vector. So a difference is explained only if the switches predict the product's very count, and each switch says
/// by itself when it applies, in which direction, and how far.
struct HPAModel {
  var vector: HPAVector
  /// What is decided as in the product.
  var differences: Set<Difference>

  private var input: HPAVector.Input { vector.input }
  private func has(_ difference: Difference) -> Bool { differences.contains(difference) }

  /// The count; nil: unknown, or the HPA's error.
  var count: Int? {
    guard input.metrics_error == nil, input.metric_error == nil else { return nil }
    return vector.kind.hasPrefix("calc_resource") || vector.kind == "calc_pods" ? perWorker : single
  }

  /// The differences that matter for `vector`: each alone changes the HPA's answer, or is missed in the product's.
  static func reasons(_ vector: HPAVector) -> [Difference] {
    let all = Set(Difference.allCases)
    let ours = HPAModel(vector: vector, differences: all).count
    let theirs = HPAModel(vector: vector, differences: []).count
    return Difference.allCases.filter {
      HPAModel(vector: vector, differences: [$0]).count != theirs
        || HPAModel(vector: vector, differences: all.subtracting([$0])).count != ours
    }
  }

  /// The number that the count rests on, in thousandths, and when it was measured in seconds from now.
  var observed: (milli: Int64, at: Double)? {
    guard input.metrics_error == nil, input.metric_error == nil else { return nil }
    guard let metrics = input.metrics else {
      let values = input.metric_value_milli.map { [$0] } ?? input.metric_values_milli ?? []
      return (values.reduce(0) { $0.addingSaturated($1) }, 0)
    }
    guard let samples = groups(input.pods ?? [])?.samples, !samples.isEmpty else { return nil }
    let sum = samples.values.reduce(Int128(0)) { $0 + Int128($1) }
    return (Int64(clamping: sum), samples.keys.compactMap { metrics[$0]?.timestamp_s }.max() ?? 0)
  }

  // MARK: A number of each worker

  private struct Groups {
    var ready = 0
    var missing: [String] = []
    var unready: [String] = []
    /// The samples that count.
    var samples: [String: Int64] = [:]
    /// What the pods request, where that is asked.
    var requests: [String: Int64] = [:]
  }

  private var perWorker: Int? {
    guard input.pods_error == nil, let pods = input.pods, !pods.isEmpty, var groups = groups(pods) else { return nil }
    guard !groups.samples.isEmpty, let first = ratio(groups, filled: []) else { return nil }
    let direction = first.direction
    let addsUnready = direction > 0 && !groups.unready.isEmpty
    if !addsUnready, groups.missing.isEmpty {
      return isTolerated(first) ? vector.current : bounded(first.times(groups.ready), direction)
    }
    // At a ratio of exactly 1 missing pods stay out.
    if direction != 0 { for name in groups.missing { groups.samples[name] = 0 } }
    if addsUnready { for name in groups.unready { groups.samples[name] = 0 } }
    guard let second = ratio(groups, filled: direction < 0 ? Set(groups.missing) : []) else { return nil }
    if isTolerated(second) || second.direction * direction < 0 { return vector.current }
    let count = second.times(groups.samples.count)
    let turnsRound =
      (second.direction < 0 && count > vector.current) || (second.direction > 0 && count < vector.current)
    return turnsRound ? vector.current : count
  }

  /// What the first pass lacks, and the second has: no answer against the direction of the ratio.
  private func bounded(_ count: Int, _ direction: Int) -> Int {
    if direction < 0, has(.surge) { return min(count, vector.current) }
    if direction > 0, has(.startingCapacity) { return max(count, vector.current) }
    return count
  }

  private func groups(_ pods: [HPAVector.Pod]) -> Groups? {
    var groups = Groups()
    var samples = input.metrics ?? [:]
    if has(.negative) { samples = samples.filter { $0.value.value_milli >= 0 } }
    if has(.ghosts) {
      let names = Set(pods.map(\.name))
      samples = samples.filter { names.contains($0.key) }
    }
    for pod in pods {
      let isIgnored = pod.deleted || pod.phase == "Failed" || has(.finishedPods) && pod.phase == "Succeeded"
      if input.target_utilization != nil, !isIgnored || !has(.ignoredRequests) {
        guard let request = request(of: pod) else { return nil }
        groups.requests[pod.name] = request
      }
      if isIgnored {
        samples[pod.name] = nil
      } else if pod.phase == "Pending" || samples[pod.name].map({ isStarting(pod, $0) }) == true {
        groups.unready.append(pod.name)
        samples[pod.name] = nil
      } else if samples[pod.name] == nil {
        groups.missing.append(pod.name)
      } else {
        groups.ready += 1
      }
    }
    groups.samples = samples.mapValues(\.value_milli)
    return groups
  }

  private func request(of pod: HPAVector.Pod) -> Int64? {
    let resource = input.resource ?? "cpu"
    let name = input.container ?? ""
    if name.isEmpty, input.pod_level_resources_enabled ?? true, let request = pod.pod_requests_milli?[resource] {
      return request
    }
    let containers = (pod.containers ?? []).filter { $0.role != "init" && (name.isEmpty || $0.name == name) }
    guard !containers.isEmpty else { return nil }
    var sum: Int64 = 0
    for container in containers {
      guard let request = container.requests_milli[resource] else { return nil }
      sum += request
    }
    return sum
  }

  /// Whether the sample of a running pod is set aside: CPU of a pod that is only starting.
  private func isStarting(_ pod: HPAVector.Pod, _ sample: HPAVector.Sample) -> Bool {
    guard vector.kind != "calc_pods", input.resource == "cpu" else { return false }
    guard let ready = pod.ready, let begun = pod.start_s, let changed = pod.ready_transition_s else { return true }
    let start = milliseconds(begun)
    let since = milliseconds(changed)
    if start + milliseconds(input.cpu_initialization_period_s ?? 300) > 0 {
      return ready == "False" || milliseconds(sample.timestamp_s ?? 0) < since + milliseconds(sample.window_s ?? 0)
    }
    return ready == "False" && start + milliseconds(input.initial_readiness_delay_s ?? 30) > since
  }

  /// Usage to target; missing pods in `filled` count as fully used.
  private func ratio(_ groups: Groups, filled: Set<String>) -> Ratio? {
    guard let percent = input.target_utilization else {
      let target = input.target_usage_milli ?? input.target_average_milli ?? 0
      let values = groups.samples.map { filled.contains($0.key) ? target : $0.value }
      if has(.exactNumbers) {
        return .exact(values.reduce(0) { $0 + Int128($1) }, Int128(target) * Int128(values.count))
      }
      return .double(Double(values.reduce(0, &+) / Int64(values.count)) / Double(target))
    }
    let full = max(percent, 100)
    let known = groups.samples.filter { groups.requests[$0.key] != nil }
    let requested = known.keys.reduce(Int128(0)) { $0 + Int128(groups.requests[$1] ?? 0) }
    guard requested != 0 else { return nil }
    if has(.exactNumbers) {
      let usage = known.reduce(Int128(0)) {
        $0 + (filled.contains($1.key) ? Int128(groups.requests[$1.key] ?? 0) * Int128(full) : Int128($1.value) * 100)
      }
      return .exact(usage, requested * Int128(percent))
    }
    let usage = known.reduce(Int64(0)) {
      $0 &+ (filled.contains($1.key) ? (groups.requests[$1.key] ?? 0) &* full / 100 : $1.value)
    }
    let whole = Int32(truncatingIfNeeded: usage &* 100 / Int64(truncatingIfNeeded: requested))
    return .double(Double(whole) / Double(percent))
  }

  // MARK: One number

  private var single: Int? {
    let values = input.metric_value_milli.map { [$0] } ?? input.metric_values_milli ?? []
    if has(.negative), values.contains(where: { $0 < 0 }) { return nil }
    let sum = has(.exactNumbers) ? values.reduce(Int128(0)) { min($0 + Int128($1), Int128(Int64.max)) } : goSum(values)
    return input.target_milli.map { count(sum, forValue: $0) }
      ?? count(sum, forAverage: input.target_average_milli ?? 0)
  }

  /// The original's two ways to add: one ends at the largest number, the other takes every negative sum for it.
  private func goSum(_ values: [Int64]) -> Int128 {
    var sum: Int64 = 0
    for value in values {
      if input.target_milli != nil, value > 0, sum > Int64.max - value { return Int128(Int64.max) }
      sum &+= value
      if vector.kind == "calc_external_per_pod", sum < 0 { return Int128(Int64.max) }
    }
    return Int128(sum)
  }

  private func count(_ sum: Int128, forAverage target: Int64) -> Int? {
    let status = vector.current
    let ratio: Ratio =
      has(.exactNumbers)
      ? .exact(sum, Int128(target) * Int128(status)) : .double(Double(sum) / (Double(target) * Double(status)))
    if has(.exactNumbers) ? status > 0 && isTolerated(ratio) : isTolerated(ratio) { return status }
    if has(.exactNumbers) { return Ratio.exact(sum, Int128(target)).times(1) }
    let count = (Double(sum) / Double(target)).rounded(.up)
    if vector.kind == "calc_external_per_pod", count > Double(Int32.max) { return Int(Int32.max) }
    return Ratio.int32(count)
  }

  private func count(_ sum: Int128, forValue target: Int64) -> Int? {
    let ratio: Ratio =
      has(.exactNumbers) ? .exact(sum, Int128(target)) : .double(Double(sum) / Double(target))
    if vector.current == 0 { return ratio.times(1) }
    if isTolerated(ratio) { return vector.current }
    let pods = input.pods_error == nil ? input.pods ?? [] : []
    var ready = vector.current
    if pods.isEmpty {
      guard has(.noPods) else { return nil }
    } else {
      ready = pods.count { $0.phase == "Running" && $0.ready == "True" && !($0.deleted && has(.deletingPods)) }
    }
    if ratio.direction < 0, has(.readyBlip) { ready = max(ready, vector.current) }
    return bounded(ratio.times(ready, isCapped: true), ratio.direction)
  }

  private func isTolerated(_ ratio: Ratio) -> Bool {
    ratio.isInside(down: input.tolerance_down ?? 0.1, up: input.tolerance_up ?? 0.1)
  }
}

/// A number relative to its target: as the original computes it, or exactly.
private enum Ratio {
  case double(Double)
  /// The denominator is positive.
  case exact(Int128, Int128)

  /// −1 below the target, 1 above it.
  var direction: Int {
    switch self {
    case .double(let value): value < 1 ? -1 : value > 1 ? 1 : 0
    case .exact(let number, let target): number < target ? -1 : number > target ? 1 : 0
    }
  }

  /// This ratio of `workers`, rounded up; the original caps only some of its results (`isCapped`).
  func times(_ workers: Int, isCapped: Bool = false) -> Int {
    switch self {
    case .double(let value):
      let product = value * Double(workers)
      return isCapped && product > Double(Int32.max) ? Int(Int32.max) : Self.int32(product.rounded(.up))
    case .exact(let number, let target):
      guard number > 0 else { return Int(number * Int128(workers) / target) }
      let product = number.magnitude.multipliedFullWidth(by: UInt128(workers))
      guard product.high < target.magnitude else { return Int(Int32.max) }
      let division = target.magnitude.dividingFullWidth(product)
      let quotient = division.remainder == 0 ? division.quotient : division.quotient + 1
      return Int(min(quotient, UInt128(Int32.max)))
    }
  }

  /// Go's conversion on amd64: what doesn't fit becomes the smallest number.
  static func int32(_ value: Double) -> Int { Int(Int32(exactly: value) ?? .min) }

  func isInside(down: Double, up: Double) -> Bool {
    switch self {
    case .double(let value): return 1 - down <= value && value <= 1 + up
    case .exact(let number, let target):
      let one = Int128(1_000_000_000)
      let lowest = one - Int128((down * 1_000_000_000).rounded())
      let highest = one + Int128((up * 1_000_000_000).rounded())
      guard number >= 0 else { return false }
      return compare(target, max(lowest, 0), number, one) <= 0 && compare(number, one, target, highest) <= 0
    }
  }

  /// −1, 0 or 1 as `a·b` is below, equal to or above `c·d`, in full width.
  private func compare(_ a: Int128, _ b: Int128, _ c: Int128, _ d: Int128) -> Int {
    let left = a.magnitude.multipliedFullWidth(by: b.magnitude)
    let right = c.magnitude.multipliedFullWidth(by: d.magnitude)
    if left.high != right.high { return left.high < right.high ? -1 : 1 }
    return left.low < right.low ? -1 : left.low > right.low ? 1 : 0
  }
}
