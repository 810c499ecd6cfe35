import KubernetesCore
import KubernetesRuntime
import Logging
import Synchronization

/// All pods of this node: takes in what the API server wants and what the processes do, and carries out what each pod's
/// ``PodLifecycle`` says.
///
/// Any thread may bring news. The state is asked one question at a time; effects follow after the lock is let go, and
/// what takes long is left to queues: starts, folders and requests. An effect that comes late does no harm, because each
/// names the run that it is meant for.
final class PodEngine: Sendable {
  /// Work that takes long.
  enum Job: Hashable, Sendable {
    case prepare(uid: String)
    case start(uid: String, container: Int)
    case renewTokens(uid: String)
    case remove(uid: String)
  }

  /// A check under way.
  enum RunningCheck: Sendable {
    case process(ContainerProcess)
    case connection(UInt64)
  }

  struct Entry {
    var pod: NodePod
    var lifecycle: PodLifecycle
    let address: String
    var facts: LaunchFacts
    var deadline: MonotonicTime?
    var requestedGrace: Duration?
    var processes: [Int: ContainerProcess] = [:]
    /// What the present run of each container was started with.
    var launches: [Int: Launch] = [:]
    var checks: [PodLifecycle.CheckID: RunningCheck] = [:]
    /// Connections whose outcome is known and whose rest is still read, by container and kind.
    var lingering: [[Int]: UInt64] = [:]
    var tokens: [PodVolumes.Token] = []
    var usage: [Int: UsageWindow] = [:]
    var sentStatus: JSONValue?
    /// The ConfigMaps and Secrets of the environment as they were last read, for starts while the API server is away.
    var values: [DataReference: [String: String]] = [:]
    /// Whether the API server has no such pod any more.
    var isGone = false
    var hasReleased = false
  }

  /// A pod of which only the end is told.
  struct Verdict: Sendable {
    var pod: NodePod
    var refusal: Admission.Refusal?
    var isTold = false
  }

  struct State {
    var entries: [String: Entry] = [:]
    var verdicts: [String: Verdict] = [:]
    var admission: Admission
    var addresses: AddressPool
    var isEnding = false
    var machineUsage = UsageWindow()
    var endWaiter: Wakeup?
  }

  let configuration: NodeConfiguration
  let client: APIClient
  let objects: PodObjects
  let loop: DescriptorLoop
  let time: any TimeSource
  let logger: Logger
  let events: EventRecorder
  let base: [Variable]
  let allocatable: [String: Quantity]
  let state: Mutex<State>
  let timer = Wakeup()
  private let queues = Mutex<(jobs: WorkQueueRunner<Job>?, reports: WorkQueueRunner<String>?)>((nil, nil))

  init(
    _ configuration: NodeConfiguration, client: APIClient, loop: DescriptorLoop, events: EventRecorder,
    environment: [String: String], machine: Machine, logger: Logger
  ) {
    self.configuration = configuration
    self.client = client
    self.loop = loop
    self.events = events
    self.logger = logger
    time = client.time
    objects = PodObjects(client: client)
    allocatable = configuration.allocatable(machine)
    base = inheritedVariables(environment, allowList: configuration.environmentAllowList)
    state = Mutex(
      State(
        admission: Admission(allocatable: allocatable), addresses: AddressPool(block: configuration.addressBlock)))
  }

  /// Makes the queues; they hold the engine weakly, since it holds them.
  func makeQueues() -> (jobs: WorkQueueRunner<Job>, reports: WorkQueueRunner<String>) {
    let backoff = Backoff(base: .milliseconds(500), cap: .seconds(5))
    let jobs = WorkQueueRunner<Job>(
      workers: configuration.startWorkers, configuration: .init(backoff: backoff), time: time, logger: logger
    ) { [weak self] job in await self?.carryOut(job) ?? .done }
    let reports = WorkQueueRunner<String>(
      workers: configuration.statusWorkers, configuration: .init(backoff: backoff), time: time, logger: logger
    ) { [weak self] uid in await self?.report(uid) ?? .done }
    queues.withLock { $0 = (jobs, reports) }
    return (jobs, reports)
  }

  func add(_ job: Job) { queues.withLock { $0.jobs }?.add(job) }
  func addReport(_ uid: String) { queues.withLock { $0.reports }?.add(uid) }

