/// The places in which agents run, one each; `AgentPool` has those of a worker.
package protocol AgentSlots: Sendable {
  /// Takes a slot, in the order of the calls; throws when there will be none, or the task is cancelled.
  func enterSlot() async throws -> UInt64
  /// Gives it back. Never waits.
  func leaveSlot(_ slot: UInt64)
  /// Whether there will be none, for now or for good.
  var isDraining: Bool { get }
  /// What an agent is told whose wait was ended by `AgentManager.wake`.
  var drainingError: any Error { get }
  /// An agent begins to wait without a slot: until `endAside` the worker isn't idle, although nothing runs.
  func beginAside()
  /// The agent has a slot again, or is gone.
  func endAside()
}
