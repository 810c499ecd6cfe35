package import KubernetesCore

/// The outcome of one decision as a value: what to do, why, and when to look again.
///
/// Log line, event, conditions, metrics, page and record are renderings of it (`Plan+Rendering.swift`).
package struct Plan: Hashable, Sendable, Codable {
  /// `spec.replicas` as observed.
  package var currentReplicas: Int
  /// The goal: the count that all steps up to the rate policies lead to. Workers may have to drain before it is reached.
  package var desiredReplicas: Int
  /// What to write to `/scale` now; nil: nothing, which is always so in a dry run.
  package var write: Int?
  /// What would be written if this weren't a dry run.
  package var intendedWrite: Int?
  /// The workers whose removal `intendedWrite` asks for, in the order in which Kubernetes should take them.
  package var victims: [String]
  /// What to tell workers, or to note on their pods, before the write.
  package var orders: [WorkerOrder]
  /// What each metric proposes, in the order of the spec; empty when no metric was looked at.
  package var proposals: [Proposal]
  /// Why, in the order of the steps.
  package var reasons: [Reason]
  /// The step that had the last word on the count.
  package var bindingStep: BindingStep
  /// The bounds that applied.
  package var bounds: ClosedRange<Int>
  /// When a window, policy, confirmation, drain or hold-off ends that now holds the count; nil: only new numbers
  /// can change it.
  package var nextDeadline: Timestamp?
  /// What to remember, on condition that `write` (if any) succeeds.
  package var state: DecisionState
  /// Whether nothing may be written.
  package var isDryRun: Bool
  /// How many changes by another writer make a contest, for the rendering.
  package var contestThreshold: Int

  /// What to remember when the write of `write` fails; `before` is what was remembered when the plan was made.
  package func stateIfWriteFails(after before: DecisionState) -> DecisionState {
    guard intendedWrite != nil else { return state }
    var undone = state
    undone.undoWrite(from: currentReplicas, before)
    return undone
  }

  /// Whether a bound, a ceiling, a policy or the work in flight holds the count away from what demand asks for.
  package var isLimited: Bool { bindingStep.limits }
}

/// The steps of a decision that can have the last word.
package enum BindingStep: String, Hashable, Sendable, Codable, CaseIterable {
  /// The target, or this autoscaler, is switched off.
  case disabled
  /// An annotation holds the count.
  case pause
  /// The count was outside its bounds.
  case bounds
  /// A demand metric asked for the count.
  case demand
  /// An unknown metric held the count.
  case unknownMetric
  /// A metric's ceiling.
  case ceiling
  /// Growth that brought no more work done.
  case marginalGain
  /// The cluster has no room.
  case capacity
  /// Work in flight.
  case workInFlight
  /// `minReplicas`.
  case minimum
  /// `maxReplicas`.
  case maximum
  /// A stabilisation window.
  case stabilization
  /// Samples from before the last own write.
  case settling
  /// A rate policy.
  case ratePolicy
  /// Workers must drain first.
  case drain
  /// Another writer changes the count all the time.
  case contest

  /// Whether the step held the count away from what demand asks for.
  package var limits: Bool {
    switch self {
    case .demand, .bounds, .disabled: false
    default: true
    }
  }
}

/// What to tell a worker, or to note on its pod.
package enum WorkerOrder: Hashable, Sendable, Codable {
  /// Take no new work, finish what you have.
  case drain(worker: String)
  /// Take new work again.
  case undrain(worker: String)
  /// Set the annotation `controller.kubernetes.io/pod-deletion-cost`.
  case setDeletionCost(worker: String, cost: Int32)
}

/// What one metric proposes.
package struct Proposal: Hashable, Sendable, Codable {
  /// What a metric asks for.
  package enum Outcome: Hashable, Sendable, Codable {
    /// A demand's count.
    case wants(Int)
    /// A ceiling's count.
    case allows(Int)
    /// A ceiling that doesn't bind.
    case unbounded
    /// The metric has nothing to say now: a schedule outside its hours, a default metric that nobody reports.
    case silent
    /// A demand that holds the count at least where it is, or a ceiling that holds it at most there.
    case unknown(UnknownReason)
  }

  /// The metric's short name.
  package var name: String
  /// Where its number comes from.
  package var source: MetricSpec.Source
  /// What it asks for.
  package var outcome: Outcome
  /// The number that it was computed from; nil when there is none.
  package var observed: ObservedValue?
  /// What the number should be.
  package var target: MetricTarget

  /// Its place in the algorithm.
  package var role: MetricSpec.Role { source.role }

  /// The count of the outcome, if it has one.
  package var replicas: Int? {
    switch outcome {
    case .wants(let count), .allows(let count): count
    case .unbounded, .silent, .unknown: nil
    }
  }
}