  var now: Moment { Moment(monotonic: time.monotonicNow, wall: time.wallNow) }

  func podFolder(_ uid: String) -> String { "\(configuration.stateFolder)/pods/\(uid)" }

  // MARK: What the API server wants

  /// Takes in a pod's newest state.
  func observe(_ pod: NodePod) {
    let now = self.now
    enum Outcome {
      case nothing
      case report
      case event(PodLifecycle.Event)
    }
    let outcome = state.withLock { state -> Outcome in
      if state.entries[pod.uid] != nil {
        return state.update(pod) ? .event(.deletionRequested(grace: pod.deletionGrace ?? .zero)) : .report
      }
      if state.isEnding { return .nothing }
      if let verdict = state.verdicts[pod.uid] {
        state.verdicts[pod.uid] = Verdict(pod: pod, refusal: verdict.refusal, isTold: verdict.isTold)
        return .report
      }
      if pod.isOver || pod.deletionGrace != nil {
        // What ran in an earlier life has ended with it; only the deletion is to be confirmed.
        state.verdicts[pod.uid] = Verdict(pod: pod, isTold: true)
        return .report
      }
      if let refusal = state.admission.admit(pod.manifest) {
        state.verdicts[pod.uid] = Verdict(pod: pod, refusal: refusal)
        return .report
      }
      guard let address = pod.manifest.usesHostNetwork ? configuration.hostIP : state.addresses.take() else {
        state.admission.release(pod.uid)
        state.verdicts[pod.uid] = Verdict(
          pod: pod, refusal: Admission.Refusal(reason: "OutOfpods", message: "Pod was rejected: no address is left"))
        return .report
      }
      state.entries[pod.uid] = Entry(
        pod: pod, lifecycle: PodLifecycle(pod.manifest, inherited: pod.inherited, now: now), address: address,
        facts: facts(pod.manifest, address))
      return .event(.admitted)
    }
    switch outcome {
    case .nothing: break
    case .report: addReport(pod.uid)
    case .event(let event): send(event, to: pod.uid)
    }
  }

  /// Takes in that the API server has no pods but those with the identities `present` under `key`.
  func vanish(_ key: ObjectKey, present: String?) {
    let gone = state.withLock { state -> [String] in
      for (uid, verdict) in state.verdicts where verdict.pod.key == key && uid != present { state.verdicts[uid] = nil }
      let gone = state.entries.filter { $0.value.pod.key == key && $0.key != present }.map(\.key)
      for uid in gone { state.entries[uid]?.isGone = true }
      return gone
    }
    for uid in gone {
      // Nobody waits for it: it gets the least that the kubelet gives a pod deleted by force.
      send(.deletionRequested(grace: .seconds(1)), to: uid)
      if isFinished(uid) { add(.remove(uid: uid)) }
    }
  }

  private func facts(_ pod: PodManifest, _ address: String) -> LaunchFacts {
    var base = self.base
    base.append(Variable("HOSTNAME", pod.key.name))
    base.append(Variable("SWARMSCALE_POD_IP", address))
    if let server = configuration.apiServer {
      base.append(Variable("KUBERNETES_SERVICE_HOST", server.host))
      base.append(Variable("KUBERNETES_SERVICE_PORT", String(server.port)))
    }
    return LaunchFacts(
      podIP: address, hostIP: configuration.hostIP, allocatable: allocatable, base: base,
      mapsLoopback: configuration.mapsLoopback && !pod.usesHostNetwork)
  }

  // MARK: What happens

  /// Tells a pod's life of an event and carries out what follows.
  func send(_ event: PodLifecycle.Event, to uid: String) {
    let now = self.now
    let effects = state.withLock { state -> [PodLifecycle.Effect] in
      guard var entry = state.entries.removeValue(forKey: uid) else { return [] }
      let effects = entry.lifecycle.handle(event, now: now)
      entry.deadline = entry.lifecycle.nextDeadline
      state.entries[uid] = entry
      return effects
    }
    for effect in effects { carryOut(effect, uid) }
    timer.signal()
  }

