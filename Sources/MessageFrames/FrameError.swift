/// Why a frame isn't made or taken.
package enum FrameError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A frame ends before what it announces, or goes on after it.
  case truncated(expected: Int, actual: Int)
  /// It doesn't begin like a frame.
  case notAFrame
  /// Its version is one that this program doesn't know.
  case unknownVersion(UInt8)
  /// It was damaged on the way.
  case checksumMismatch
  /// It is whole, but its fields contradict each other.
  case malformed(String)
  /// It has no message, or more than may be.
  case messageCount(Int, limit: Int)
  /// A message is larger than its class may be.
  case messageTooLarge(kind: MessageClass, bytes: Int, limit: Int)
  /// The frame is larger than may be, as it travels or inflated.
  case frameTooLarge(bytes: Int, limit: Int)
  /// It is packed with a dictionary that this program doesn't have.
  case unknownDictionary(UInt32)
  /// Its packed part doesn't unpack to what it announces.
  case corruptPayload(String)

  package var description: String {
    switch self {
    case .truncated(let expected, let actual): "the frame has \(actual) bytes and announces \(expected)"
    case .notAFrame: "these bytes are no frame; does the other side speak another protocol?"
    case .unknownVersion(let version):
      "frame version \(version) is newer than this program; update the receivers before the senders"
    case .checksumMismatch: "the frame was damaged on the way; its sender is to send it again"
    case .malformed(let what): "the frame is malformed: \(what)"
    case .messageCount(let count, let limit): "a frame has 1 to \(limit) messages, not \(count)"
    case .messageTooLarge(let kind, let bytes, let limit):
      "a message of class \(kind) may have \(limit) bytes, not \(bytes); put large content into the blob store and send its key"
    case .frameTooLarge(let bytes, let limit):
      "a frame may have \(limit) bytes, not \(bytes); send fewer messages in one"
    case .unknownDictionary(let id):
      "the frame needs the compression dictionary \(id), which this program doesn't have; update the receivers before the senders"
    case .corruptPayload(let what): "the frame's packed part can't be unpacked: \(what)"
    }
  }
}
