import KubernetesCore
import SlowTests
import Testing

@testable import ScalingDecision

@Suite("What holds for every input")
struct PropertyTests {
  @Test("After each change the predicted utilisation is inside the band, for 5–100 workers and 1–400 %", .slow)
  func inBand() {
    for count in 5...100 {
      let workers = Fleet.ready(count)
      for percent in Int64(1)...400 {
        let readings = [Fleet.cpu(workers, percent: percent)]
        let plan = decideOnce(.plain([.cpuBand], min: 5, max: 1000), replicas: count, readings, workers: workers)
        let load = Int64(count) * percent
        let isInside = load >= 70 * Int64(plan.desiredReplicas) && load <= 85 * Int64(plan.desiredReplicas)
        #expect(
          isInside || plan.desiredReplicas == 5, "\(count) workers at \(percent) % became \(plan.desiredReplicas)")
      }
    }
  }

  @Test("A change is never followed by another one under the same load", .slow, arguments: [1, 5])
  func noFlapping(minimum: Int) {
    for count in 5...100 {
      for percent in Int64(1)...400 {
        // The load is conserved: each of n workers used `percent`, each of m uses n·percent/m.
        let load = Int64(count) * percent
        func decided(_ replicas: Int) -> Int {
          let workers = (0..<replicas).map { Fleet.worker($0, requests: Int64(replicas) * 1000) }
          let samples = workers.map { WorkerSample(worker: $0.name, milli: load * 10, at: start) }
          let spec = DecisionSpec.plain([.cpuBand], min: minimum, max: 1000)
          return decideOnce(spec, replicas: replicas, [.perWorker(samples)], workers: workers).desiredReplicas
        }
        if percent % 7 == 0 || percent < 12 {
          let first = decided(count)
          #expect(decided(first) == first, "\(count) workers at \(percent) %: \(first), then \(decided(first))")
        }
      }
    }
  }

  @Test("More demand never means fewer workers, and a lower ceiling never more")
  func monotone() {
    for count in [5, 17, 60, 100] {
      var lastCPU = 0
      var lastQueue = 0
      for number in stride(from: Int64(0), through: 400, by: 1) {
        let workers = Fleet.ready(count)
        let cpu = decideOnce(
          .plain([.cpuBand, .external()], max: 1000), replicas: count,
          [Fleet.cpu(workers, percent: number), .asking(20)], workers: workers
        ).desiredReplicas
        let queue = decideOnce(
          .plain([.cpuBand, .backlog], max: 1000), replicas: count,
          [Fleet.cpu(workers, percent: 60), .backlog(.init(queued: number * 3, inFlight: 0))], workers: workers
        ).desiredReplicas
        #expect(cpu >= lastCPU, "\(count) workers at \(number) %")
        #expect(queue >= lastQueue, "\(count) workers, \(number * 3) tasks")
        (lastCPU, lastQueue) = (cpu, queue)
      }
      var lastCeiling = Int.max
      for percent in Int64(1)...300 {
        let ceiling = decideOnce(
          .plain([.external(), .apiRate]), replicas: count, [.asking(90), .budget(percent)]
        ).desiredReplicas
        #expect(ceiling <= lastCeiling, "\(count) workers, budget at \(percent) %")
        lastCeiling = ceiling
      }
    }
  }

  @Test("The order of workers, samples and metrics changes nothing", arguments: 0..<60)
  func permutation(seed: Int) {
    var random = Seeded(UInt64(seed))
    var workers = (0..<Int.random(in: 1...40, using: &random)).map { number -> WorkerObservation in
      var worker = Fleet.worker(
        number, phase: [.running, .running, .pending, .failed].randomElement(using: &random) ?? .running,
        isReady: Bool.random(using: &random))
      if Bool.random(using: &random) {
        worker.activity = WorkerActivity(
          inFlight: Int.random(in: 0...2, using: &random),
          drain: Bool.random(using: &random) ? .none : .acknowledged(since: start))
      }
      return worker
    }
    var samples = workers.map {
      WorkerSample(worker: $0.name, milli: Int64.random(in: 0...2000, using: &random), at: start)
    }
    var metrics: [(MetricSpec, MetricReading)] = [
      (.external(), .asking(Int.random(in: 1...60, using: &random))),
      (.backlog, .backlog(.init(queued: Int64.random(in: 0...200, using: &random), inFlight: 3))),
      (.apiRate, .budget(Int64.random(in: 1...150, using: &random))),
    ]
    func decided() -> Plan {
      let spec = DecisionSpec.plain([.cpuBand, .memoryBand] + metrics.map(\.0))
      let reading = MetricReading.perWorker(samples)
      return decideOnce(spec, replicas: 20, [reading, reading] + metrics.map(\.1), workers: workers)
    }
    let inOrder = metrics
    let first = decided()
    for _ in 0..<5 {
      workers.shuffle(using: &random)
      samples.shuffle(using: &random)
      let second = decided()
      #expect(second == first)
      metrics.shuffle(using: &random)
      let third = decided()
      #expect(third.intendedWrite == first.intendedWrite && third.desiredReplicas == first.desiredReplicas)
      #expect(third.orders == first.orders && third.victims == first.victims)
      metrics = inOrder
    }
  }

  @Test("An unconfirmed collapse holds what the last believed number asked for; nothing else depends on that", .slow)
  func collapsesHoldTheLastDemand() throws {
    var held = 0
    for seed in UInt64(1)...200 {
      var random = Seeded(seed)
      func below(_ limit: Int) -> Int { Int.random(in: 0...Int.random(in: 0...limit, using: &random), using: &random) }
      var scene = Scene(.plain([.external(), .backlog], min: 0), replicas: 1 + below(40))
      scene.spec.behavior.scaleDown.stabilizationWindow = .seconds(below(60))
      var believed: [Int?] = [nil, nil]
      for step in 0..<30 {
        let readings: [MetricReading] = [.asking(below(40)), .backlog(.init(queued: Int64(below(160)), inFlight: 0))]
        let current = scene.replicas
        // What each number asks for by itself, and what is decided by who doesn't remember what the last one asked for.
        let counts = decideOnce(scene.spec, replicas: current, readings).proposals.map(\.replicas)
        var forgetful = scene
        for index in forgetful.state.metrics.indices { forgetful.state.metrics[index].lastWanted = nil }
        let whole = try forgetful.step(readings)
        let plan = try scene.step(readings)
        for index in plan.proposals.indices {
          let isCollapse = plan.state.metrics[index].collapses > 0
          let hold = isCollapse ? min(current, try #require(believed[index])) : 0
          #expect(
            plan.proposals[index].replicas == max(try #require(counts[index]), hold), "seed \(seed), step \(step)")
          if !isCollapse { believed[index] = counts[index] }
        }
        if plan.proposals == whole.proposals {
          #expect(
            plan.desiredReplicas == whole.desiredReplicas && plan.write == whole.write, "seed \(seed), step \(step)")
        } else {
          held += 1
          #expect(plan.desiredReplicas <= whole.desiredReplicas, "seed \(seed), step \(step)")
        }
        guard current > 0 else { break }
      }
    }
    #expect(held > 100, "\(held) steps held less than all workers")
  }

  @Test("A restart at each step changes no decision", .slow, arguments: UInt64(1)...20)
  func restart(seed: UInt64) throws {
    let faults = try restartFaults(seed: seed, steps: 200)
    #expect(faults.isEmpty, "\(faults.prefix(3))")
  }

  @Test("The state stays small, whatever happens")
  func stateSize() throws {
    var spec = DecisionSpec.plain([.external(), .apiRate], max: 100_000)
    spec.behavior.scaleUp.stabilizationWindow = .seconds(3600)
    spec.behavior.scaleDown.stabilizationWindow = .seconds(3600)
    spec.behavior.scaleUp.policies = [.init(.pods, 1, per: .seconds(1800))]
    var scene = Scene(spec, replicas: 50_000)
    var random = Seeded(7)
    var largest = 0
    for step in 0..<2000 {
      // Falling and rising lines are the worst case of a monotone queue.
      let asked = step % 1000 < 500 ? 90_000 - step : 10_000 + step
      scene.replicas = Int.random(in: 1...90_000, using: &random)
      try scene.step([.asking(asked), .budget(10)], workers: [], seconds: 1)
      largest = max(largest, try scene.state.encoded().count)
    }
    #expect(scene.state.shrinkWindow.entries.count <= WindowHistory.capacity)
    #expect(scene.state.events.events.count <= ScaleEvents.capacity)
    #expect(largest < 8192, "\(largest) bytes")
  }

  @Test("At the fixed point a decision writes nothing more", arguments: UInt64(1)...30)
  func idempotent(seed: UInt64) throws {
    var random = Seeded(seed)
    var scene = Scene(.plain([.external(), .apiRate]), replicas: Int.random(in: 1...120, using: &random))
    let asked = Int.random(in: 0...120, using: &random)
    // 50 workers are 85 % of the budget: each uses 17 of 1000.
    for _ in 0..<20 {
      let load = BudgetReport.Load(.requests, limit: 1000, offered: Int64(scene.replicas) * 17)
      try scene.step([.asking(asked), .budget(BudgetReport(loads: [load]))])
    }
    let settled = scene.writes.count
    for _ in 0..<20 {
      let load = BudgetReport.Load(.requests, limit: 1000, offered: Int64(scene.replicas) * 17)
      try scene.step([.asking(asked), .budget(BudgetReport(loads: [load]))])
    }
    #expect(scene.writes.count == settled)
    #expect(scene.replicas <= max(55, 5))
  }
}
