/// What an event of a watch means to the state machine.
package enum WatchProgress: Hashable, Sendable {
  /// All changes up to this version were seen.
  case version(String)
  /// The stream carried an error.
  case error(APIStatus)
}

// `jitter` is a random number, uniform over its whole range; the machine has no source of randomness of its own.
extension WatchStateMachine {
  /// Begins with the first list.
  package mutating func start() -> Action {
    beginList(
      ListRequest(
        isFirstPage: true, limit: configuration.allowsStaleFirstList ? nil : configuration.pageSize,
        continueToken: nil, resourceVersion: configuration.allowsStaleFirstList ? "0" : nil))
  }

  /// A page arrived.
  package mutating func listed(_ page: ListMeta, jitter: UInt32, now: MonotonicTime) -> Action {
    guard case .listing(var request) = state else { return .ignore }
    if !page.continueToken.isEmpty {
      request.isFirstPage = false
      request.continueToken = page.continueToken
      request.resourceVersion = nil
      state = .listing(request)
      return .list(request)
    }
    guard !page.resourceVersion.isEmpty else {
      let error = KubernetesError(
        .malformedResponse, "The list has no resourceVersion, so no watch can start from it. Is this an API server?")
      return failed(error, jitter: jitter, now: now)
    }
    resourceVersion = page.resourceVersion
    lastError = nil
    return .finishListAndWatch(openStream(jitter: jitter))
  }

  /// A list page or the opening of a stream failed.
  package mutating func failed(_ error: KubernetesError, jitter: UInt32, now: MonotonicTime) -> Action {
    switch state {
    case .listing(let request):
      lastError = error
      if error.code == .expired { return restartList(request, jitter: jitter, now: now) }
      return wait(error, then: .list(request), jitter: jitter, now: now)
    case .opening:
      lastError = error
      if Self.needsList(error) { return relist(error, jitter: jitter, now: now) }
      return wait(error, then: .watch, jitter: jitter, now: now)
    case .idle, .watching, .waiting: return .ignore
    }
  }

  /// The stream's head arrived with status 200.
  package mutating func streamOpened(now: MonotonicTime) -> Action {
    guard case .opening = state else { return .ignore }
    state = .watching(since: now, lastActivity: now)
    return .read
  }

  /// An event arrived.
  package mutating func event(_ progress: WatchProgress, jitter: UInt32, now: MonotonicTime) -> Action {
    guard case .watching(let since, _) = state else { return .ignore }
    switch progress {
    case .version(let version):
      if !version.isEmpty { resourceVersion = version }
      state = .watching(since: since, lastActivity: now)
      if now - since >= configuration.shortStreamLife { noteHealth() }
      return .read
    case .error(let status):
      if now - since >= configuration.shortStreamLife { noteHealth() }
      let error = KubernetesError(status: status)
      lastError = error
      if Self.needsList(error) { return relist(error, jitter: jitter, now: now) }
      return wait(error, then: .watch, jitter: jitter, now: now)
    }
  }

  /// The stream ended.
  package mutating func streamEnded(_ end: StreamEnd, jitter: UInt32, now: MonotonicTime) -> Action {
    guard case .watching(let since, _) = state else { return .ignore }
    if now - since >= configuration.shortStreamLife {
      noteHealth()
      if case .failed(let error) = end { lastError = error }
      return .watch(openStream(jitter: jitter))
    }
    let error: KubernetesError
    switch end {
    case .failed(let cause): error = cause
    case .closedByServer, .idle:
      error = KubernetesError(.unreachable, "The server ended the watch as soon as it was open.")
    }
    lastError = error
    return wait(error, then: .watch, jitter: jitter, now: now)
  }

  /// `nextDeadline` may have come: a wait is over, or a stream was silent for too long.
  package mutating func deadline(jitter: UInt32, now: MonotonicTime) -> Action {
    guard let deadline = nextDeadline else { return .ignore }
    switch state {
    case .waiting(let until, let next):
      if now < deadline { return .wait(until: until) }
      switch next {
      case .list(let request): return beginList(request)
      case .watch: return .watch(openStream(jitter: jitter))
      }
    case .watching:
      if now < deadline { return .read }
      return streamEnded(.idle, jitter: jitter, now: now)
    case .idle, .listing, .opening: return .ignore
    }
  }

  // MARK: Steps

  private mutating func beginList(_ request: ListRequest) -> Action {
    if request.isFirstPage { listCount += 1 }
    state = .listing(request)
    return .list(request)
  }

  private mutating func openStream(jitter: UInt32) -> WatchRequest {
    let extra = Self.fraction(jitter, of: configuration.streamTimeout / 2)
    let request = WatchRequest(
      resourceVersion: resourceVersion, timeout: configuration.streamTimeout + extra,
      idleTimeout: configuration.idleTimeout)
    state = .opening(request)
    return request
  }

  /// A page expired: once more from the start, now in one piece, which can't expire.
  private mutating func restartList(_ request: ListRequest, jitter: UInt32, now: MonotonicTime) -> Action {
    let wasPaged = request.continueToken != nil
    let next = ListRequest(isFirstPage: true, limit: nil, continueToken: nil, resourceVersion: nil)
    if wasPaged { return beginList(next) }
    return wait(lastError, then: .list(next), jitter: jitter, now: now)
  }

  /// The version is too old: list the newest state; at once, unless the last list led to the same.
  private mutating func relist(_ error: KubernetesError, jitter: UInt32, now: MonotonicTime) -> Action {
    let request = ListRequest(
      isFirstPage: true, limit: configuration.pageSize, continueToken: nil, resourceVersion: nil)
    if consecutiveFailures == 0, error.code == .expired {
      consecutiveFailures = 1
      return beginList(request)
    }
    return wait(error, then: .list(request), jitter: jitter, now: now)
  }

  private mutating func wait(
    _ error: KubernetesError?, then next: Resumption, jitter: UInt32, now: MonotonicTime
  ) -> Action {
    consecutiveFailures += 1
    var delay = configuration.initialBackoff
    for _ in 1..<min(consecutiveFailures, 32) {
      delay = min(delay * 2, configuration.maximumBackoff)
    }
    // What only a person can mend isn't asked for often.
    if error?.disposition == .terminal { delay = configuration.maximumBackoff }
    delay = min(delay, configuration.maximumBackoff)
    // Half of the wait is certain, half random: clients that failed together come back apart.
    delay = delay / 2 + Self.fraction(jitter, of: delay / 2)
    if let asked = error?.retryAfter { delay = max(delay, asked + Self.fraction(jitter, of: asked / 4)) }
    let until = now + delay
    state = .waiting(until: until, next: next)
    return .wait(until: until)
  }

  private mutating func noteHealth() {
    consecutiveFailures = 0
    lastError = nil
  }

  /// Whether a stream can't go on from the version it has.
  private static func needsList(_ error: KubernetesError) -> Bool {
    // 400 is the answer to a version that the server can't read, as after a change of its storage.
    error.code == .expired || error.code == .invalid
  }

  private static func fraction(_ jitter: UInt32, of duration: Duration) -> Duration {
    let nanoseconds = (Int128(duration.nanosecondsClamped) * Int128(jitter)) >> 32
    return .nanoseconds(Int64(clamping: nanoseconds))
  }
}
