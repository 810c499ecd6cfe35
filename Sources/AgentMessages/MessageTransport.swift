/// What carries frames: the process itself, or NATS.
package protocol MessageTransport: Sendable {
  /// The most bytes of a frame.
  var frameBytes: Int { get }
  /// Hands a frame to whoever listens at a place, once to each; returns when the transport has taken it, so that waiting
  /// here is its back-pressure. Frames that are sent one after another arrive in that order, or not at all.
  ///
  /// Throws when it can't be delivered, such as when nobody listens at a node's place and the transport can tell.
  func send(_ frame: [UInt8], to place: MessagePlace) async throws
  /// Listens at a place from when this returns.
  func listen(at place: MessagePlace) async throws -> FrameSubscription
}

/// Where frames go.
package enum MessagePlace: Hashable, Sendable, CustomStringConvertible {
  /// One process: the only one that listens there.
  case node(String)
  /// Whoever is interested.
  case topic(String)

  package var description: String {
    switch self {
    case .node(let name): "node.\(name)"
    case .topic(let name): "topic.\(name)"
    }
  }
}

/// What arrives at a place.
package struct FrameSubscription: Sendable {
  /// The next frame; nil when there are no more. Throws when the task is cancelled or the transport has failed for good.
  package var next: @Sendable () async throws -> [UInt8]?
  /// Ends it.
  package var cancel: @Sendable () -> Void
  /// Frames so far that the transport has dropped because nobody looked.
  package var dropped: @Sendable () -> Int

  /// Puts a subscription together.
  package init(
    next: @escaping @Sendable () async throws -> [UInt8]?, cancel: @escaping @Sendable () -> Void,
    dropped: @escaping @Sendable () -> Int = { 0 }
  ) {
    self.next = next
    self.cancel = cancel
    self.dropped = dropped
  }
}
