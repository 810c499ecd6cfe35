import CoordinationProtocol
import RateBudget
import Synchronization

/// The numbers of a stream's groups: the reader adds to them, the writer looks them up.
final class SharedGroups: Sendable {
  private let table = Mutex(GroupTable())

  /// Reads the hello, whose groups are the first.
  func read(_ wire: WireHello, now: BudgetTime) throws(ProtocolViolation) -> WorkerHello {
    let result = table.withLock { table -> Result<WorkerHello, ProtocolViolation> in
      do throws(ProtocolViolation) {
        return .success(try WorkerHello(validating: wire, table: &table, now: now))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Reads a frame, whose new groups are added.
  func read(_ wire: WireWorkerFrame, identity: WorkerIdentity, now: BudgetTime) throws(ProtocolViolation) -> WorkerFrame
  {
    let result = table.withLock { table -> Result<WorkerFrame, ProtocolViolation> in
      do throws(ProtocolViolation) {
        return .success(try WorkerFrame(validating: wire, table: &table, identity: identity, now: now))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// The number of a group; nil: it has none on this stream.
  func number(of key: GroupKey) -> UInt32? { table.withLock { $0.number(of: key) } }
}
