package import NIOCore

/// The life of a client's connection as a value: which server next, when, when to give up, when to leave a server that is about to go.
/// Time and randomness come from outside.
package struct ConnectionMachine: Sendable {
  /// What `run()` does next.
  package enum Step: Sendable, Equatable {
    /// Connect; report with `ready` or `dialFailed`.
    case dial(Attempt)
    /// Nothing before this moment, or before an event.
    case wait(until: NIODeadline?)
    /// The end: `run()` returns, or throws what `failure` holds.
    case finished
  }

  /// One attempt to connect.
  package struct Attempt: Sendable, Equatable {
    package var id: Int
    package var endpoint: NATSEndpoint
    /// When TCP, TLS and the handshake have to be done.
    package var deadline: NIODeadline
  }

  /// What follows from a finished handshake.
  package enum Activation: Sendable, Equatable {
    /// Resubscribe and send what is pending.
    case activate(isReconnect: Bool)
    /// As above, but first take leave of this connection, which still works.
    case move(from: Int)
    /// Nobody wants it any more.
    case discard
  }

  /// What follows from a lost connection.
  package enum Loss: Sendable, Equatable {
    /// It was the one in use.
    case current
    /// It was the one that was being left: the move is over.
    case moved
    /// It was neither.
    case none
  }

  /// What a watchdog's tick asks for.
  package enum Tick: Sendable, Equatable {
    case ping
    /// Too many PINGs without an answer.
    case stale
    case nothing
  }

  private struct Active: Sendable {
    var id: Int
    var endpoint: NATSEndpoint
    var pingsOutstanding = 0
    var isLeaving = false
  }

  private let configuration: NATSConfiguration
  package private(set) var pool: ServerPool
  private var random: SeededRandom
  private var active: Active?
  private var leaving: Int?
  private var dialing: Attempt?
  private var attempts = 0
  /// Attempts of the round through the pool that is under way.
  private var round = 0
  private var attemptOfRound = 0
  private var notBefore: NIODeadline?
  private var nextID = 1
  private var hasConnected = false
  private var isStopped = false
  /// Why there will be no further attempt.
  package private(set) var failure: NATSError?
  private var lastError: NATSError?

  package init(_ configuration: NATSConfiguration, random: SeededRandom) {
    self.configuration = configuration
    var random = random
    pool = ServerPool(configuration.servers, shuffledBy: &random, shuffles: configuration.shufflesServers)
    self.random = random
    if pool.endpoints.isEmpty {
      failure = NATSError(.noServers, "the configuration names no server")
    }
  }

  /// The connection in use.
  package var activeID: Int? { active?.id }
  /// Its server.
  package var activeEndpoint: NATSEndpoint? { active?.endpoint }
  package var isMoving: Bool { leaving != nil }
  package var isEnded: Bool { isStopped || failure != nil }

  /// What to do now.
  package mutating func step(now: NIODeadline) -> Step {
    if failure != nil || isStopped { return .finished }
    if dialing != nil || leaving != nil { return .wait(until: nil) }
    let avoided = active.flatMap { $0.isLeaving ? $0.endpoint : nil }
    if active != nil && avoided == nil { return .wait(until: nil) }
    if let avoided, !pool.hasAlternative(to: avoided) { return .wait(until: nil) }
    if let limit = configuration.maximumAttempts, attempts >= limit {
      // A server that is about to go still works: its loss decides.
      if active != nil { return .wait(until: nil) }
      failure = NATSError(.noServers, "no server could be reached in \(attempts) attempts", cause: lastError)
      return .finished
    }
    if notBefore == nil { notBefore = now + pause() }
    if let notBefore, now < notBefore { return .wait(until: notBefore) }
    guard let endpoint = pool.next(avoiding: avoided) else {
      failure = lastError ?? NATSError(.noServers, "there is no server left to try")
      return .finished
    }
    attempts += 1
    attemptOfRound += 1
    let attempt = Attempt(
      id: nextID, endpoint: endpoint, deadline: now + .nanoseconds(configuration.connectTimeout.nanoseconds))
    nextID += 1
    dialing = attempt
    notBefore = nil
    return .dial(attempt)
  }

  /// Full jitter once a round; none between the servers of a round, and none at the very first attempt.
  private mutating func pause() -> TimeAmount {
    if attempts == 0 && !hasConnected { return .zero }
    if attempts > 0 {
      if attemptOfRound < pool.endpoints.count { return .zero }
      attemptOfRound = 0
      round += 1
    }
    let base = configuration.reconnectBase.nanoseconds
    let limit = configuration.reconnectLimit.nanoseconds
    let doubled = base.multipliedReportingOverflow(by: 1 << Int64(min(round, 30)))
    let bound = max(0, min(limit, doubled.overflow ? limit : doubled.partialValue))
    return .nanoseconds(Int64.random(in: 0...bound, using: &random))
  }

  /// An attempt came to nothing.
  package mutating func dialFailed(_ id: Int, _ error: NATSError) {
    guard let attempt = dialing, attempt.id == id else { return }
    dialing = nil
    lastError = error
    if error.code == .authenticationFailed, !pool.refused(attempt.endpoint), active == nil {
      failure = error
    }
  }

  /// The handshake is done.
  package mutating func ready(_ id: Int, info: ServerInfo) -> Activation {
    guard let attempt = dialing, attempt.id == id, !isStopped, failure == nil else { return .discard }
    dialing = nil
    pool.succeeded(attempt.endpoint)
    attempts = 0
    round = 0
    attemptOfRound = 0
    lastError = nil
    notBefore = nil
    let previous = active
    active = Active(id: id, endpoint: attempt.endpoint)
    learn(info)
    let isReconnect = hasConnected
    hasConnected = true
    if let previous {
      leaving = previous.id
      return .move(from: previous.id)
    }
    return .activate(isReconnect: isReconnect)
  }

  /// INFO came again. Returns whether a new server has to be looked for.
  package mutating func updated(_ id: Int, info: ServerInfo) -> Bool {
    guard active?.id == id else { return false }
    learn(info)
    guard info.isLameDuck, active?.isLeaving == false else { return false }
    active?.isLeaving = true
    // At once: the server spreads its clients over the lame duck's time itself.
    notBefore = .uptimeNanoseconds(0)
    return true
  }

  private mutating func learn(_ info: ServerInfo) {
    guard configuration.followsDiscoveredServers, let active else { return }
    pool.discovered(
      info.connectURLs, current: active.endpoint, random: &random, shuffles: configuration.shufflesServers)
  }

  /// The connection that was left has said all it had to say.
  package mutating func moved() { leaving = nil }

  /// A connection is gone.
  package mutating func lost(_ id: Int, _ error: NATSError) -> Loss {
    if leaving == id {
      leaving = nil
      return .moved
    }
    guard let lost = active, lost.id == id else { return .none }
    active = nil
    leaving = nil
    lastError = error
    // What is in progress to leave a lame duck goes on; it just no longer has an old connection.
    if error.code == .authenticationFailed, !pool.refused(lost.endpoint) { failure = error }
    return .current
  }

  /// A watchdog's interval has passed.
  package mutating func tick(_ id: Int) -> Tick {
    guard active?.id == id, let outstanding = active?.pingsOutstanding else { return .nothing }
    if outstanding >= configuration.maximumPingsOutstanding { return .stale }
    active?.pingsOutstanding += 1
    return .ping
  }

  /// Anything that arrives proves that the server lives.
  package mutating func heard(_ id: Int) {
    if active?.id == id { active?.pingsOutstanding = 0 }
  }

  /// No further attempts.
  package mutating func stop() { isStopped = true }
}