/// The number that a proposal was computed from.
package enum ObservedValue: Hashable, Sendable, Codable {
  /// Usage as a share of requests: `usage / requests`, both in thousandths and at most `Int64.max`.
  case utilization(usageMilli: Int64, requestsMilli: Int64)
  /// The sum over `workers` workers.
  case perWorker(totalMilli: Int64, workers: Int)
  /// One number.
  case value(milli: Int64)
  /// The load of the dimension that binds.
  case budget(dimension: BudgetDimension, load: Int64, limit: Int64, lower: Int64, upper: Int64)
  /// A schedule's count.
  case replicas(Int)
}

/// Why a metric is unknown.
package enum UnknownReason: Hashable, Sendable, Codable {
  /// The source gave nothing usable.
  case unavailable(UnavailableReason)
  /// The number is negative.
  case negative
  /// The number is older than its limit.
  case stale
  /// The number claims to be from the future.
  case fromFuture
  /// The target is zero or negative, its band is upside down, or it doesn't fit the metric's type.
  case unusableTarget
  /// The reading is of another kind than the metric.
  case unfitReading
  /// There are no workers to measure.
  case noWorkers
  /// None of the workers that count has a usable number.
  case noUsableSamples
  /// A worker that counts has no request for the resource.
  case missingRequest(worker: String)
  /// An empty reply, and no earlier value to hold.
  case nothingToHold
}

/// One reason of a decision; `metric` is an index into the plan's proposals.
package enum Reason: Hashable, Sendable, Codable {
  /// An older autoscaler names the same target.
  case olderRival(name: String)
  /// The count is zero and wasn't set to zero by us: scaling is switched off.
  case scaledToZeroByHand
  /// The annotation `paused` holds everything.
  case paused
  /// The annotation `paused-replicas` holds a count.
  case pausedAt(replicas: Int)
  /// The annotation `paused-scale-up` forbids growth to the count.
  case growthPaused(wanted: Int)
  /// The annotation `paused-scale-down` forbids a shrink to the count.
  case shrinkPaused(wanted: Int)
  /// The count was below its minimum.
  case belowMinimum(minimum: Int)
  /// The count was above its maximum.
  case aboveMaximum(maximum: Int)
  /// The spec has no metric.
  case noMetrics
  /// A metric is unknown, and the count isn't moved past the present one on its account.
  case unknown(metric: Int)
  /// A fallback replaces a metric that has failed several times in a row.
  case fallback(metric: Int, failures: Int, replicas: Int)
  /// A demand fell by more than half within one sample; `missing` further samples must confirm it.
  case collapseUnconfirmed(metric: Int, lastMilli: Int64, nowMilli: Int64, missing: Int)
  /// Workers stand still until the API budget grants their requests; their low use of other resources says nothing.
  case waitingForAPI(workers: Int)
  /// The demand that won.
  case demand(metric: Int, replicas: Int)
  /// A ceiling cut the demand.
  case ceiling(metric: Int, replicas: Int)
  /// A ceiling freezes growth.
  case growthFrozen(metric: Int, cause: FreezeCause)
  /// Growth brought no more work done and was taken back; it is tried again at `until`.
  case noGain(replicas: Int, until: Timestamp)
  /// Unplaced workers have waited too long: the cluster has no room for more.
  case missingCapacity(unplaced: Int)
  /// Work in flight needs this many workers.
  case workInFlight(workers: Int)
  /// The demand is below the minimum.
  case atMinimum(minimum: Int)
  /// The demand is above the maximum.
  case atMaximum(maximum: Int)
  /// A window holds the count.
  case stabilized(proposed: Int, held: Int, until: Timestamp?)
  /// The samples that ask for a shrink were still being measured when we last changed the count.
  case unsettled(proposed: Int, held: Int, until: Timestamp)
  /// A rate policy limits the change.
  case rateLimited(proposed: Int, limit: Int, until: Timestamp?)
  /// Workers must drain first: `busy` have work, `pending` haven't confirmed yet.
  case draining(busy: Int, pending: Int)
  /// Kubernetes would remove a busy worker that is not ready before any ready one.
  case shieldedByNotReady(worker: String)
  /// A worker is removed although it has work: its drain has run out of time.
  case drainTimedOut(worker: String)
  /// Pods of several ReplicaSets live: a write is spread over them.
  case rolloutInProgress(VictimSelection.Rollout)
  /// Drained workers wait to become unready, since the API server's controllers don't heed deletion costs.
  case deletionCostIgnored(workers: Int)
  /// The shrink may hit work.
  case workExposed(WorkExposure)
  /// Another writer changed the count.
  case foreignChange(from: Int, to: Int)
  /// Another writer changes the count all the time; the next own write isn't made before `until`.
  case contested(changes: Int, until: Timestamp?)
  /// Nothing is written: a dry run.
  case dryRun
}

/// Why a ceiling freezes growth.
package enum FreezeCause: String, Hashable, Sendable, Codable {
  /// More calls than allowed are answered 429.
  case throttled
  /// The provider refused the speed of growth.
  case ramp
  /// The limits are still being learned.
  case learning
  /// The load is above its band, but hasn't lasted yet.
  case burst
  /// The load is inside its band.
  case inBand
}
