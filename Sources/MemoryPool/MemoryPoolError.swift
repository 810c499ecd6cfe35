/// Why there is no memory.
package enum MemoryPoolError: Error, Hashable, Sendable, CustomStringConvertible {
  /// More was asked for at once than the pool may ever give.
  case tooLarge(bytes: Int, limit: Int)
  /// As many wait for memory as may.
  case tooManyWaiting(limit: Int)
  /// The system has none.
  case systemRefused(bytes: Int)

  package var description: String {
    switch self {
    case .tooLarge(let bytes, let limit):
      "\(bytes) bytes are more than the pool may give at once (\(limit)); raise its limit or split the data"
    case .tooManyWaiting(let limit):
      "\(limit) tasks wait for memory already; try again later, or raise the pool's limit"
    case .systemRefused(let bytes):
      "the system has no \(bytes) bytes; raise the memory limit of the pod, or lower that of the pool"
    }
  }
}
