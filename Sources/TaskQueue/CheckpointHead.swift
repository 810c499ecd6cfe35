/// Where a task's work stood when it was last saved. The queue keeps it beside the task and hands it out with the next claim; the
/// state itself lies elsewhere, mostly in the engine's blobs.
package struct CheckpointHead: Hashable, Sendable {
  /// The step that was finished; each checkpoint of a task has a higher one.
  package var step: UInt64
  /// How to find the state and to know that it is whole, such as a blob's digest: opaque to the queue, bounded by
  /// `TaskQueueLimits.checkpointBytes`.
  package var reference: [UInt8]

  /// Names a checkpoint.
  package init(step: UInt64, reference: [UInt8]) {
    self.step = step
    self.reference = reference
  }
}
