package import KubernetesCore

/// What an earlier life of the node reported of a container.
package struct InheritedContainer: Hashable, Sendable {
  /// How often it had been started again.
  package var restartCount: Int
  /// Whether it had ever been started.
  package var hadStarted: Bool
  /// How it had ended, if it had.
  package var termination: ContainerTermination?

  /// Makes a record.
  package init(restartCount: Int, hadStarted: Bool, termination: ContainerTermination? = nil) {
    self.restartCount = restartCount
    self.hadStarted = hadStarted
    self.termination = termination
  }
}

/// How a run of a container ended.
package struct ContainerTermination: Hashable, Sendable {
  /// The exit status; 128 + signal when a signal ended it.
  package var exitCode: Int32
  /// The signal that ended it; 0 for none.
  package var signal: Int32
  /// `Completed`, `Error`, `StartError` or `ContainerStatusUnknown`.
  package var reason: String
  /// More, in words.
  package var message: String?
  /// When the run began.
  package var startedAt: Timestamp?
  /// When it ended.
  package var finishedAt: Timestamp?

  /// Makes a record.
  package init(
    exitCode: Int32, signal: Int32 = 0, reason: String, message: String? = nil, startedAt: Timestamp? = nil,
    finishedAt: Timestamp? = nil
  ) {
    self.exitCode = exitCode
    self.signal = signal
    self.reason = reason
    self.message = message
    self.startedAt = startedAt
    self.finishedAt = finishedAt
  }
}

/// One container's part of a pod's life.
struct ContainerLifecycle: Hashable, Sendable {
  /// Where it stands.
  enum State: Hashable, Sendable {
    /// It hasn't started, or not again; exits: starting.
    case waiting(reason: String?, message: String?, until: MonotonicTime?)
    /// The node was asked to start it; exits: running, waiting, ended.
    case starting
    /// Its process runs; exits: ended.
    case running(since: Moment)
    /// Its process has ended; exits: waiting, starting.
    case ended(ContainerTermination)
  }

  /// The counts of one kind of probe within one run.
  struct ProbeProgress: Hashable, Sendable {
    var successes = 0
    var failures = 0
    var nextAt: MonotonicTime
    var inFlight: PodLifecycle.CheckID?
    var timeoutAt: MonotonicTime?
    /// Nil before either threshold was reached.
    var result: Bool?
  }

  /// The way from the wish to end a run to its end.
  struct Stop: Hashable, Sendable {
    /// When SIGKILL follows.
    var killAt: MonotonicTime
    var hook: PodLifecycle.CheckID?
    /// Whether it may be asked to end; a sidecar waits until nobody needs it.
    var hasTurn: Bool
    /// Whether it gets no time at all.
    var isImmediate: Bool
    var isTerminated = false
    var isKilled = false
  }

  let manifest: ContainerManifest
  var state = State.waiting(reason: nil, message: nil, until: nil)
  /// The number of the present or last run, by which late news of older ones are told apart.
  var run = 0
  var restartCount = 0
  var lastTermination: ContainerTermination?
  var backoff = Duration.zero
  var probes: [PodLifecycle.CheckID.Kind: ProbeProgress] = [:]
  var stop: Stop?
  /// Whether the next start is one more of the same container.
  private var hasRun = false
  private var lastRunLength = Duration.zero
  private var hasEndedBefore = false

  var name: String { manifest.name }
  var role: ContainerManifest.Role { manifest.role }

  init(_ manifest: ContainerManifest, inherited: InheritedContainer?, now: Moment) {
    self.manifest = manifest
    guard let inherited, inherited.hadStarted else { return }
    restartCount = inherited.restartCount
    hasRun = true
    let end =
      inherited.termination
      ?? ContainerTermination(
        exitCode: 137, reason: "ContainerStatusUnknown",
        message: "The node was restarted; its processes ended with it.",
        finishedAt: now.wall)
    // What init containers did for the last life is gone with its folders.
    if manifest.role == .app { state = .ended(end) } else { lastTermination = end }
  }

  var isRunning: Bool { if case .running = state { true } else { false } }
  var isActive: Bool { isRunning || state == .starting }
  var termination: ContainerTermination? { if case .ended(let end) = state { end } else { nil } }
  var hasEnded: Bool { termination != nil }
  var hasSucceeded: Bool { termination?.exitCode == 0 }

