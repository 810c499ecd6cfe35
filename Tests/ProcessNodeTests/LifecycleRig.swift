import KubernetesCore
import ProcessNode
import Testing

/// One pod's life in virtual time: a test tells what happens and looks at what is asked for.
struct LifecycleRig {
  var life: PodLifecycle
  private(set) var now = Moment(
    monotonic: MonotonicTime(sinceOrigin: .zero), wall: Timestamp(secondsSinceEpoch: 1_767_225_600))
  /// What was asked for since the last look, without reports and notes.
  private(set) var asked: [PodLifecycle.Effect] = []
  /// What was noted, as `Reason`.
  private(set) var notes: [String] = []
  private(set) var finishes = 0

  init(_ pod: PodManifest, inherited: [String: InheritedContainer] = [:]) {
    life = PodLifecycle(pod, inherited: inherited, now: now)
  }

  /// A pod whose containers run some program.
  static func pod(
    _ containers: [ContainerManifest], policy: PodManifest.RestartPolicy = .always, grace: Int = 30
  ) -> PodManifest {
    PodManifest(
      key: ObjectKey(namespace: "ns", name: "pod"), uid: "uid", restartPolicy: policy, gracePeriod: .seconds(grace),
      containers: containers)
  }

  mutating func send(_ event: PodLifecycle.Event) {
    for effect in life.handle(event, now: now) {
      switch effect {
      case .report: break
      case .note(_, let reason, _): notes.append(reason)
      case .finish: finishes += 1
      default: asked.append(effect)
      }
    }
  }

  /// What was asked for since the last look.
  mutating func take() -> [PodLifecycle.Effect] {
    defer { asked = [] }
    return asked
  }

  /// Admits the pod and makes its volumes.
  mutating func begin() {
    send(.admitted)
    #expect(take() == [.prepare])
    send(.prepared)
  }

  /// Lets time pass, waking the pod at each deadline on the way.
  mutating func pass(_ duration: Duration) {
    let end = now.monotonic + duration
    while let deadline = life.nextDeadline, deadline <= end {
      move(to: max(deadline, now.monotonic))
      send(.deadline)
      if let next = life.nextDeadline, next <= now.monotonic {
        Issue.record("the deadline \(next) stays due: the driver would spin")
        break
      }
    }
    move(to: end)
  }

  private mutating func move(to time: MonotonicTime) {
    now.wall = now.wall + (time - now.monotonic)
    now.monotonic = time
  }

  /// Ends the present run of a container.
  mutating func exit(_ index: Int, _ status: PodLifecycle.ExitStatus) {
    send(.exited(index, run: life.run(of: index) ?? 0, status))
  }

  /// Says that the asked-for run of a container runs.
  mutating func start(_ index: Int) { send(.started(index, run: life.run(of: index) ?? 0)) }

  /// Answers the check that was asked for last.
  mutating func answer(_ kind: PodLifecycle.CheckID.Kind, _ outcome: PodLifecycle.CheckOutcome) {
    for case .check(let id, _) in asked.reversed() where id.kind == kind {
      asked = []
      return send(.checked(id, outcome))
    }
    Issue.record("no \(kind) check was asked for")
  }

  /// A container's state in the status, in one word or two.
  func state(_ name: String) -> String {
    guard let container = life.snapshot.containers.first(where: { $0.name == name }) else { return "absent" }
    switch container.state {
    case .waiting(let reason, _): return reason
    case .running: return container.isReady ? "ready" : "running"
    case .terminated(let end): return "\(end.reason) \(end.exitCode)"
    }
  }

  func restarts(_ name: String) -> Int { life.snapshot.containers.first { $0.name == name }?.restartCount ?? -1 }

  /// Whether a condition holds.
  func condition(_ type: String) -> Bool? { life.snapshot.conditions.first { $0.type == type }?.isTrue }
}

/// A container that runs some program.
func container(
  _ name: String, _ role: ContainerManifest.Role = .app, startup: Probe? = nil, readiness: Probe? = nil,
  liveness: Probe? = nil, preStop: ProbeAction? = nil
) -> ContainerManifest {
  ContainerManifest(
    name: name, role: role, command: ["run"], startupProbe: startup, readinessProbe: readiness, livenessProbe: liveness,
    preStop: preStop)
}
