import KubernetesCore
import ProcessNode
import TestSupport
import Testing

/// Lives of random pods with random news: whatever happens, no rule that others build on is broken, and every pod that is
/// deleted ends.
@Suite struct PodLifecyclePropertyTests {
  /// What is true of the machine: which runs exist.
  private struct World {
    var rig: LifecycleRig
    var running: [Int: Int] = [:]
    var starting: [Int: Int] = [:]
    var checks: [PodLifecycle.CheckID] = []
    var killed: Set<Int> = []

    mutating func carryOut(_ seed: UInt64) {
      for effect in rig.take() {
        switch effect {
        case .prepare: rig.send(.prepared)
        case .start(let index, let run):
          #expect(running[index] == nil && starting[index] == nil, "seed \(seed): two runs of one container")
          starting[index] = run
        case .check(let id, _):
          #expect(running[id.container] != nil, "seed \(seed): a check of what doesn't run")
          checks.append(id)
        case .cancel(let id): checks.removeAll { $0 == id }
        case .terminate(let index, let run): #expect(running[index] == run, "seed \(seed): SIGTERM to nobody")
        case .kill(let index, let run):
          #expect(running[index] == run, "seed \(seed): SIGKILL to nobody")
          killed.insert(index)
        case .report, .note, .finish: break
        }
      }
      if !rig.asked.isEmpty { carryOut(seed) }
    }
  }

  @Test("Seeded lives keep the rules", arguments: 0..<300)
  func lives(_ number: Int) {
    let seed = UInt64(number)
    var random = SeededGenerator(seed: seed)
    let pod = Self.pod(&random)
    var world = World(rig: LifecycleRig(pod))
    world.rig.send(.admitted)
    world.carryOut(seed)
    for _ in 0..<60 { Self.step(&world, pod, seed, &random) }
    world.rig.send(.deletionRequested(grace: .seconds(Int.random(in: 0...20, using: &random))))
    world.carryOut(seed)
    // From here on processes end only when they are killed, which must come.
    for _ in 0..<40 {
      for (index, run) in world.starting.sorted(by: { $0.key < $1.key }) {
        world.starting[index] = nil
        world.running[index] = run
        world.rig.send(.started(index, run: run))
        world.carryOut(seed)
      }
      for index in world.killed.sorted() {
        if let run = world.running.removeValue(forKey: index) { world.rig.send(.exited(index, run: run, .signal(9))) }
        world.killed.remove(index)
        world.carryOut(seed)
      }
      world.rig.pass(.seconds(5))
      world.carryOut(seed)
    }
    #expect(world.rig.finishes == 1, "seed \(seed): the pod never ended, or twice")
    #expect(world.running.isEmpty && world.starting.isEmpty, "seed \(seed): it ended while something ran")
    #expect(world.rig.life.nextDeadline == nil, "seed \(seed): an ended pod still has a deadline")
  }

  private static func step(_ world: inout World, _ pod: PodManifest, _ seed: UInt64, _ random: inout SeededGenerator) {
    switch Int.random(in: 0..<10, using: &random) {
    case 0...2:
      if let (index, run) = world.starting.min(by: { $0.key < $1.key }) {
        world.starting[index] = nil
        if Int.random(in: 0..<5, using: &random) == 0 {
          world.rig.send(.startFailed(index, run: run, .notRunnable("x")))
        } else {
          world.running[index] = run
          world.rig.send(.started(index, run: run))
        }
      }
    case 3, 4:
      if let (index, run) = world.running.sorted(by: { $0.key < $1.key }).randomElement(using: &random) {
        world.running[index] = nil
        world.killed.remove(index)
        world.rig.send(.exited(index, run: run, .code(Bool.random(using: &random) ? 0 : 1)))
      }
    case 5...7:
      if let check = world.checks.popLast() {
        world.rig.send(.checked(check, Int.random(in: 0..<3, using: &random) == 0 ? .failure("x") : .success))
      }
    default: world.rig.pass(.seconds(Int.random(in: 0...30, using: &random)))
    }
    world.carryOut(seed)
    let status = world.rig.life.snapshot
    #expect(["Pending", "Running", "Succeeded", "Failed"].contains(status.phase))
    let running = Set(status.containers.filter { if case .running = $0.state { true } else { false } }.map(\.name))
    #expect(running == Set(world.running.keys.map { pod.containers[$0].name }), "seed \(seed): the status lies")
    if world.rig.finishes > 0 { #expect(running.isEmpty, "seed \(seed): a finished pod runs") }
  }

  private static func pod(_ random: inout SeededGenerator) -> PodManifest {
    func probe(_ random: inout SeededGenerator) -> Probe? {
      guard Int.random(in: 0..<3, using: &random) == 0 else { return nil }
      return Probe(
        .tcpSocket(host: nil, port: .number(1)), initialDelay: .seconds(Int.random(in: 0...5, using: &random)),
        period: .seconds(Int.random(in: 1...10, using: &random)),
        failureThreshold: Int.random(in: 1...3, using: &random))
    }
    var containers: [ContainerManifest] = []
    for number in 0..<Int.random(in: 0...3, using: &random) {
      let isSidecar = Bool.random(using: &random)
      containers.append(
        container("i\(number)", isSidecar ? .sidecar : .initial, startup: isSidecar ? probe(&random) : nil))
    }
    for number in 0..<Int.random(in: 1...2, using: &random) {
      let hook: ProbeAction? = Bool.random(using: &random) ? .exec(["x"]) : nil
      containers.append(
        container(
          "a\(number)", startup: probe(&random), readiness: probe(&random), liveness: probe(&random), preStop: hook))
    }
    let policies: [PodManifest.RestartPolicy] = [.always, .onFailure, .never]
    return LifecycleRig.pod(
      containers, policy: policies[Int.random(in: 0..<3, using: &random)], grace: Int.random(in: 0...20, using: &random)
    )
  }
}