  /// Running, and past its startup probe.
  var isStarted: Bool {
    guard isRunning else { return false }
    return manifest.startupProbe == nil || probes[.startup]?.result == true
  }

  /// Started, and past its readiness probe.
  var isReady: Bool {
    if role == .initial { return hasSucceeded }
    return isStarted && (manifest.readinessProbe == nil || probes[.readiness]?.result == true)
  }

  var restartAt: MonotonicTime? { if case .waiting(_, _, let until) = state { until } else { nil } }

  /// When something is due for the run.
  var deadlines: [MonotonicTime] {
    var deadlines: [MonotonicTime] = []
    if isRunning {
      for kind in activeProbes {
        guard let progress = probes[kind] else { continue }
        deadlines.append(progress.timeoutAt ?? progress.nextAt)
      }
      if let stop, !stop.isKilled { deadlines.append(stop.killAt) }
    }
    return deadlines
  }

  /// The probes that are carried out now: the startup probe alone, then the others; while the run ends, readiness alone.
  var activeProbes: [PodLifecycle.CheckID.Kind] {
    guard isRunning else { return [] }
    if manifest.startupProbe != nil && probes[.startup]?.result != true { return stop == nil ? [.startup] : [] }
    return stop == nil ? [.liveness, .readiness] : [.readiness]
  }

  func probe(_ kind: PodLifecycle.CheckID.Kind) -> Probe? {
    switch kind {
    case .startup: manifest.startupProbe
    case .liveness: manifest.livenessProbe
    case .readiness: manifest.readinessProbe
    case .preStop: nil
    }
  }

  mutating func beginStart() {
    if let termination { lastTermination = termination }
    if hasRun { restartCount += 1 }
    run += 1
    state = .starting
    stop = nil
    probes = [:]
  }

  mutating func hasStarted(_ now: Moment) {
    hasRun = true
    state = .running(since: now)
    for kind in [PodLifecycle.CheckID.Kind.startup, .liveness, .readiness] {
      if let probe = probe(kind) { probes[kind] = ProbeProgress(nextAt: now.monotonic + probe.initialDelay) }
    }
  }

  mutating func end(_ status: PodLifecycle.ExitStatus, _ now: Moment) {
    var end: ContainerTermination
    switch status {
    case .code(let code): end = ContainerTermination(exitCode: code, reason: code == 0 ? "Completed" : "Error")
    case .signal(let signal): end = ContainerTermination(exitCode: 128 + signal, signal: signal, reason: "Error")
    case .unknown(let message):
      end = ContainerTermination(exitCode: 137, reason: "ContainerStatusUnknown", message: message)
    }
    lastRunLength = .zero
    if case .running(let since) = state {
      end.startedAt = since.wall
      lastRunLength = now.monotonic - since.monotonic
    }
    end.finishedAt = now.wall
    state = .ended(end)
    stop = nil
    probes = [:]
  }

  mutating func endUnstarted(_ message: String, _ now: Moment) {
    hasRun = true
    lastRunLength = .zero
    state = .ended(
      ContainerTermination(
        exitCode: 128, reason: "StartError", message: message, startedAt: nil, finishedAt: now.wall))
    stop = nil
  }

  /// The checks in flight, which the run's end ends.
  func endChecks() -> [PodLifecycle.CheckID] {
    PodLifecycle.CheckID.Kind.allCases.compactMap { probes[$0]?.inFlight } + (stop?.hook.map { [$0] } ?? [])
  }

  /// The pause before the next start: none the first time, then doubling; anew after a long run.
  mutating func nextBackoff() -> Duration {
    if lastRunLength >= PodLifecycle.Limits.backoffReset {
      backoff = .zero
      hasEndedBefore = false
    }
    guard hasEndedBefore else {
      hasEndedBefore = true
      return .zero
    }
    backoff =
      backoff == .zero
      ? PodLifecycle.Limits.firstBackoff : min(backoff * 2, PodLifecycle.Limits.longestBackoff)
    return backoff
  }

  /// Drops a pause that is over: what keeps the container waiting still is another one, whose news will come.
  mutating func passDeadline(_ now: Moment) {
    guard case .waiting(let reason, let message, let until?) = state, until <= now.monotonic else { return }
    state = .waiting(reason: reason, message: message, until: nil)
  }

  mutating func waitToRestart(after pause: Duration, _ message: String, _ now: Moment) {
    lastTermination = termination
    state = .waiting(reason: "CrashLoopBackOff", message: message, until: now.monotonic + pause)
  }
}
