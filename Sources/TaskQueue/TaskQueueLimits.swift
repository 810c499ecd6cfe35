/// What a queue holds at most. Whatever goes beyond is refused, and the answer says so: nothing is dropped in silence.
package struct TaskQueueLimits: Hashable, Sendable {
  /// Tasks that are not done: waiting, leased and dead letters together.
  package var tasks = 100_000
  /// One task's payload, in bytes.
  package var payloadBytes = 256 * 1_024
  /// The payloads of all tasks that are not done, in bytes.
  package var totalPayloadBytes = 256 * 1_024 * 1_024
  /// One task's result, in bytes.
  package var resultBytes = 256 * 1_024
  /// Results that are remembered after their tasks' end, so that the same key isn't done twice; the oldest are forgotten first.
  package var rememberedResults = 100_000
  /// The bytes of those results.
  package var rememberedResultBytes = 32 * 1_024 * 1_024
  /// Tasks in one submission.
  package var submissionTasks = 1_000
  /// Tasks in one claim.
  package var claimTasks = 100
  /// Payload bytes in one claim; the first task is given whatever its size.
  package var claimPayloadBytes = 4 * 1_024 * 1_024
  /// Characters of a name, a key, a worker's name.
  package var nameCharacters = 253
  /// Characters of the reason of a failure; a longer one is cut.
  package var reasonCharacters = 1_000
  /// Attempts that a task may ask for.
  package var attempts = 100
  /// The cost that a task may have.
  package var cost = 1_000_000
  /// The shortest and the longest lease.
  package var lease = Duration.seconds(1)...Duration.seconds(3_600)

  /// The limits that hold where nothing else is said.
  package init() {}
}

/// How often and when a failed task is tried again.
package struct TaskRetryPolicy: Hashable, Sendable {
  /// Attempts until a task is a dead letter, where the task doesn't say.
  package var attempts = 5
  /// The longest back-off after the first failure; it doubles with each.
  package var firstDelay = Duration.seconds(1)
  /// The longest back-off of all.
  package var longestDelay = Duration.seconds(300)
  /// The lease where a claim doesn't say. A failover of an engine takes up to 8 s: this covers it three times.
  package var lease = Duration.seconds(30)

  /// The policy that holds where nothing else is said.
  package init() {}

  /// The back-off after `attempt` attempts (from 1): a part of the longest one for that attempt, chosen by `jitter`, of which
  /// 0 is none and `UInt32.max` nearly all. Full jitter, so that what failed together doesn't come back together.
  func delay(after attempt: Int, jitter: UInt32) -> Duration {
    var longest = firstDelay
    for _ in 1..<max(attempt, 1) where longest < longestDelay { longest = longest * 2 }
    return min(longest, longestDelay) * Int64(jitter) / (Int64(UInt32.max) + 1)
  }
}
