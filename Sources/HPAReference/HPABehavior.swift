package import KubernetesCore

/// From the replica count that metrics ask for to the one that is written: windows, rates and bounds.
///
/// Source: `stabilizeRecommendationWithBehaviors`, `convertDesiredReplicasWithBehaviorRate`,
/// `normalizeDesiredReplicasWithBehaviors` and their counterparts without behavior, of `horizontal.go`.
package enum HPABehavior {
  /// A replica count and the reason for it.
  package struct Outcome: Hashable, Sendable {
    /// The replica count.
    package var replicas: Int32
    /// A reason of the conditions AbleToScale or ScalingLimited.
    package var reason: String
    /// The text that goes with the reason.
    package var message: String
  }

  /// A replica count and the two conditions that explain it.
  package struct Normalization: Hashable, Sendable {
    /// The replica count.
    package var replicas: Int32
    /// The condition AbleToScale, which is always true here.
    package var ableToScale: HPAConditionChange
    /// The condition ScalingLimited.
    package var scalingLimited: HPAConditionChange
  }

  /// The bounds of an HPA with `minReplicas` defaulted.
  package struct Bounds: Hashable, Sendable {
    /// The lower bound.
    package var min: Int32
    /// The upper bound.
    package var max: Int32

    /// Makes bounds.
    package init(min: Int32, max: Int32) {
      self.min = min
      self.max = max
    }
  }

  // MARK: With a behavior

  /// Keeps the current size within the lowest recommendation of the scale-up window and the highest of the scale-down
  /// window, and records the unstabilized `desired` (`stabilizeRecommendationWithBehaviors`).
  ///
  /// The reason is given whether or not anything was changed.
  package static func stabilize(
    current: Int32, desired: Int32, scaleUpWindowSeconds: Int32, scaleDownWindowSeconds: Int32,
    history: inout HPAHistory, now: Timestamp
  ) -> Outcome {
    let upCutoff = now - .seconds(scaleUpWindowSeconds)
    let downCutoff = now - .seconds(scaleDownWindowSeconds)
    var (upLimit, downLimit) = (desired, desired)
    var oldSlot: Int?
    for (index, recommendation) in (history.recommendations ?? []).enumerated() {
      if recommendation.at > upCutoff { upLimit = min(upLimit, recommendation.replicas) }
      if recommendation.at > downCutoff { downLimit = max(downLimit, recommendation.replicas) }
      if recommendation.at < upCutoff && recommendation.at < downCutoff { oldSlot = index }
    }
    // In this order: where the windows contradict each other, the scale-down window has the last word.
    let replicas = min(max(current, upLimit), downLimit)
    history.record(desired, reusing: oldSlot, now: now)
    if desired >= current {
      return Outcome(
        replicas: replicas, reason: "ScaleUpStabilized",
        message: "recent recommendations were lower than current one, applying the lowest recent recommendation")
    }
    return Outcome(
      replicas: replicas, reason: "ScaleDownStabilized",
      message: "recent recommendations were higher than current one, applying the highest recent recommendation")
  }

  /// Limits `desired` by the policies and the bounds (`convertDesiredReplicasWithBehaviorRate`).
  package static func limitRate(
    current: Int32, desired: Int32, bounds: Bounds, behavior: HPABehaviorSpec, history: HPAHistory, now: Timestamp
  ) -> Outcome {
    if desired > current {
      // An overdrawn budget holds the size; it never reverses the direction.
      let limit = max(scaleUpLimit(current: current, rules: behavior.scaleUp, history: history, now: now), current)
      let outcome =
        bounds.max > limit
        ? Outcome(
          replicas: limit, reason: "ScaleUpLimit",
          message: "the desired replica count is increasing faster than the maximum scale rate") : tooMany(bounds)
      if desired > outcome.replicas { return outcome }
    } else if desired < current {
      let limit = min(scaleDownLimit(current: current, rules: behavior.scaleDown, history: history, now: now), current)
      let outcome =
        bounds.min < limit
        ? Outcome(
          replicas: limit, reason: "ScaleDownLimit",
          message: "the desired replica count is decreasing faster than the maximum scale rate") : tooFew(bounds)
      if desired < outcome.replicas { return outcome }
    }
    return withinRange(desired)
  }

  /// The largest size that the policies for growing allow (`calculateScaleUpLimitWithScalingRules`).
  ///
  /// Rules that lack a selection count as `Max`; the original only meets complete ones.
  package static func scaleUpLimit(
    current: Int32, rules: HPAScalingRules?, history: HPAHistory, now: Timestamp
  ) -> Int32 {
    if rules?.selectPolicy == .disabled { return current }
    let isLeast = rules?.selectPolicy == .min
    var result: Int32 = isLeast ? .max : .min
    var proposed: Int32 = 0
    for policy in rules?.policies ?? [] {
      let start = periodStart(of: policy, current: current, history: history, now: now)
      if policy.type == .pods {
        proposed = start &+ policy.value
      } else if policy.type == .percent {
        // Rounded up, because a share of few replicas would never become a whole one.
        proposed = GoArithmetic.int32(GoArithmetic.ceil(Double(start) * (1 + Double(policy.value) / 100)))
      }
      result = isLeast ? min(result, proposed) : max(result, proposed)
    }
    return result
  }

  /// The smallest size that the policies for shrinking allow (`calculateScaleDownLimitWithBehaviors`).
  package static func scaleDownLimit(
    current: Int32, rules: HPAScalingRules?, history: HPAHistory, now: Timestamp
  ) -> Int32 {
    if rules?.selectPolicy == .disabled { return current }
    let isLeast = rules?.selectPolicy == .min
    var result: Int32 = isLeast ? .min : .max
    var proposed: Int32 = 0
    for policy in rules?.policies ?? [] {
      let start = periodStart(of: policy, current: current, history: history, now: now)
      if policy.type == .pods {
        proposed = start &- policy.value
      } else if policy.type == .percent {
        proposed = GoArithmetic.int32(Double(start) * (1 - Double(policy.value) / 100))
      }
      result = isLeast ? max(result, proposed) : min(result, proposed)
    }
    return result
  }

  /// The replica count at the start of a policy's period, as far as the controller's own changes tell.
  private static func periodStart(
    of policy: HPAScalingPolicy, current: Int32, history: HPAHistory, now: Timestamp
  ) -> Int32 {
    let added = HPAHistory.change(in: history.scaleUpEvents, periodSeconds: policy.periodSeconds, now: now)
    let removed = HPAHistory.change(in: history.scaleDownEvents, periodSeconds: policy.periodSeconds, now: now)
    return current &- added &+ removed
  }

  /// Stabilizes, then limits, and says so in conditions (`normalizeDesiredReplicasWithBehaviors`).
  ///
  /// - Parameter downscaleStabilization: The controller's option, for a scale-down window that is unset
  ///   (`maybeInitScaleDownStabilizationWindow`).
  package static func normalize(
    current: Int32, desired: Int32, bounds: Bounds, behavior: HPABehaviorSpec, downscaleStabilization: Duration,
    history: inout HPAHistory, now: Timestamp
  ) -> Normalization {
    let fallbackWindow = Int32(truncatingIfNeeded: downscaleStabilization.components.seconds)
    let stabilized = stabilize(
      current: current, desired: desired,
      scaleUpWindowSeconds: behavior.scaleUp?.stabilizationWindowSeconds ?? 0,
      scaleDownWindowSeconds: behavior.scaleDown?.stabilizationWindowSeconds ?? fallbackWindow,
      history: &history, now: now)
    let limited = limitRate(
      current: current, desired: stabilized.replicas, bounds: bounds, behavior: behavior, history: history, now: now)
    return normalization(desired: desired, stabilized: stabilized, limited: limited)
  }

  // MARK: Without a behavior

  /// The older rules, for a spec without `behavior`: the highest recommendation of the scale-down window, at most
  /// twice the current size or 4, and the bounds (`normalizeDesiredReplicas`, `stabilizeRecommendation`).
  package static func normalizeWithoutBehavior(
    current: Int32, desired: Int32, bounds: Bounds, downscaleStabilization: Duration, history: inout HPAHistory,
    now: Timestamp
  ) -> Normalization {
    let cutoff = now - downscaleStabilization
    var highest = desired
    var oldSlot: Int?
    for (index, recommendation) in (history.recommendations ?? []).enumerated() {
      if recommendation.at < cutoff {
        oldSlot = index
      } else {
        highest = max(highest, recommendation.replicas)
      }
    }
    history.record(desired, reusing: oldSlot, now: now)
    let stabilized = Outcome(
      replicas: highest, reason: "ScaleDownStabilized",
      message: "recent recommendations were higher than current one, applying the highest recent recommendation")
    return normalization(
      desired: desired, stabilized: stabilized, limited: limit(current: current, desired: highest, bounds: bounds))
  }

  /// `convertDesiredReplicasWithRules` with `calculateScaleUpLimit`.
  private static func limit(current: Int32, desired: Int32, bounds: Bounds) -> Outcome {
    let scaleUpLimit = GoArithmetic.int32(max(2 * Double(current), 4))
    if desired < bounds.min { return tooFew(bounds) }
    let outcome =
      bounds.max > scaleUpLimit
      ? Outcome(
        replicas: scaleUpLimit, reason: "ScaleUpLimit",
        message: "the desired replica count is increasing faster than the maximum scale rate") : tooMany(bounds)
    return desired > outcome.replicas ? outcome : withinRange(desired)
  }

  // MARK: Shared

  private static func normalization(desired: Int32, stabilized: Outcome, limited: Outcome) -> Normalization {
    let isStabilized = stabilized.replicas != desired
    return Normalization(
      replicas: limited.replicas,
      ableToScale: HPAConditionChange(
        type: .ableToScale, status: .true, reason: isStabilized ? stabilized.reason : "ReadyForNewScale",
        message: isStabilized ? stabilized.message : "recommended size matches current size"),
      scalingLimited: HPAConditionChange(
        type: .scalingLimited, status: limited.replicas == stabilized.replicas ? .false : .true,
        reason: limited.reason, message: limited.message))
  }

  private static func tooMany(_ bounds: Bounds) -> Outcome {
    Outcome(
      replicas: bounds.max, reason: "TooManyReplicas",
      message: "the desired replica count is more than the maximum replica count")
  }

  private static func tooFew(_ bounds: Bounds) -> Outcome {
    Outcome(
      replicas: bounds.min, reason: "TooFewReplicas",
      message: "the desired replica count is less than the minimum replica count")
  }

  private static func withinRange(_ replicas: Int32) -> Outcome {
    Outcome(
      replicas: replicas, reason: "DesiredWithinRange", message: "the desired count is within the acceptable range")
  }
}
