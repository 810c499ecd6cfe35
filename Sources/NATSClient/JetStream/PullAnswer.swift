/// What has come of one pull that is waited for: when it is over, and whether more may still be on its way then.
struct PullAnswer: Sendable {
  /// Whether to go on waiting.
  enum Outcome: Hashable, Sendable {
    case wait
    /// What came is all.
    case done
    /// The connection that carried the pull is gone.
    case disconnected
    /// The server refused the pull, or took it back.
    case refused
  }

  private let batch: Int
  /// Messages that are to come: of those that were asked for the ones that the server has sent.
  private(set) var wanted: Int
  private(set) var count = 0
  /// Whether nothing more can come: until then what comes later has to be handed back.
  private(set) var isComplete = false

  init(batch: Int) {
    self.batch = batch
    wanted = batch
  }

  /// A message came.
  mutating func message() {
    count += 1
    isComplete = count >= wanted
  }

  /// A status came; `unfilled`: how many of the messages the server won't send, by the status' header.
  ///
  /// With replicas a message leaves once a majority knows of it. The pull's end doesn't wait for that and may come before all of its messages
  /// (seen on 2.15.1: `409 Batch Completed`, then the batch): whoever stopped there missed them until the server's own wait was over.
  mutating func status(_ status: NATSStatus, unfilled: Int?) -> Outcome {
    switch status.code {
    case NATSStatus.idle: return .wait
    case NATSStatus.reconnected:
      isComplete = true
      return .disconnected
    default: break
    }
    // A pull for which nothing is there is answered without a number.
    let sent = batch - (unfilled ?? (status.endsPull ? batch : 0))
    wanted = max(count, min(wanted, sent))
    isComplete = count >= wanted || status.code == NATSStatus.noResponders
    guard status.endsPull else { return .refused }
    return isComplete ? .done : .wait
  }
}
