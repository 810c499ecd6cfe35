import CoordinationProtocol
import Coordinator
import FleetCoordination
import KubernetesCore
import LocalAPI
import RateBudget
import ScalingAPI
import ScalingController
import SwarmCoordination
import TestSupport

@testable import KubernetesRuntime

/// A fleet on a cluster, in virtual time: the local API server with its Deployment and ReplicaSet controllers, a node,
/// workers with the library's pool, and the coordinator's state. All of it is the product's own state machines; what is
/// made up is what lies between them: the network, the kubelet, and the work.
struct World {
  /// What is counted.
  struct Tally: Hashable, Sendable {
    /// Busy workers that a scale-down removed, though nothing allowed that.
    var hit: [String] = []
    /// Busy workers that were removed because their drain had run out of time.
    var timedOut = 0
    /// Busy workers that a rollout removed; they finish within their grace period.
    var rolledOut = 0
    /// Tasks that were cut off after a scale-down: their worker's grace period ended first, or it has none.
    var lost = 0
    /// Tasks that a rollout cut off.
    var lostInRollout = 0
    /// Tasks that were finished.
    var finished = 0
    /// Workers that were removed in all.
    var removed = 0
    /// Drain orders that reached a worker.
    var orders = 0
  }

  /// One worker's process.
  struct Worker {
    var uid: String
    var pool: AgentPoolState
    /// Counts its streams; what is on its way of an older one is lost.
    var stream: UInt64 = 0
    var isJoined = false
    /// Its piece of work and until when.
    var task: (number: UInt64, until: Duration)?
    /// Whether a task may be on its way to it.
    var isFetching = false
    /// When the last frame from it arrives, and the last one to it: a stream keeps their order.
    var lastArrival = Duration.zero
    var lastOrder = Duration.zero
    /// Whether orders never reach it.
    var isDeaf = false
    /// Until when its probe fails.
    var unreadyUntil = Duration.zero
    var isReady = false
    var isRunning = false
    /// When it will be killed; nil: it isn't being deleted.
    var killedAt: Duration?
    /// Whether a rollout removes it.
    var isRolledOut = false
  }

  enum Event {
    case poll(String)
    case fetched(String)
    case finish(String, UInt64)
    case report(String, UInt64)
    case toCoordinator(String, UInt64, WorkerFrame)
    case toWorker(String, UInt64, DrainOrder)
    case join(String)
    case start(String)
    case probe(String)
    case kill(String)
    case sample
    case watch
    case settle
    case action(@Sendable (inout World) -> Void)
  }

  let scenario: Scenario
  var random: SeededGenerator
  private(set) var now = Duration.zero
  var cluster: ClusterState
  var coordinator: CoordinatorState?
  var coordinators = 0
  var snapshot: FleetSnapshot?
  var workers: [String: Worker] = [:]
  /// How many pieces of work there are to be done at once.
  var demand: Int
  var tally = Tally()
  /// When the controller wants to be woken: an answer has come.
  var isWoken = false
  /// The most pods that were alive at once, and the moments at which the count was written.
  var writes: [(at: Duration, replicas: Int)] = []
  /// Whether the rollout is stuck: whoever is removed now is removed by a shrink.
  var isRolloutStuck = false
  /// Whether the next write of the scale meets somebody else's.
  var conflicts = 0
  private let podStore: InformerStore<Pod>
  private let autoscalers: InformerStore<SwarmAutoscaler>
  private var streams: UInt64 = 0
  private var fetching = 0
  private var decoded: [String: (version: String, pod: Pod)] = [:]
  private var queue = EventQueue()
  private var cursor: UInt64 = 0
  private var watched: UInt64 = 0
  private var streamNames: [UInt64: String] = [:]
  private var answers: [String: DrainState] = [:]

  /// A version of the workers that can't be had.
  static let brokenImage = "worker:broken"
  static let start = Timestamp(secondsSinceEpoch: 1_780_293_600)
  var wall: Timestamp { Self.start + now }
  var budgetNow: BudgetTime { .zero + now }

