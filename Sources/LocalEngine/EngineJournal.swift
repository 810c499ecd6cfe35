package import CoordinationEngine
package import TaskQueue

/// What writes down an engine's changes. One engine uses it; its calls never block the caller.
package protocol EngineJournal: Sendable {
  /// What a commit survives.
  var durability: Durability { get }
  /// Reads all that was written down, after what was asked for before.
  func load() async throws(EngineError) -> EngineSnapshot
  /// Calls `take` when its turn has come, writes what that gives in one transaction, or nothing for nil, and says by `done` whether it
  /// is written as the durability promises. Calls are carried out one after the other, on a thread that may block.
  func commit(
    _ take: @escaping @Sendable () -> EngineChanges?,
    done: @escaping @Sendable (_ sequence: UInt64?, _ error: EngineError?) -> Void)
  /// The bytes of a blob; nil when it isn't there.
  func blob(_ digest: BlobDigest) async throws(EngineError) -> [UInt8]?
  /// Carries out what was asked for and lets go of the files.
  func close() async
}
