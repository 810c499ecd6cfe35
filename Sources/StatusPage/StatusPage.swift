package import KubernetesCore
package import ScalingObservation
import Synchronization

/// The controller's page: what it remembers, and how it answers. The HTTP server carries requests here.
///
/// Observing costs a few hundred nanoseconds and no text, but for what is news; events are made only while somebody
/// looks.
package final class StatusPage: Sendable {
  /// Settings that nobody needs to change but tests.
  package struct Configuration: Sendable {
    /// The program and its version.
    package var program: String
    /// The name of this instance.
    package var instance: String
    /// What the history may take.
    package var limits = PageModel.Limits()
    /// How many clients may follow the events at the same time.
    package var maximumClients = 32
    /// How many events may wait for a client before it is cut off.
    package var clientBuffer = 32
    /// How often news is sent.
    package var tick = Duration.seconds(1)
    /// How often something is sent at least, so that a client notices a dead connection.
    package var beat = Duration.seconds(10)
    /// How long events go on being kept when the last client has gone: it may come back.
    package var linger = Duration.seconds(30)
    /// How many fleets one event tells at most.
    package var fleetsPerEvent = 200
    /// How many workers are listed.
    package var workers = 250

    /// Makes the settings.
    package init(program: String, instance: String) {
      self.program = program
      self.instance = instance
    }
  }

  /// Who leads.
  package struct Leadership: Hashable, Sendable {
    /// Whether this process does.
    package var isLeader: Bool
    /// The identity of who does, as the Lease says; empty: nobody is known.
    package var holder: String

    /// Names a leader.
    package init(isLeader: Bool, holder: String) {
      self.isLeader = isLeader
      self.holder = holder
    }
  }

  /// What the page asks when somebody looks: it keeps no copy of it.
  package struct Sources: Sendable {
    /// Who leads.
    package var leadership: @Sendable () -> Leadership
    /// What the workers of an autoscaler report; nil: none does.
    package var activity: @Sendable (ObjectKey) -> FleetActivityReport?
    /// The last decision on an autoscaler in words, from its status.
    package var reason: @Sendable (ObjectKey) -> String?
    /// Whether a coordinator runs, without which there are no budgets and no reports of workers.
    package var hasCoordinator: Bool

    /// Bundles the questions; without arguments this process leads, and nothing more is known.
    package init(
      leadership: @escaping @Sendable () -> Leadership = { Leadership(isLeader: true, holder: "") },
      activity: @escaping @Sendable (ObjectKey) -> FleetActivityReport? = { _ in nil },
      reason: @escaping @Sendable (ObjectKey) -> String? = { _ in nil }, hasCoordinator: Bool = false
    ) {
      self.leadership = leadership
      self.activity = activity
      self.reason = reason
      self.hasCoordinator = hasCoordinator
    }
  }

  struct Client {
    var id: UInt64
    /// The fleet whose workers and budgets it follows.
    var fleet: ObjectKey?
    var continuation: AsyncStream<[UInt8]>.Continuation
    var cut: @Sendable () -> Void
    /// What was sent of the fleet last, so that it isn't sent again.
    var lastDetail: [UInt8] = []
    /// When something was sent last.
    var lastSent: MonotonicTime
  }

  struct State {
    var model: PageModel
    var events: EventHistory
    var sources = Sources()
    var clients: [Client] = []
    var lastClient: UInt64 = 0
    /// Up to which revision the events have told.
    var publishedRevision: UInt64 = 0
    /// Up to which decision.
    var publishedDecision: UInt64 = 0
    var publishedLeadership: Leadership?
    /// When the last client went.
    var emptySince: MonotonicTime?
    var isClosed = false
  }

  let configuration: Configuration
  let time: any TimeSource
  let state: Mutex<State>
  private let wakeups: AsyncStream<Void>
  let wakeup: AsyncStream<Void>.Continuation

  /// Makes a page that knows nothing yet.
  package init(_ configuration: Configuration, time: any TimeSource) {
    self.configuration = configuration
    self.time = time
    // Milliseconds: two runs of a program don't begin in the same one.
    let epoch = String(time.wallNow.milliseconds, radix: 36)
    state = Mutex(
      State(model: PageModel(limits: configuration.limits), events: EventHistory(epoch: epoch)))
    (wakeups, wakeup) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Tells where to ask; before that this process leads, and nothing more is known.
  package func attach(_ sources: Sources) {
    state.withLock { $0.sources = sources }
  }

  // MARK: What the controller tells

  /// Takes in a pass over an autoscaler; `record` is asked for only when the pass said something new.
  package func observe(_ observation: PageModel.Observation, record: (_ withWorkers: Bool) -> [UInt8]) {
    let (isNews, withWorkers) = state.withLock {
      ($0.model.isNews(observation), $0.model.keepsWorkers(of: observation))
    }
    let record = isNews ? record(withWorkers) : []
    state.withLock { $0.model.note(observation, record: record) }
  }

  /// Forgets an autoscaler that is gone.
  package func forget(_ key: ObjectKey) {
    state.withLock { $0.model.forget(key) }
  }

  /// Takes in what the coordinator knows of all budgets.
  package func observe(_ budgets: [BudgetSample]) {
    let now = time.wallNow
    state.withLock { $0.model.note(budgets, at: now) }
  }

  /// Begins anew: leadership has come or gone, and what was known may have changed elsewhere.
  package func reset() {
    state.withLock { $0.model.reset() }
  }

  /// How many bytes the history takes.
  package var historyBytes: Int { state.withLock { $0.model.byteCount } }

  // MARK: Events

  /// Sends events to those who look, until the task is cancelled.
  package func run() async throws {
    for await _ in wakeups {
      repeat {
        try await time.sleep(for: configuration.tick)
        publish()
      } while isWatched
    }
    try Task.checkCancellation()
  }

  /// Whether somebody looks, or did just now.
  private var isWatched: Bool {
    let now = time.monotonicNow
    return state.withLock { state in
      guard state.clients.isEmpty else { return true }
      if let since = state.emptySince, now - since < configuration.linger { return true }
      state.events.clear(skipping: true)
      return false
    }
  }

  /// How many clients follow the events.
  package var clientCount: Int { state.withLock { $0.clients.count } }

  /// Ends every stream of events, so that the server can stop; later ones end at once.
  package func close() {
    let clients = state.withLock { state in
      state.isClosed = true
      defer { state.clients = [] }
      return state.clients
    }
    for client in clients { client.continuation.finish() }
  }

  /// Ends the events of a client that has gone.
  package func end(_ events: PageEvents) {
    let now = time.monotonicNow
    let client = state.withLock { state -> Client? in
      guard let index = state.clients.firstIndex(where: { $0.id == events.id }) else { return nil }
      if state.clients.count == 1 { state.emptySince = now }
      return state.clients.remove(at: index)
    }
    client?.continuation.finish()
  }
}