  init(_ scenario: Scenario, podStore: InformerStore<Pod>, autoscalers: InformerStore<SwarmAutoscaler>) {
    self.scenario = scenario
    random = SeededGenerator(seed: scenario.seed)
    demand = scenario.demand
    self.podStore = podStore
    self.autoscalers = autoscalers
    // Events of controllers aren't looked at; keeping them took a fifth of the time.
    var limits = ClusterState.Limits()
    limits.events = 4
    cluster = ClusterState(limits: limits, at: Self.start, using: &random)
    newCoordinator(isSuccessor: false)
    send("POST", "/api/v1/nodes", Manifests.node)
    send("POST", "/apis/apps/v1/namespaces/default/deployments", Manifests.deployment(scenario))
    send("POST", "/apis/swarmscale.dev/v1alpha1/namespaces/default/swarmautoscalers", Manifests.autoscaler(scenario))
    schedule(.settle, in: .zero)
    schedule(.sample, in: .seconds(1))
    schedule(.watch, in: .milliseconds(50))
  }

  // MARK: Time

  mutating func schedule(_ event: Event, in delay: Duration) { queue.push(event, at: now + delay) }

  mutating func draw(_ range: ClosedRange<Int>) -> Duration {
    .milliseconds(Int.random(in: range, using: &random))
  }

  /// Lets everything happen until `moment`.
  mutating func advance(to moment: Duration, stoppingWhenWoken: Bool = false) {
    while let at = queue.first, at <= moment {
      if stoppingWhenWoken, isWoken { return }
      now = max(now, at)
      if let event = queue.pop() { handle(event) }
    }
    if stoppingWhenWoken, isWoken { return }
    now = max(now, moment)
  }

  private mutating func handle(_ event: Event) {
    switch event {
    case .poll(let name): poll(name)
    case .fetched(let name): fetched(name)
    case .finish(let name, let number): finish(name, number)
    case .report(let name, let stream): report(name, stream)
    case .toCoordinator(let name, let stream, let frame): deliver(frame, from: name, stream)
    case .toWorker(let name, let stream, let order): deliver(order, to: name, stream)
    case .join(let name): join(name)
    case .start(let name): begin(name)
    case .probe(let name): probe(name)
    case .kill(let name): kill(name)
    case .sample: sample()
    case .watch: watch()
    case .settle: settle()
    case .action(let body): body(&self)
    }
  }

  // MARK: API

  /// Status and document of a request; controllers look at what it changed a moment later.
  @discardableResult
  mutating func send(
    _ method: String, _ path: String, _ body: JSONValue? = nil, type: String = "application/json",
    query: [(name: String, value: String)] = []
  ) -> (status: Int, document: JSONValue) {
    answer(APICall(method, path, query: query, contentType: type, userAgent: "tests/1", body: body?.text ?? []))
  }

  mutating func answer(_ call: APICall) -> (status: Int, document: JSONValue) {
    let answer = cluster.respond(to: call, at: wall, using: &random)
    if call.method != "GET" { schedule(.settle, in: draw(2...60)) }
    switch answer {
    case .document(let status, let document, _): return (status, document)
    case .text(let status, let text): return (status, .string(text))
    case .watch, .log, .metrics, .external: return (200, .null)
    }
  }

  private mutating func settle() {
    _ = cluster.settle(at: wall, using: &random)
    guard cluster.store.version != cursor else { return }
    cursor = cluster.store.version
    playNode()
  }

  var pods: [(name: String, object: JSONValue)] {
    cluster.store.list("pods", namespace: "default").map { ($0.key.name, $0.object) }
  }

  static func path(_ pod: String) -> String { "/api/v1/namespaces/default/pods/\(pod)" }

  // MARK: The node

