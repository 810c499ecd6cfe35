package import KubernetesCore

/// A reading of both clocks: deadlines count in monotonic time, the status tells civil time.
package struct Moment: Hashable, Sendable {
  /// The monotonic time.
  package var monotonic: MonotonicTime
  /// The civil time.
  package var wall: Timestamp

  /// Makes a reading.
  package init(monotonic: MonotonicTime, wall: Timestamp) {
    self.monotonic = monotonic
    self.wall = wall
  }
}

/// The life of one pod on this node: which container starts, is probed, is asked to end and is killed, and when.
///
/// The rules are the kubelet's (1.33); where local mode differs, docs/process-node.md says so. Level-based: each event
/// changes what is known, then `advance` looks at all of it and gives what there is to do. Pure: no clock, no I/O.
package struct PodLifecycle: Sendable {
  /// The numbers behind the rules, with the kubelet's values.
  package enum Limits {
    /// The first pause before a container that ended again is started again (the first time it is started at once).
    package static let firstBackoff = Duration.seconds(10)
    /// The longest such pause (`MaxContainerBackOff`).
    package static let longestBackoff = Duration.seconds(300)
    /// A container that ran for so long begins anew with the pauses.
    package static let backoffReset = Duration.seconds(600)
    /// The least time between SIGTERM and SIGKILL when the grace period was used up before (`minimumGracePeriodInSeconds`).
    package static let leastGrace = Duration.seconds(2)
    /// The pause before what the pod refers to (a ConfigMap, a volume) is looked for again.
    package static let configurationRetry = Duration.seconds(5)
  }

  /// What happened.
  package enum Event: Hashable, Sendable {
    /// The pod is new on this node.
    case admitted
    /// Its volumes are there.
    case prepared
    /// Its volumes can't be made yet.
    case preparationFailed(String)
    /// A container's process runs.
    case started(Int, run: Int)
    /// A container couldn't be started.
    case startFailed(Int, run: Int, StartFailure)
    /// A container's process, and with it all of its children, has ended.
    case exited(Int, run: Int, ExitStatus)
    /// A probe's or hook's outcome.
    case checked(CheckID, CheckOutcome)
    /// The pod is to end within `grace`.
    case deletionRequested(grace: Duration)
    /// The node is about to end.
    case nodeEnding(grace: Duration)
    /// A deadline has come.
    case deadline
  }

  /// What is to be done, in order.
  package enum Effect: Hashable, Sendable {
    /// Make the pod's volumes.
    case prepare
    /// Start a container.
    case start(Int, run: Int)
    /// Carry out a probe or hook of a container.
    case check(CheckID, ProbeAction)
    /// Give up a probe or hook.
    case cancel(CheckID)
    /// Send SIGTERM to a container's first process.
    case terminate(Int, run: Int)
    /// Send SIGKILL to all of a container's processes.
    case kill(Int, run: Int)
    /// Tell the API server the new status.
    case report
    /// Tell people.
    case note(CoreEvent.Severity, reason: String, message: String)
    /// Nothing of the pod runs any more, and nothing ever will.
    case finish
  }

  /// Why a container couldn't be started.
  package enum StartFailure: Hashable, Sendable {
    /// Something that it refers to is missing; it stays waiting and is tried again.
    case waiting(reason: String, message: String)
    /// The program can't be run; that counts as a run that ended.
    case notRunnable(String)
    /// Nobody wants it any more.
    case abandoned
  }

  /// How a process ended.
  package enum ExitStatus: Hashable, Sendable {
    /// By itself, with a status of 0…255.
    case code(Int32)
    /// By a signal.
    case signal(Int32)
    /// Nobody knows: whoever looked after it is gone.
    case unknown(String)
  }

  /// Names one run of a probe or hook.
  package struct CheckID: Hashable, Sendable {
    /// What a check is for.
    package enum Kind: Int, Hashable, Sendable, CaseIterable {
      case startup
      case liveness
      case readiness
      case preStop
    }

    /// The container.
    package var container: Int
    /// What it is for.
    package var kind: Kind
    /// Its number within the pod.
    package var number: Int
  }

  /// What a probe or hook found.
  package enum CheckOutcome: Hashable, Sendable {
    case success
    /// Why not, in words.
    case failure(String)
  }

  /// Why a pod ends.
  package enum EndCause: Hashable, Sendable {
    /// Its app has ended, well or not.
    case completed
    /// Somebody deleted it.
    case deleted
    /// It failed for a reason of its own or of the node.
    case failed(reason: String, message: String)
  }

  struct Ending: Hashable, Sendable {
    var cause: EndCause
    var deadline: MonotonicTime
  }

  enum Preparation: Hashable, Sendable {
    case unasked
    case underWay
    case failed(String, retryAt: MonotonicTime)
    case done
  }

  /// What the pod is to be.
  package let manifest: PodManifest
  /// When the node took the pod on.
  package let startTime: Moment
  var containers: [ContainerLifecycle]
  var preparation = Preparation.unasked
  var hasInitialized = false
  var ending: Ending?
  var hasFinished = false
  var checkNumber = 0
  var conditions: [PodCondition] = []
  var reported: StatusSnapshot?

  /// Takes a pod on; `inherited` is what an earlier life of the node reported of its containers, by name.
  package init(_ manifest: PodManifest, inherited: [String: InheritedContainer] = [:], now: Moment) {
    self.manifest = manifest
    startTime = now
    containers = manifest.containers.map { ContainerLifecycle($0, inherited: inherited[$0.name], now: now) }
    let hadStarted = containers.contains { $0.restartCount > 0 || $0.lastTermination != nil || $0.hasEnded }
    if manifest.restartPolicy == .never && hadStarted {
      // Its processes ended with the node's earlier life, and what ended may not start again.
      ending = Ending(
        cause: .failed(
          reason: "NodeRestarted", message: "The node was restarted; the pod's processes ended with it."),
        deadline: now.monotonic)
    }
  }

  /// Whether nothing of the pod runs and nothing ever will.
  package var isFinished: Bool { hasFinished }
  /// Whether the pod is on its way out.
  package var isEnding: Bool { ending != nil }
  /// Whether this run of a container is still wanted; asked right before it is started.
  package func wantsStart(_ index: Int, run: Int) -> Bool {
    containers.indices.contains(index) && containers[index].run == run && containers[index].state == .starting
      && ending == nil
  }
  /// The containers that have a process now.
  package var runningContainers: [Int] { containers.indices.filter { containers[$0].isRunning } }

  /// Takes in an event and gives what there is to do.
  package mutating func handle(_ event: Event, now: Moment) -> [Effect] {
    var effects: [Effect] = []
    take(event, now, &effects)
    advance(now, &effects)
    updateConditions(now)
    let snapshot = self.snapshot
    if snapshot != reported {
      reported = snapshot
      effects.append(.report)
    }
    if ending != nil, !hasFinished, containers.allSatisfy({ !$0.isActive }), preparation != .underWay {
      hasFinished = true
      updateConditions(now)
      reported = self.snapshot
      if !effects.contains(.report) { effects.append(.report) }
      effects.append(.finish)
    }
    return effects
  }

  private mutating func take(_ event: Event, _ now: Moment, _ effects: inout [Effect]) {
    switch event {
    case .admitted, .deadline: break
    case .prepared:
      if preparation == .underWay { preparation = .done }
    case .preparationFailed(let message):
      guard preparation == .underWay else { return }
      preparation = .failed(message, retryAt: now.monotonic + Limits.configurationRetry)
      effects.append(.note(.warning, reason: "FailedMount", message: message))
    case .started(let index, let run):
      guard isCurrent(index, run), containers[index].state == .starting else { return }
      containers[index].hasStarted(now)
      effects.append(.note(.normal, reason: "Started", message: "Started container \(containers[index].name)"))
    case .startFailed(let index, let run, let failure):
      guard isCurrent(index, run), containers[index].state == .starting else { return }
      takeStartFailure(index, failure, now, &effects)
    case .exited(let index, let run, let status):
      guard isCurrent(index, run), containers[index].isActive else { return }
      for check in containers[index].endChecks() { effects.append(.cancel(check)) }
      containers[index].end(status, now)
    case .checked(let id, let outcome): takeCheck(id, outcome, now, &effects)
    case .deletionRequested(let grace): beginEnding(.deleted, grace: grace, now, &effects)
    case .nodeEnding(let grace):
      beginEnding(
        .failed(reason: "Terminated", message: "The pod was ended because its node is being shut down."),
        grace: grace, now, &effects)
    }
  }

  private func isCurrent(_ index: Int, _ run: Int) -> Bool {
    containers.indices.contains(index) && containers[index].run == run
  }

  private mutating func takeStartFailure(
    _ index: Int, _ failure: StartFailure, _ now: Moment, _ effects: inout [Effect]
  ) {
    switch failure {
    case .abandoned: containers[index].state = .waiting(reason: nil, message: nil, until: nil)
    case .waiting(let reason, let message):
      containers[index].state = .waiting(
        reason: reason, message: message, until: now.monotonic + Limits.configurationRetry)
      effects.append(.note(.warning, reason: "Failed", message: "\(containers[index].name): \(message)"))
    case .notRunnable(let message):
      containers[index].endUnstarted(message, now)
      effects.append(.note(.warning, reason: "Failed", message: "\(containers[index].name): \(message)"))
    }
  }

  /// What is to be done now, by all that is known.
  private mutating func advance(_ now: Moment, _ effects: inout [Effect]) {
    if ending == nil, let limit = manifest.activeDeadline, now.monotonic >= startTime.monotonic + limit {
      beginEnding(
        .failed(
          reason: "DeadlineExceeded", message: "The pod was active on the node longer than the specified deadline"),
        grace: manifest.gracePeriod, now, &effects)
    }
    if ending == nil {
      advancePreparation(now, &effects)
      if preparation == .done { advanceContainers(now, &effects) }
    }
    for index in containers.indices { advanceChecks(index, now, &effects) }
    if ending != nil { advanceEnding(now, &effects) }
    for index in containers.indices { advanceStop(index, now, &effects) }
    for index in containers.indices { containers[index].passDeadline(now) }
  }

  private mutating func advancePreparation(_ now: Moment, _ effects: inout [Effect]) {
    switch preparation {
    case .unasked: break
    case .failed(_, let retryAt): guard now.monotonic >= retryAt else { return }
    case .underWay, .done: return
    }
    preparation = .underWay
    effects.append(.prepare)
  }

  private mutating func advanceContainers(_ now: Moment, _ effects: inout [Effect]) {
    var mayGoOn = true
    for index in containers.indices where containers[index].role != .app {
      if containers[index].role == .initial {
        if hasInitialized || containers[index].hasSucceeded { continue }
        keepRunning(index, now, &effects)
        mayGoOn = false
      } else {
        keepRunning(index, now, &effects)
        // Once the app runs, a sidecar that starts again keeps nobody waiting.
        if !hasInitialized && !containers[index].isStarted { mayGoOn = false }
      }
      if ending != nil || !mayGoOn { return }
    }
    hasInitialized = true
    for index in containers.indices where containers[index].role == .app {
      keepRunning(index, now, &effects)
      if ending != nil { return }
    }
    let apps = containers.filter { $0.role == .app }
    if !apps.isEmpty, apps.allSatisfy({ $0.hasEnded && !mayRestart($0) }) {
      beginEnding(.completed, grace: manifest.gracePeriod, now, &effects)
    }
  }

  /// Whether a container that has ended is to start again.
  private func mayRestart(_ container: ContainerLifecycle) -> Bool {
    guard let end = container.termination else { return false }
    switch container.role {
    case .sidecar: return true
    case .initial: return end.exitCode != 0 && manifest.restartPolicy != .never
    case .app:
      switch manifest.restartPolicy {
      case .always: return true
      case .onFailure: return end.exitCode != 0
      case .never: return false
      }
    }
  }

  private mutating func keepRunning(_ index: Int, _ now: Moment, _ effects: inout [Effect]) {
    switch containers[index].state {
    case .starting, .running: return
    case .waiting(_, _, let until):
      if let until, now.monotonic < until { return }
    case .ended(let end):
      guard mayRestart(containers[index]) else {
        if containers[index].role == .initial && end.exitCode != 0 {
          beginEnding(.completed, grace: manifest.gracePeriod, now, &effects)
        }
        return
      }
      let pause = containers[index].nextBackoff()
      if pause > .zero {
        let name = containers[index].name
        containers[index].waitToRestart(
          after: pause,
          "back-off \(GoDuration.text(pause)) restarting failed container=\(name) "
            + "pod=\(manifest.key.name)_\(manifest.key.namespace)(\(manifest.uid))", now)
        effects.append(
          .note(
            .warning, reason: "BackOff", message: "Back-off restarting failed container \(name) in pod \(manifest.key)")
        )
        return
      }
    }
    containers[index].beginStart()
    effects.append(.start(index, run: containers[index].run))
  }

  /// The earliest moment at which `handle(.deadline)` has something to do; nil when only events can change anything.
  package var nextDeadline: MonotonicTime? {
    guard !hasFinished else { return nil }
    var deadlines = containers.flatMap(\.deadlines)
    if ending == nil {
      if case .failed(_, let retryAt) = preparation { deadlines.append(retryAt) }
      if let limit = manifest.activeDeadline { deadlines.append(startTime.monotonic + limit) }
      deadlines += containers.compactMap(\.restartAt)
    }
    return deadlines.min()
  }

  mutating func makeCheckID(_ container: Int, _ kind: CheckID.Kind) -> CheckID {
    checkNumber += 1
    return CheckID(container: container, kind: kind, number: checkNumber)
  }
}

extension PodLifecycle {
  /// The number of a container's present or last run.
  package func run(of index: Int) -> Int? { containers.indices.contains(index) ? containers[index].run : nil }
}

extension PodLifecycle {
  /// Whether a container runs or is being started.
  package func isActive(_ index: Int) -> Bool { containers.indices.contains(index) && containers[index].isActive }
}
