/// What a source of rows gets to know.
struct TableContext: Sendable {
  /// For CI: small numbers, a few seconds for each source; only whether rows appear and seeds' figures hold.
  var isQuick: Bool
  /// Rounds of what is short; the median is told with the least and the most.
  var rounds: Int
  /// The seed of whatever is drawn.
  var seed: UInt64
}

/// Measures some of the promises, each beside its baseline in the same run.
protocol PromiseSource: Sendable {
  /// The numbers of the promises that it has rows for: `Promise.all` has their words.
  var promises: [Int] { get }

  /// Adds its rows. An error makes its promises `absent` with the error's words; the rest of the table goes on.
  func measure(_ context: TableContext, into report: inout Report) async throws
}
