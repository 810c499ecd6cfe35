/// What a transport has done since it was made, for `/metrics`.
package struct CurlTransportStatistics: Hashable, Sendable {
  /// Connections opened.
  package var connectionsOpened = 0
  /// Requests under way now, streams included.
  package var requestsInFlight = 0
  /// Streams under way now.
  package var streamsInFlight = 0
  /// Responses by the first digit of their status: index 0 counts 1xx, index 4 counts 5xx.
  package var responsesByClass = [0, 0, 0, 0, 0]
  /// Transfers that failed without a whole response (time-outs, resets, refused certificates).
  package var failures = 0
  /// Transfers given up by their task.
  package var cancellations = 0
  /// Times that a stream was paused because its consumer was slow.
  package var pauses = 0

  /// Makes counters that stand at zero.
  package init() {}

  /// Counts a response with this status.
  mutating func countResponse(status: Int) {
    let index = status / 100 - 1
    if responsesByClass.indices.contains(index) { responsesByClass[index] += 1 }
  }
}
