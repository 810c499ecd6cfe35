/// The version and the bounds of the protocol; both sides hold to them, and refuse what goes beyond.
package enum ProtocolLimits {
  /// The version that this code speaks. A peer of another one is refused, in words.
  package static let version: UInt32 = 1
  /// The largest message, in bytes.
  package static let messageBytes = 1 << 20
  /// The longest name (namespace, pod, fleet, organisation, workspace), in bytes of UTF-8.
  package static let nameBytes = 253
  /// The longest label (model, kind of worker, error code of upstream), in bytes of UTF-8.
  package static let labelBytes = 128
  /// How many groups one stream may speak of.
  package static let groups = 64
  /// How many capabilities a side may name.
  package static let capabilities = 32
  /// How many patterns of models a group may have.
  package static let patterns = 64
  /// How many entries of one kind a frame may have; more go into the next frame.
  package static let entries = 1_024
  /// Queues that a worker tells of.
  package static let queues = 16
  /// How many unsettled grants a hello may bring for all groups together.
  package static let outstanding = 2_048
  /// The longest duration, in milliseconds: a week.
  package static let durationMilliseconds: Int64 = 7 * 86_400_000
  /// How many drain orders a frame may carry.
  package static let drains = 16
}

/// What is wrong with a message of the peer; its stream ends, nobody else's does.
package enum ProtocolViolation: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer speaks another version.
  case version(UInt32)
  /// A field that must be there isn't.
  case missing(String)
  /// A list is longer than it may be.
  case tooMany(String, count: Int, limit: Int)
  /// A string is longer than it may be.
  case tooLong(String, bytes: Int, limit: Int)
  /// A name has characters that names don't have: those below a space, or the separators of names.
  case badName(String)
  /// A group's number was never given on this stream.
  case unknownGroup(UInt32)
  /// A group's number was given twice on this stream.
  case groupTwice(UInt32)
  /// A value of an enumeration that means nothing to this version, where it can't be ignored.
  case unknownValue(String)
  /// A request has the number 0.
  case zeroNumber
  /// The first message of a stream isn't a hello or a welcome.
  case helloExpected
  /// A second hello or welcome came.
  case helloTwice

  /// What is wrong, and what to do.
  package var description: String {
    switch self {
    case .version(let version):
      "the peer speaks version \(version) of the coordination protocol, this side \(ProtocolLimits.version): "
        + "bring worker and controller to the same release"
    case .missing(let field): "\(field) is missing"
    case .tooMany(let field, let count, let limit): "\(field) has \(count) entries, at most \(limit) are allowed"
    case .tooLong(let field, let bytes, let limit): "\(field) is \(bytes) bytes long, at most \(limit) are allowed"
    case .badName(let field): "\(field) is empty or has characters that a name can't have"
    case .unknownGroup(let index): "group \(index) was never defined on this stream"
    case .groupTwice(let index): "group \(index) is defined twice on this stream"
    case .unknownValue(let field): "\(field) has a value that this version doesn't know"
    case .zeroNumber: "a request has the number 0; numbers begin at 1"
    case .helloExpected: "the first message must be a hello (from a worker) or a welcome (from a coordinator)"
    case .helloTwice: "a stream has one hello and one welcome"
    }
  }
}
