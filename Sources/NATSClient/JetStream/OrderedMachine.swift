/// Keeps a reader of a stream in order over gaps, lost connections and consumers that go, as a value.
package struct OrderedMachine: Sendable {
  package enum Verdict: Sendable, Equatable {
    /// The next one in order.
    case deliver
    /// Of an earlier consumer, or known already.
    case ignore
    /// Something is missing before it: begin anew behind the last one that was delivered.
    case gap
  }

  /// The stream sequence of the last message that was delivered; 0: none.
  package private(set) var lastSequence: UInt64
  private var consumer = ""
  /// How many messages of the present consumer have come.
  package private(set) var consumerSequence: UInt64 = 0

  package init(lastSequence: UInt64 = 0) { self.lastSequence = lastSequence }

  /// A consumer was made that begins behind `lastSequence`.
  package mutating func began(consumer name: String) {
    consumer = name
    consumerSequence = 0
  }

  package mutating func received(_ metadata: MessageMetadata) -> Verdict {
    guard metadata.consumer == consumer else { return .ignore }
    guard metadata.consumerSequence == consumerSequence + 1 else {
      return metadata.consumerSequence <= consumerSequence ? .ignore : .gap
    }
    consumerSequence += 1
    guard metadata.streamSequence > lastSequence else { return .ignore }
    lastSequence = metadata.streamSequence
    return .deliver
  }
}
