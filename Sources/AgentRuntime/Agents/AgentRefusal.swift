/// Why an agent wasn't begun.
package struct AgentRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  /// The reason.
  package let reason: AgentTable.Refusal
  private let name: String

  init(_ reason: AgentTable.Refusal, name: String) {
    self.reason = reason
    self.name = name
  }

  /// After how long it may be tried again; nil: time alone doesn't help.
  package var retryAfter: Duration? {
    switch reason {
    case .leftAlone(let time), .poolOpen(let time): time
    case .taken, .full: nil
    }
  }

  package var description: String {
    switch reason {
    case .taken: "an agent named \(name) is at work here; wait for it, or give this one another name"
    case .full(let limit): "\(limit) agents are as many as this worker holds; wait until some have ended"
    case .leftAlone(let time):
      "the agent \(name) has failed too often and is left alone; try again in \(time), and look into why it fails"
    case .poolOpen(let time):
      "so many agents fail that none is begun; try again in \(time), and look for what all of them need"
    }
  }
}
