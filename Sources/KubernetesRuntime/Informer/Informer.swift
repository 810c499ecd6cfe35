package import KubernetesCore
package import Logging
import ServiceLifecycle
import Synchronization

/// What an informer tells its handler: keys, not objects, so that whoever works on a key reads its newest state.
package enum InformerNotification: Hashable, Sendable {
  /// The object called `key` changed.
  case changed(ObjectKey, StoreChange)
  /// The store is complete; told after each list, the first time once `hasSynced` is true.
  case synced
}

/// The numbers of an informer, for metrics and health.
package struct InformerMetrics: Hashable, Sendable {
  /// Objects in the store.
  package var objects = 0
  /// Whether the store has ever been complete.
  package var hasSynced = false
  /// Lists begun; more than one means relists.
  package var lists = 0
  /// Streams opened.
  package var watchStarts = 0
  /// Events taken in, bookmarks included.
  package var events = 0
  /// How long the last complete list took.
  package var lastListDuration: Duration?
  /// When a page or an event came last.
  package var lastActivity: MonotonicTime?
  /// Failures since a stream last lived well.
  package var consecutiveFailures = 0
  /// The last failure, until a list or stream goes well again.
  package var lastError: KubernetesError?

  /// Makes zeroes.
  package init() {}
}

/// Keeps a local store of all objects of a kind by listing once and watching from then on.
///
/// What to do next is decided by ``WatchStateMachine``; this carries it out. Pages go into the store as they arrive,
/// so that memory holds the store and one page. Relies on the transport to end a stream that is silent for longer than
/// the request's `idleTimeout`.
package final class Informer<Codec: InformerCodec>: Service {
  package typealias Object = Codec.Object
  /// Called in order, on the informer's task: add a key to a queue and return.
  package typealias Handler = @Sendable (InformerNotification) -> Void

  /// Which objects to watch.
  package struct Selection: Hashable, Sendable {
    /// The namespace; nil for all, and for cluster-scoped kinds.
    package var namespace: String?
    /// Only objects with matching labels.
    package var labelSelector: Selector?
    /// Only objects with matching fields.
    package var fieldSelector: String?

    /// Selects objects; without arguments all of the kind.
    package init(namespace: String? = nil, labelSelector: Selector? = nil, fieldSelector: String? = nil) {
      self.namespace = namespace
      self.labelSelector = labelSelector
      self.fieldSelector = fieldSelector
    }
  }

  private struct State {
    var machine: WatchStateMachine
    var metrics = InformerMetrics()
    var listStarted: MonotonicTime?
    var syncWaiters: [Wakeup] = []
  }

  /// The objects.
  package let store: InformerStore<Object>
  private let transport: any APITransport
  private let codec: Codec
  private let selection: Selection
  private let time: any TimeSource
  private let random: @Sendable () -> UInt64
  private let logger: Logger
  private let handler: Handler
  private let state: Mutex<State>

  /// Makes an informer; `index` gives the values under which objects are found in the store.
  package init(
    transport: any APITransport, codec: Codec, selection: Selection = Selection(),
    configuration: WatchStateMachine.Configuration = WatchStateMachine.Configuration(),
    index: @escaping @Sendable (Object) -> [String] = { _ in [] },
    time: any TimeSource, random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) },
    logger: Logger, handler: @escaping Handler
  ) {
    self.transport = transport
    self.codec = codec
    self.selection = selection
    self.time = time
    self.random = random
    self.logger = logger
    self.handler = handler
    store = InformerStore(index: index)
    state = Mutex(State(machine: WatchStateMachine(configuration: configuration)))
  }

  /// Whether the store has ever been complete.
  package var hasSynced: Bool { state.withLock { $0.metrics.hasSynced } }

  /// The informer's numbers.
  package var metrics: InformerMetrics {
    var metrics = state.withLock { state in
      var metrics = state.metrics
      metrics.lists = state.machine.listCount
      metrics.consecutiveFailures = state.machine.consecutiveFailures
      metrics.lastError = state.machine.lastError
      return metrics
    }
    metrics.objects = store.count
    return metrics
  }

  /// Suspends until the store has been complete once; throws `CancellationError` when the task is cancelled before.
  package func waitForSync() async throws {
    let wakeup = Wakeup()
    let hasSynced = state.withLock { state in
      if !state.metrics.hasSynced { state.syncWaiters.append(wakeup) }
      return state.metrics.hasSynced
    }
    if !hasSynced { try await wakeup.wait() }
  }

  /// Lists and watches until graceful shutdown (then returns) or cancellation.
  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.drive() }
    } catch is CancellationError where Task.isShuttingDownGracefully {
      return
    }
  }

  private func drive() async throws {
    var action = tell { machine, _, _ in machine.start() }
    while true {
      switch action {
      case .list(let request): action = try await list(request)
      case .finishListAndWatch(let request):
        finishList()
        action = try await watch(request)
      case .watch(let request): action = try await watch(request)
      case .wait(let until):
        logWait()
        try await time.sleep(until: until)
        action = tell { machine, jitter, now in machine.deadline(jitter: jitter, now: now) }
      case .read, .ignore:
        // Neither is an answer to anything asked outside a stream; begin anew rather than stand still.
        assertionFailure("the watch's machine answered \(action) outside a stream")
        try await time.sleep(for: .seconds(1))
        action = tell { machine, _, _ in machine.start() }
      }
    }
  }

  /// Asks the machine one question.
  private func tell<Answer>(_ question: (inout WatchStateMachine, UInt32, MonotonicTime) -> Answer) -> Answer {
    let (jitter, now) = (UInt32(truncatingIfNeeded: random()), time.monotonicNow)
    return state.withLock { question(&$0.machine, jitter, now) }
  }

  private func failed(_ error: KubernetesError) -> WatchStateMachine.Action {
    tell { machine, jitter, now in machine.failed(error, jitter: jitter, now: now) }
  }

  private func logWait() {
    let error = metrics.lastError
    // What only a person can mend is worth a line each time; the machine asks seldom then.
    let level: Logger.Level = error?.disposition == .terminal ? .warning : .debug
    logger.log(
      level: level, "list or watch failed; trying again later",
      metadata: ["k8s.resource": "\(Object.resource.resource)", "error": "\(error?.description ?? "")"])
  }

  // MARK: List

  private func list(_ page: WatchStateMachine.ListRequest) async throws -> WatchStateMachine.Action {
    let now = time.monotonicNow
    if page.isFirstPage {
      store.beginList()
      state.withLock { $0.listStarted = now }
    }
    do {
      let request = try APIRequest.list(
        Object.resource, namespace: selection.namespace,
        ListOptions(
          labelSelector: selection.labelSelector, fieldSelector: selection.fieldSelector, limit: page.limit,
          continueToken: page.continueToken, resourceVersion: page.resourceVersion),
        encoding: codec.encoding)
      let response = try await transport.send(request)
      guard response.head.status == 200 else { throw codec.error(for: response, to: request) }
      let list = try codec.decodeList(response.body, contentType: response.head.header("Content-Type"))
      for object in list.items { notify(object.key, store.put(object)) }
      noteActivity(events: 0)
      return tell { machine, jitter, now in machine.listed(list.metadata, jitter: jitter, now: now) }
    } catch let error as KubernetesError {
      return failed(error)
    }
  }

  private func finishList() {
    for key in store.finishList() { notify(key, [.deleted]) }
    let now = time.monotonicNow
    let waiters = state.withLock { state in
      state.metrics.hasSynced = true
      state.metrics.lastListDuration = state.listStarted.map { now - $0 }
      state.listStarted = nil
      defer { state.syncWaiters = [] }
      return state.syncWaiters
    }
    handler(.synced)
    for waiter in waiters { waiter.signal() }
  }

  // MARK: Watch

  private func watch(_ watch: WatchStateMachine.WatchRequest) async throws -> WatchStateMachine.Action {
    do {
      let request = try APIRequest.watch(
        Object.resource, namespace: selection.namespace,
        WatchOptions(
          resourceVersion: watch.resourceVersion, labelSelector: selection.labelSelector,
          fieldSelector: selection.fieldSelector, timeout: watch.timeout, idleTimeout: watch.idleTimeout),
        encoding: codec.encoding)
      return try await transport.withStream(request) { head, stream in
        guard head.status == 200 else { throw try await self.refusal(head, stream, request) }
        return try await self.read(stream, contentType: head.header("Content-Type"))
      }
    } catch let error as KubernetesError {
      return failed(error)
    }
  }

  /// The error that a response other than 200 stands for.
  private func refusal(
    _ head: APIResponseHead, _ stream: APIByteStream, _ request: APIRequest
  ) async throws -> KubernetesError {
    var body: [UInt8] = []
    for try await chunk in stream {
      body += chunk
      if body.count > 64 << 10 { break }
    }
    return codec.error(for: APIResponse(head: head, body: body), to: request)
  }

  private func read(_ stream: APIByteStream, contentType: String?) async throws -> WatchStateMachine.Action {
    _ = tell { machine, _, now in machine.streamOpened(now: now) }
    state.withLock { $0.metrics.watchStarts += 1 }
    var decoder = WatchFrameDecoder(contentType: contentType)
    let end: WatchStateMachine.StreamEnd
    do {
      for try await chunk in stream {
        for frame in try decoder.feed(chunk) {
          let action = take(try codec.decodeEvent(frame, contentType: contentType))
          if action != .read { return action }
        }
      }
      end = .closedByServer
    } catch let error as KubernetesError {
      end = error.code == .timedOut ? .idle : .failed(error)
    }
    logger.debug(
      "watch ended", metadata: ["k8s.resource": "\(Object.resource.resource)", "watch.end": "\(end)"])
    return tell { machine, jitter, now in machine.streamEnded(end, jitter: jitter, now: now) }
  }

  private func take(_ event: WatchEvent<Object>) -> WatchStateMachine.Action {
    switch event {
    case .added(let object), .modified(let object): notify(object.key, store.put(object))
    case .deleted(let object): notify(object.key, store.delete(object))
    case .bookmark, .error: break
    }
    noteActivity(events: 1)
    return tell { machine, jitter, now in machine.event(event.progress, jitter: jitter, now: now) }
  }

  private func notify(_ key: ObjectKey, _ changes: [StoreChange]) {
    for change in changes { handler(.changed(key, change)) }
  }

  private func noteActivity(events: Int) {
    let now = time.monotonicNow
    state.withLock { state in
      state.metrics.lastActivity = now
      state.metrics.events += events
    }
  }
}