  /// Whether a rollout removes a pod: its ReplicaSet has been given up, or others have pods to keep as well.
  private func isRolledOut(_ pod: JSONValue) -> Bool {
    if isRolloutStuck { return false }
    let sets = cluster.store.list("replicasets", namespace: "default")
    func replicas(_ set: JSONValue) -> Int64 { set[path: ["spec", "replicas"]]?.intValue ?? 0 }
    if sets.count(where: { replicas($0.object) > 0 }) > 1 { return true }
    let hash = pod[path: ["metadata", "labels", "pod-template-hash"]]?.stringValue ?? ""
    return sets.contains { $0.key.name.hasSuffix(hash) && replicas($0.object) == 0 }
  }

  private mutating func playNode() {
    for (name, pod) in pods {
      if PodFacts.isDeleting(pod) {
        beginEnd(name, pod)
      } else if !PodFacts.node(pod).isEmpty, PodFacts.phase(pod) == "Pending", workers[name] == nil,
        pod[path: ["spec", "containers"]]?[0]?["image"]?.stringValue != Self.brokenImage
      {
        let uid = pod[path: ["metadata", "uid"]]?.stringValue ?? ""
        workers[name] = Worker(uid: uid, pool: AgentPoolState(slots: 1, now: budgetNow))
        schedule(.start(name), in: draw(500...3_000))
      }
    }
  }

  private mutating func begin(_ name: String) {
    guard workers[name]?.killedAt == nil, workers[name] != nil else { return }
    workers[name]?.isRunning = true
    if scenario.deaf.contains(workers.values.count(where: \.isRunning)) { workers[name]?.isDeaf = true }
    send(
      "PATCH", "\(Self.path(name))/status",
      [
        "status": [
          "phase": "Running", "startTime": .string(wall.rfc3339),
          "conditions": [["type": "Ready", "status": "False", "lastTransitionTime": .string(wall.rfc3339)]],
        ]
      ], type: "application/strategic-merge-patch+json")
    schedule(.probe(name), in: draw(200...2_000))
    schedule(.join(name), in: draw(100...1_500))
    schedule(.poll(name), in: draw(100...2_000))
  }

  private mutating func probe(_ name: String) {
    guard let worker = workers[name], worker.killedAt == nil else { return }
    let isReady =
      now >= worker.unreadyUntil
      && !(scenario.hasReadinessProbe && worker.pool.isDrained(ClaudeGateway.Activity(), now: budgetNow))
    if isReady != worker.isReady {
      workers[name]?.isReady = isReady
      send(
        "PATCH", "\(Self.path(name))/status",
        [
          "status": [
            "conditions": [
              [
                "type": "Ready", "status": isReady ? "True" : "False", "lastTransitionTime": .string(wall.rfc3339),
              ]
            ]
          ]
        ], type: "application/strategic-merge-patch+json")
    }
    schedule(.probe(name), in: .seconds(2))
  }

  /// A pod is to end: who works then is what the tests are about.
  private mutating func beginEnd(_ name: String, _ pod: JSONValue) {
    guard var worker = workers[name] else {
      send("DELETE", Self.path(name), ["gracePeriodSeconds": 0])
      return
    }
    guard worker.killedAt == nil else { return }
    let grace = scenario.hasPreStop ? scenario.timeout : .zero
    worker.killedAt = now + grace
    worker.pool.close()
    tally.removed += 1
    if worker.task != nil || worker.isFetching {
      if isRolledOut(pod) {
        tally.rolledOut += 1
        worker.isRolledOut = true
      } else if isOverdue(name) {
        tally.timedOut += 1
      } else {
        tally.hit.append("\(name) at \(now)")
      }
    }
    workers[name] = worker
    if worker.task == nil, !worker.isFetching || grace == .zero {
      kill(name)
    } else {
      schedule(.kill(name), in: grace)
    }
  }

  /// Whether the drain order that stands for a worker has run out of time: the policy then gives its work up.
  private func isOverdue(_ name: String) -> Bool {
    coordinator?.workers(now: budgetNow).contains {
      $0.identity.pod == name && ($0.drain.map { $0.age >= scenario.timeout } ?? false)
    } ?? false
  }

