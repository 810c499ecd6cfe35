import NIOCore
import NIOHTTP1

/// How many events a stream has, and how fast they come.
struct StreamShape: Sendable {
  /// The header that names the number of events.
  static let eventsHeader = "x-benchmark-events"
  /// The header that names the events per second.
  static let paceHeader = "x-benchmark-pace"
  /// What stands before the moment of sending in the text of a delta.
  static let mark = "sent "

  /// Text deltas in a stream.
  var events: Int
  /// Text deltas per second.
  var pace: Int

  /// The time between two events.
  var interval: TimeAmount { .nanoseconds(1_000_000_000 / Int64(pace)) }

  /// Makes a shape.
  init(events: Int, pace: Int) {
    self.events = events
    self.pace = pace
  }

  /// The shape that a request asks for.
  init(_ headers: HTTPHeaders) {
    events = headers.first(name: Self.eventsHeader).flatMap { Int($0) } ?? 100
    pace = max(1, headers.first(name: Self.paceHeader).flatMap { Int($0) } ?? 50)
  }
}

/// Nanoseconds of the monotonic clock, which all processes of a machine share.
func monotonicNanoseconds() -> Int64 {
  Int64(NIODeadline.now().uptimeNanoseconds)
}
