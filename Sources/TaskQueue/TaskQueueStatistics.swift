/// Counts of a queue. `submitted` is the sum of `pending`, `leased`, `done`, `dead`, `discarded` and `lost`.
package struct TaskQueueStatistics: Hashable, Sendable {
  /// Tasks that were acknowledged, duplicates not counted.
  package var submitted = 0
  /// Submissions whose key was known.
  package var duplicates = 0
  /// Tasks that were turned away because their lane's backlog is older than its deadline.
  package var shed = 0
  /// Tasks that wait, those included that wait for their time.
  package var pending = 0
  /// Of those, the ones that wait for their time.
  package var delayed = 0
  /// Waiting tasks that can be claimed, by lane, the most urgent first.
  package var ready = [Int](repeating: 0, count: TaskLane.allCases.count)
  /// Tasks that workers have.
  package var leased = 0
  /// Tasks whose result is committed.
  package var done = 0
  /// Dead letters.
  package var dead = 0
  /// Dead letters that somebody has thrown away.
  package var discarded = 0
  /// Tasks handed out, so many times.
  package var claims = 0
  /// Attempts that failed.
  package var failures = 0
  /// Leases that ran out.
  package var expired = 0
  /// Tasks handed back unstarted.
  package var released = 0
  /// Steps with a ticket that no longer held: each is a result that was not committed twice.
  package var stale = 0
  /// The payload bytes of tasks that are not done.
  package var payloadBytes = 0
  /// The age of the oldest waiting task; zero when none waits.
  package var oldestPending = Duration.zero

  /// The counts of a queue that nobody has used.
  package init() {}

  /// Tasks that wait or are worked on: the backlog to scale by.
  package var outstanding: Int { pending + leased }
  /// Acknowledged tasks that are nowhere: 0 as long as the queue's code is right. Counted, so that a fault would show.
  package var lost: Int { submitted - pending - leased - done - dead - discarded }
}