  private mutating func kill(_ name: String) {
    guard let worker = workers[name] else { return }
    if worker.task != nil {
      if worker.isRolledOut { tally.lostInRollout += 1 } else { tally.lost += 1 }
    }
    workers[name] = nil
    coordinate { $0.disconnect(StreamID(worker.stream), now: $1) }
    send("DELETE", Self.path(name), ["gracePeriodSeconds": 0])
  }

  // MARK: Workers

  private mutating func poll(_ name: String) {
    guard let worker = workers[name], worker.killedAt == nil else { return }
    let inHand = workers.values.count { $0.task != nil }
    guard worker.pool.hasRoom, inHand + fetching < demand else {
      schedule(.poll(name), in: draw(300...3_000))
      return
    }
    workers[name]?.pool.beginFetch()
    workers[name]?.isFetching = true
    fetching += 1
    schedule(.fetched(name), in: draw(2...300))
  }

  /// The queue answers; one time in two with a task even when the worker has begun to drain meanwhile.
  private mutating func fetched(_ name: String) {
    fetching -= 1
    guard var worker = workers[name] else { return }
    worker.isFetching = false
    workers[name] = worker
    defer { workers[name]?.pool.endFetch() }
    guard worker.killedAt == nil else {
      kill(name)
      return
    }
    guard !worker.pool.isDraining || Bool.random(using: &random) else {
      schedule(.report(name, worker.stream), in: draw(1...100))
      schedule(.poll(name), in: draw(300...3_000))
      return
    }
    let number = worker.pool.take(now: budgetNow)
    let length = draw(30_000...120_000)
    worker.task = (number, now + length)
    workers[name] = worker
    schedule(.finish(name, number), in: length)
    schedule(.report(name, worker.stream), in: draw(1...100))
  }

  private mutating func finish(_ name: String, _ number: UInt64) {
    guard var worker = workers[name], worker.task?.number == number else { return }
    worker.task = nil
    _ = worker.pool.leave(number, now: budgetNow)
    workers[name] = worker
    tally.finished += 1
    if worker.killedAt != nil {
      kill(name)
      return
    }
    schedule(.report(name, worker.stream), in: draw(1...100))
    schedule(.poll(name), in: draw(1...1_500))
  }

  /// The worker tells what is new, and is looked at again when it says so.
  private mutating func report(_ name: String, _ stream: UInt64) {
    guard var worker = workers[name], worker.stream == stream else { return }
    let report = worker.pool.report(ClaudeGateway.Activity(), now: budgetNow)
    workers[name] = worker
    if let next = report.next { schedule(.report(name, stream), in: max(.milliseconds(1), next - budgetNow)) }
    guard worker.isJoined, report.activity != nil || !report.answers.isEmpty else { return }
    var frame = WorkerFrame()
    frame.activity = report.activity
    frame.drainAnswers = report.answers
    let arrival = max(now + draw(1...150), worker.lastArrival)
    workers[name]?.lastArrival = arrival
    schedule(.toCoordinator(name, stream, frame), in: arrival - now)
  }

  // MARK: The coordinator

  mutating func newCoordinator(isSuccessor: Bool) {
    coordinators += 1
    snapshot = nil
    answers = [:]
    coordinator = CoordinatorState(
      configuration: CoordinatorConfiguration(), name: "c\(coordinators)", isSuccessor: isSuccessor, seed: 1,
      wall: WallTime(milliseconds: Self.start.secondsSinceEpoch * 1000) + now, now: budgetNow)
  }

  /// The leader ends; all streams with it.
  mutating func endCoordinator() {
    coordinator = nil
    snapshot = nil
    for name in workers.keys.sorted() {
      workers[name]?.isJoined = false
      workers[name]?.stream += 1_000_000
      if workers[name]?.isRunning == true { schedule(.join(name), in: draw(200...3_000)) }
    }
  }

