package import CoordinationProtocol
package import RateBudget

/// Runs a `CoordinatorState`: takes in what streams say, grants in batches, and hands out what is to be told.
package actor CoordinatorEngine {
  private var state: CoordinatorState
  private let clock: any BudgetClock
  private let batch: Duration
  private let signal = Wakeup()
  private var outboxes: [StreamID: StreamOutbox] = [:]
  private var lastStream: UInt64 = 0
  private var isEnding = false

  /// Makes an engine.
  ///
  /// Requests that come within `batch` of the last round are granted together: under load each round looks at many
  /// requests, and a request that comes alone is granted at once.
  package init(state: CoordinatorState, clock: any BudgetClock, batch: Duration = .milliseconds(2)) {
    self.state = state
    self.clock = clock
    self.batch = batch
  }

  /// Grants until the task is cancelled.
  package func run() async throws {
    while true {
      let next = state.nextDeadline(now: clock.now)
      try await signal.wait(until: next, clock)
      let round = clock.now
      carryOut(state.advance(now: round))
      try await clock.sleep(until: round + batch)
    }
  }

  // MARK: Streams

  /// Opens a stream, whose messages go into `outbox`.
  func open(_ outbox: StreamOutbox) -> StreamID {
    lastStream += 1
    let stream = StreamID(lastStream)
    outboxes[stream] = outbox
    if isEnding { outbox.close(.ending) }
    return stream
  }

  /// Ends all streams, and those that come in from now on.
  func endStreams() {
    isEnding = true
    for outbox in outboxes.values { outbox.close(.ending) }
  }

  /// Takes in a worker's hello.
  func join(_ hello: WorkerHello, by stream: StreamID) {
    carryOut(state.join(hello, stream: stream, now: clock.now))
    signal.signal()
  }

  /// Takes in a frame.
  func handle(_ frame: WorkerFrame, from stream: StreamID) {
    carryOut(state.handle(frame, from: stream, now: clock.now))
    signal.signal()
  }

  /// Notes that a stream has ended, in whatever way.
  func disconnect(_ stream: StreamID) {
    outboxes[stream] = nil
    state.disconnect(stream, now: clock.now)
    signal.signal()
  }

  private func carryOut(_ effects: [CoordinatorEffect]) {
    for effect in effects {
      switch effect {
      case .welcome(let stream, let welcome): outboxes[stream]?.put(welcome)
      case .tell(let stream, let note): outboxes[stream]?.put(note)
      case .close(let stream, let reason): outboxes[stream]?.close(reason)
      }
    }
  }

  // MARK: The controller's side

  /// What is known now: for status, metrics and decisions.
  package func report() -> CoordinatorReport { state.report(now: clock.now) }

  /// Follows a changed configuration.
  package func configure(_ configuration: CoordinatorConfiguration) {
    carryOut(state.configure(configuration, now: clock.now))
    signal.signal()
  }

  /// Tells the budgets the time of day again; now and then, for their spend ceilings by the day.
  package func followWallClock() { state.setWallClock(clock.wall, now: clock.now) }

  /// Forgets workers without a stream whose pods are known to be gone.
  package func forgetLost(_ clients: [String]) {
    state.forgetLost(clients, now: clock.now)
    signal.signal()
  }

  /// Lets a group go on after a pause that money has caused.
  package func resume(_ key: GroupKey) {
    state.resume(key, now: clock.now)
    signal.signal()
  }

  /// Orders a pod to take no new work.
  package func drain(namespace: String, pod: String, timeout: Duration) {
    carryOut(state.drain(namespace: namespace, pod: pod, timeout: timeout, now: clock.now))
  }

  /// Takes the order back.
  package func withdrawDrain(namespace: String, pod: String) {
    carryOut(state.withdrawDrain(namespace: namespace, pod: pod, now: clock.now))
  }
}
