package import NIOCore

/// What a key-value bucket refuses.
package enum KeyValueError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Letters, digits, `-`, `_`, `=`, `/` and dots between tokens.
  case invalidKey(String)
  /// Letters, digits, `-` and `_`.
  case invalidBucket(String)
  /// `create`: there is a value.
  case exists(key: String)
  /// `update`, `delete`, `purge`: the key was changed since that revision.
  case wrongRevision(key: String)

  package var description: String {
    switch self {
    case .invalidKey(let key): "'\(key)' is no key: letters, digits, - _ = / and single dots inside"
    case .invalidBucket(let name): "'\(name)' is no name of a bucket: letters, digits, - and _"
    case .exists(let key): "the key \(key) exists; update it with its revision"
    case .wrongRevision(let key): "the key \(key) was changed by somebody else; read it and decide again"
    }
  }
}

/// One change of a key.
package struct KeyValueEntry: Sendable, Hashable {
  package enum Operation: Sendable, Hashable {
    case put
    /// Deleted; the history stays.
    case delete
    /// Deleted with its history.
    case purge
    /// The server's marker: the value's time was up, or a limit removed it.
    case expired
  }

  package var key: String
  package var value: ByteBuffer
  /// Grows with each change in the bucket.
  package var revision: UInt64
  package var operation: Operation

  /// The value as text.
  package var text: String { String(buffer: value) }

  init?(_ message: NATSMessage, revision: UInt64, prefix: String) {
    guard message.subject.hasPrefix(prefix) else { return nil }
    key = String(message.subject.dropFirst(prefix.count))
    // A copy: values are kept, and the slice would keep all that was read beside it.
    value = ByteBuffer(bytes: message.payload.readableBytesView)
    self.revision = revision
    switch message.headers["KV-Operation"] {
    case "DEL": operation = .delete
    case "PURGE": operation = .purge
    default:
      switch message.headers["Nats-Marker-Reason"] {
      case "MaxAge": operation = .expired
      case "Purge": operation = .purge
      case "Remove": operation = .delete
      default: operation = .put
      }
    }
  }
}

/// What a bucket is made with.
package struct KeyValueConfiguration: Sendable, Hashable {
  package var bucket: String
  /// Values kept for each key, 1 to 64.
  package var history = 1
  /// After which all values go; nil: never.
  package var timeToLive: Duration?
  /// How long markers of expired values stay; needed for `put(…, timeToLive:)`, and for watchers to hear of expiry.
  package var limitMarkerTTL: Duration?
  package var storage = StreamStorage.file
  package var replicas = 1
  /// -1: no limit.
  package var maximumBytes = -1
  /// Reads may be answered by any replica, perhaps a little behind; `get(…, consistent: true)` asks the leader.
  package var allowsDirect = true

  package init(bucket: String) { self.bucket = bucket }
}