  private mutating func join(_ name: String) {
    guard var worker = workers[name], !worker.isJoined, worker.isRunning else { return }
    guard coordinator != nil else {
      schedule(.join(name), in: draw(500...2_000))
      return
    }
    streams += 1
    worker.stream = streams
    streamNames[streams] = name
    worker.isJoined = true
    let hello = worker.hello(pod: name, now: budgetNow)
    workers[name] = worker
    // The hello is under way as everything else is.
    let stream = worker.stream
    let arrival = now + draw(5...200)
    workers[name]?.lastArrival = arrival
    schedule(
      .action { world in
        guard world.workers[name]?.stream == stream else { return }
        let effects = world.coordinate { $0.join(hello, stream: StreamID(stream), now: $1) } ?? []
        world.carry(effects)
        world.schedule(.report(name, stream), in: world.draw(1...100))
      }, in: arrival - now)
  }

  private mutating func deliver(_ frame: WorkerFrame, from name: String, _ stream: UInt64) {
    guard workers[name]?.stream == stream else { return }
    carry(coordinate { $0.handle(frame, from: StreamID(stream), now: $1) } ?? [])
  }

  private mutating func deliver(_ order: DrainOrder, to name: String, _ stream: UInt64) {
    guard var worker = workers[name], worker.stream == stream, !worker.isDeaf else { return }
    worker.pool.receive(order, ClaudeGateway.Activity(), now: budgetNow)
    tally.orders += 1
    workers[name] = worker
    report(name, stream)
  }

  private mutating func carry(_ effects: [CoordinatorEffect]) {
    for case .tell(let stream, .drain(let order)) in effects {
      guard let name = streamNames[stream.number], workers[name]?.stream == stream.number else { continue }
      let arrival = max(now + draw(2...200), workers[name]?.lastOrder ?? now)
      workers[name]?.lastOrder = arrival
      schedule(.toWorker(name, stream.number, order), in: arrival - now)
    }
  }

  mutating func order(_ body: (inout CoordinatorState, BudgetTime) -> [CoordinatorEffect]) {
    carry(coordinate(body) ?? [])
    takeSnapshot()
  }

  /// Changes the coordinator's state, if there is one.
  @discardableResult
  mutating func coordinate<Value>(_ body: (inout CoordinatorState, BudgetTime) -> Value) -> Value? {
    let moment = budgetNow
    guard var state = coordinator else { return nil }
    coordinator = nil
    defer { coordinator = state }
    return body(&state, moment)
  }

  private mutating func takeSnapshot() {
    guard let report = coordinate({ $0.report(now: $1) }) else { return }
    snapshot = FleetSnapshot(report, budgets: [], at: wall)
    var new: [String: DrainState] = [:]
    for worker in report.workers { new[worker.identity.pod] = worker.drain?.answer }
    if new != answers { isWoken = true }
    answers = new
  }

  private mutating func sample() {
    coordinate { _ = $0.advance(now: $1) }
    takeSnapshot()
    let gone = coordinator?.workers(now: budgetNow).filter { !$0.isConnected && workers[$0.identity.pod] == nil } ?? []
    coordinate { $0.forgetLost(gone.map(\.identity.client), now: $1) }
    schedule(.sample, in: .seconds(1))
  }

  // MARK: The controller's caches

  /// The controller's watches deliver what has happened until now.
  private mutating func watch() {
    schedule(.watch, in: draw(50...400))
    guard watched != cluster.store.version else { return }
    watched = cluster.store.version
    var seen: [String: (version: String, pod: Pod)] = [:]
    podStore.beginList()
    for (name, object) in pods {
      let version = object[path: ["metadata", "resourceVersion"]]?.stringValue ?? ""
      var entry = decoded[name]
      if entry?.version != version {
        guard let pod = try? KubernetesJSON.decode(Pod.self, from: object) else { continue }
        entry = (version, pod)
      }
      if let entry {
        seen[name] = entry
        _ = podStore.put(entry.pod)
      }
    }
    _ = podStore.finishList()
    decoded = seen
    autoscalers.beginList()
    for entry in cluster.store.list("swarmautoscalers", namespace: "default") {
      if let object = try? KubernetesJSON.decode(SwarmAutoscaler.self, from: entry.object) {
        _ = autoscalers.put(object)
      }
    }
    _ = autoscalers.finishList()
  }
}
