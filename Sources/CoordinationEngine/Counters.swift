/// Numbers that many add to at once without conflicts: budgets, progress, sequences.
///
/// Errors are `EngineError`s. An addition whose answer was lost may have happened: where it must not happen twice, use a key of the
/// state instead.
package protocol Counters: Sendable {
  /// Adds; gives the new value. A counter that nobody has used is 0. Names are keys as those of the state.
  func add(_ delta: Int64, to name: String) async throws -> Int64
  /// The value; 0 for one that nobody has used.
  func value(of name: String) async throws -> Int64
  /// Forgets a counter: it is 0 again.
  func remove(_ name: String) async throws
}