  private func carryOut(_ effect: PodLifecycle.Effect, _ uid: String) {
    switch effect {
    case .prepare: add(.prepare(uid: uid))
    case .start(let container, _): add(.start(uid: uid, container: container))
    case .check(let id, let action): begin(id, action, uid)
    case .cancel(let id): cancel(id, uid)
    case .terminate(let container, let run): process(uid, container, run)?.terminate()
    case .kill(let container, let run): process(uid, container, run)?.kill()
    case .report: addReport(uid)
    case .note(let severity, let reason, let message): note(uid, severity, reason, message)
    case .finish: finish(uid)
    }
  }

  private func process(_ uid: String, _ container: Int, _ run: Int) -> ContainerProcess? {
    state.withLock { state in
      guard let entry = state.entries[uid], entry.lifecycle.run(of: container) == run else { return nil }
      return entry.processes[container]
    }
  }

  private func note(_ uid: String, _ severity: CoreEvent.Severity, _ reason: String, _ message: String) {
    guard let pod = state.withLock({ $0.entries[uid]?.pod }) else { return }
    let object = ObjectReference(
      apiVersion: "v1", kind: "Pod", namespace: pod.key.namespace, name: pod.key.name, uid: pod.uid)
    events.record(EventOccurrence(object: object, severity: severity, reason: reason, message: message))
  }

  /// Lets go what a pod that has ended held.
  private func finish(_ uid: String) {
    let (isGone, waiter) = state.withLock { state -> (Bool, Wakeup?) in
      guard let entry = state.entries[uid], !entry.hasReleased else { return (false, nil) }
      state.entries[uid]?.hasReleased = true
      state.entries[uid]?.tokens = []
      state.admission.release(uid)
      if !entry.pod.manifest.usesHostNetwork { state.addresses.giveBack(entry.address) }
      return (entry.isGone, state.endWaiter)
    }
    waiter?.signal()
    if isGone { add(.remove(uid: uid)) }
  }

  func isFinished(_ uid: String) -> Bool { state.withLock { $0.entries[uid]?.lifecycle.isFinished ?? true } }

  // MARK: Time

  /// Tells pods of their deadlines, until cancelled.
  func keepTime() async throws {
    while true {
      try Task.checkCancellation()
      let due = dueNow()
      for uid in due { send(.deadline, to: uid) }
      if due.isEmpty { try await timer.wait(until: nextDeadline(), time) }
    }
  }

  private func dueNow() -> [String] {
    let now = time.monotonicNow
    return state.withLock { state in
      state.entries.filter { $0.value.deadline.map { $0 <= now } ?? false }.map(\.key).sorted()
    }
  }

  private func nextDeadline() -> MonotonicTime? { state.withLock { $0.entries.values.compactMap(\.deadline).min() } }

  // MARK: The end

  /// Ends all pods; returns when none runs any more, or when `grace` and a little more is over.
  func end(grace: Duration) async throws {
    let waiter = Wakeup()
    let running = state.withLock { state -> [(uid: String, grace: Duration)] in
      state.isEnding = true
      state.endWaiter = waiter
      return state.entries.filter { !$0.value.lifecycle.isFinished }
        .map { (uid: $0.key, grace: min(grace, $0.value.pod.manifest.gracePeriod)) }
    }
    for pod in running { send(.nodeEnding(grace: pod.grace), to: pod.uid) }
    let deadline = time.monotonicNow + grace + .seconds(5)
    while time.monotonicNow < deadline, hasUnfinished { try await waiter.wait(until: deadline, time) }
    // Their last words; an API server that is gone, as at the end of local mode, isn't waited for.
    let flushed = time.monotonicNow + .seconds(3)
    while time.monotonicNow < flushed, hasUnreported { try await time.sleep(for: .milliseconds(20)) }
  }

  private var hasUnfinished: Bool { state.withLock { $0.entries.values.contains { !$0.lifecycle.isFinished } } }

  private var hasUnreported: Bool {
    state.withLock { state in
      state.entries.values.contains { !$0.isGone && $0.sentStatus?["phase"]?.stringValue != $0.lifecycle.phase }
    }
  }
}

extension PodEngine.State {
  /// Takes in a known pod's newest state; whether its deletion was asked for, or hurried, since.
  fileprivate mutating func update(_ pod: NodePod) -> Bool {
    guard let entry = entries[pod.uid] else { return false }
    entries[pod.uid]?.pod = pod
    guard let grace = pod.deletionGrace else { return false }
    if let before = entry.requestedGrace, before <= grace { return false }
    entries[pod.uid]?.requestedGrace = grace
    return true
  }
}
