package import CoordinationProtocol
package import RateBudget

/// The number of a stream, unique for ever within one coordinator.
package struct StreamID: Hashable, Comparable, Sendable {
  /// The number.
  package var number: UInt64

  /// Makes a number.
  package init(_ number: UInt64) {
    self.number = number
  }

  package static func < (left: StreamID, right: StreamID) -> Bool { left.number < right.number }
}

/// One thing to tell a worker.
package enum CoordinatorNote: Hashable, Sendable {
  /// It may send a request.
  case grant(GrantNote)
  /// A request won't be granted.
  case refusal(RefusalNote)
  /// What to do with what upstream refused.
  case answer(RejectionAnswer)
  /// What it may use on its own.
  case share(GroupKey, Share)
  /// The coordinator lives.
  case lease(Duration)
  /// An order.
  case drain(DrainOrder)
  /// A configuration has changed.
  case group(GroupConfiguration)
}

/// Why a coordinator ends a stream.
package enum CloseReason: Hashable, Sendable {
  /// The same worker has come back by another stream.
  case replaced
  /// As many workers are known as may be.
  case tooManyWorkers(limit: Int)
  /// The worker has said goodbye.
  case goodbye
  /// The worker doesn't read what it is told.
  case tooSlow(pending: Int)
  /// The coordinator ends; another one may follow.
  case ending

  /// What to tell the worker.
  package var explanation: String {
    switch self {
    case .replaced: "the same worker has joined by another stream"
    case .tooManyWorkers(let limit): "the coordinator keeps books on \(limit) workers at most"
    case .goodbye: "goodbye"
    case .tooSlow(let pending): "the worker left \(pending) messages unread"
    case .ending: "the coordinator ends"
    }
  }
}

/// What a driver has to do.
package enum CoordinatorEffect: Hashable, Sendable {
  /// Says welcome on a stream.
  case welcome(StreamID, CoordinatorWelcome)
  /// Tells a worker something.
  case tell(StreamID, CoordinatorNote)
  /// Ends a stream.
  case close(StreamID, CloseReason)
}
