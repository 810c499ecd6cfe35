import KubernetesCore
import Testing

@testable import ScalingDecision

@Suite("Who can go, by what the target's controller does")
struct RemovalTests {
  private let idle = WorkerActivity(inFlight: 0)
  private let drained = WorkerActivity(inFlight: 0, drain: .acknowledged(since: start - .seconds(40)))
  private let busy = WorkerActivity(inFlight: 1, oldestWorkAt: start - .seconds(300))

  private func select(
    _ workers: [WorkerObservation], current: Int? = nil, goal: Int, unseen: Int = 0, usage: [String: Int64] = [:],
    lastWrite: Timestamp? = nil, _ change: (inout DrainSpec) -> Void = { _ in }
  ) -> VictimSelection.Result {
    var drain = DrainSpec(timeout: .seconds(600))
    change(&drain)
    return VictimSelection(drain: drain, now: start).select(
      workers, current: current ?? workers.count, goal: goal, unseen: unseen, usage: usage, lastWrite: lastWrite)
  }

  private func workers(_ activities: [WorkerActivity]) -> [WorkerObservation] {
    activities.enumerated().map { Fleet.worker($0.offset, activity: $0.element) }
  }

  private func set(_ activities: [Int: WorkerActivity]) -> [WorkerObservation] {
    activities.sorted { $0.key < $1.key }.map { ordinal, activity in
      var worker = Fleet.worker(ordinal, activity: activity)
      worker.name = "set-\(ordinal)"
      return worker
    }
  }

  @Test("Pods beyond the count were given up before: they aren't given up again, nor called back")
  func surplus() {
    // 30 pods are in the cache, 20 were written: ten drained ones are on their way out, and no other has drained.
    let workers = workers(Array(repeating: drained, count: 10) + Array(repeating: busy, count: 20))
    #expect(select(workers, current: 20, goal: 10).replicas == 20)
    let back = select(workers, current: 20, goal: 25)
    #expect(back.orders == [], "whoever takes work again now would be removed at work")
    let more = select(
      workers.map { worker in
        var worker = worker
        if worker.name == Fleet.name(15) { worker.activity = drained }
        return worker
      }, current: 20, goal: 10)
    #expect(more.replicas == 19)
  }

  @Test("A worker that reports, and whose pod isn't in the cache yet, doesn't count as not yet born")
  func unseen() {
    let workers = workers(Array(repeating: busy, count: 8))
    #expect(select(workers, current: 10, goal: 8).replicas == 8)
    #expect(select(workers, current: 10, goal: 8, unseen: 2).replicas == 10)
  }

  @Test("While pods of two ReplicaSets live nobody goes, is told to, or called back")
  func rollout() {
    var workers = workers(Array(repeating: drained, count: 6) + Array(repeating: idle, count: 4))
    for index in workers.indices { workers[index].owner = index < 5 ? "old" : "new" }
    workers[9].createdAt = start - .seconds(599)
    let result = select(workers, goal: 5)
    #expect(result.replicas == 10 && result.orders == [] && result.rollout == .advances)
    #expect(result.until == start + .seconds(1), "then it counts as standing, if it makes no other pod")
    for index in workers.indices { workers[index].owner = "new" }
    #expect(select(workers, goal: 5).replicas == 5)
  }

  @Test("A rollout that stands holds nobody for ever: of each set as many go as it may have to give up, and two more")
  func standingRollout() {
    // Twenty were wanted; the new set is stuck with pods that never ran.
    var workers = workers(Array(repeating: busy, count: 15)) + (15..<23).map { Fleet.worker($0, phase: .pending) }
    for index in workers.indices { workers[index].owner = index < 15 ? "old" : "new" }
    let first = select(workers, current: 20, goal: 10)
    // Half of fifteen, rounded up, and two.
    #expect(first.replicas == 20 && first.rollout == .stands)
    #expect(first.orders.count { if case .drain = $0 { true } else { false } } == 10)
    for index in 0..<4 { workers[index].activity = drained }
    let some = select(workers, current: 20, goal: 10)
    #expect(
      some.replicas == 18, "of fifteen a shrink by two costs two at most, and two for rounding: four have drained")
    #expect(Set(some.victims) == Set((0..<4).map(Fleet.name) + [15, 16, 17].map(Fleet.name)))
    #expect(select(workers, current: 20, goal: 10, lastWrite: start - .seconds(59)).replicas == 20, "not gone yet")
    #expect(select(workers, current: 20, goal: 10, lastWrite: start - .seconds(60)).replicas == 18)
    for index in 0..<10 { workers[index].activity = drained }
    #expect(select(workers, current: 20, goal: 10).replicas == 10)
    let legacy = select(workers, current: 20, goal: 10) { $0.heedsDeletionCost = false }
    #expect(legacy.replicas == 20, "ready ones are all the same to an older server")
    for index in 0..<10 { workers[index].readiness?.isReady = false }
    #expect(select(workers, current: 20, goal: 10) { $0.heedsDeletionCost = false }.replicas == 10)
  }

  @Test("Without deletion costs a tier goes only when all of it can: drained workers once they are unready")
  func indistinct() {
    let legacy: (inout DrainSpec) -> Void = { $0.heedsDeletionCost = false }
    var workers = workers(Array(repeating: drained, count: 3) + Array(repeating: busy, count: 5))
    let waiting = select(workers, goal: 5, legacy)
    #expect(waiting.replicas == 8 && waiting.indistinct == 3 && waiting.orders == [])
    for index in 0..<2 { workers[index].readiness?.isReady = false }
    let two = select(workers, goal: 5, legacy)
    #expect(two.replicas == 6 && two.victims == [0, 1].map(Fleet.name) && two.indistinct == 1)
    workers[7].readiness?.isReady = false
    let shielded = select(workers, goal: 5, legacy)
    #expect(shielded.replicas == 8 && shielded.shield == Fleet.name(7))
    #expect(!shielded.orders.contains { if case .setDeletionCost = $0 { true } else { false } })
  }

  @Test("A StatefulSet gives up the highest ordinals: only a drained suffix goes, and the highest are told to drain")
  func ordinals() {
    let ordinal: (inout DrainSpec) -> Void = { $0.removal = .ordinal }
    let workers = set([0: drained, 1: busy, 2: idle, 3: drained, 4: busy, 10: drained, 11: drained])
    // Ten and eleven, and the five ordinals without a pod between them.
    let result = select(workers, current: 12, goal: 3, ordinal)
    #expect(result.replicas == 5 && result.victims == ["set-11", "set-10"] && result.shield == "set-4")
    #expect(result.orders == [.undrain(worker: "set-0"), .drain(worker: "set-4")])
    let top = select(set([0: busy, 1: drained, 2: busy]), current: 5, goal: 1, ordinal)
    #expect(top.replicas == 3, "ordinals three and four don't exist")
    let later = select(set([7: drained, 6: drained, 5: busy]), current: 3, goal: 2, ordinal)
    #expect(later.replicas == 2, "ordinals may begin later than at zero")
    let condemned = select(set([0: busy, 1: busy, 2: busy, 3: drained]), current: 3, goal: 2, ordinal)
    #expect(condemned.replicas == 3 && condemned.orders == [.drain(worker: "set-2")])
  }

  @Test("Where no worker reports those that use least are marked, and the exposure is named")
  func usage() {
    let workers = (0..<6).map { Fleet.worker($0, deletionCost: $0 == 5 ? -1000 : 0) }
    let use = Dictionary(uniqueKeysWithValues: (0..<6).map { (Fleet.name($0), Int64($0 == 3 ? 1 : 900 + $0)) })
    let result = select(workers, goal: 4, usage: use)
    #expect(result.replicas == 4 && result.victims == [3, 0].map(Fleet.name) && result.exposure == .noReports)
    #expect(
      result.orders == [
        .setDeletionCost(worker: Fleet.name(3), cost: -1000), .setDeletionCost(worker: Fleet.name(0), cost: -1000),
        .setDeletionCost(worker: Fleet.name(5), cost: 0),
      ])
    #expect(select(workers, goal: 4).orders == [], "without a measure Kubernetes chooses")
  }

  @Test("An unknown kind is drained all the same, and said to be out of hand")
  func unknownKind() {
    let result = select(workers([drained, busy, busy]), goal: 2) { $0.removal = .unknown }
    #expect(result.replicas == 2 && result.exposure == .orderUnknown)
    #expect(RemovalOrder(group: "apps", kind: "StatefulSet") == .ordinal)
    #expect(RemovalOrder(group: "example.org", kind: "Fleet") == .unknown)
  }

  @Test("A drained worker with a sidecar goes once it is unready, or after half a minute")
  func settling() {
    var activity = drained
    activity.drainedAt = start - .seconds(10)
    var worker = Fleet.worker(0, activity: activity)
    worker.hasSidecar = true
    let others = (1..<4).map { Fleet.worker($0, activity: busy) }
    let waiting = select([worker] + others, goal: 3)
    #expect(waiting.replicas == 4 && waiting.unconfirmed == 1 && waiting.until == start + .seconds(2))
    worker.readiness?.isReady = false
    #expect(select([worker] + others, goal: 3).replicas == 3)
    worker.readiness?.isReady = true
    worker.activity?.drainedAt = start - .seconds(30)
    #expect(select([worker] + others, goal: 3).replicas == 3)
  }

  @Test("A drained worker that may soon take work again is asked anew before it counts")
  func expiring() {
    var old = drained
    old.drain = .acknowledged(since: start - .seconds(631))
    let result = select(workers([old, busy, busy]), goal: 2)
    #expect(result.replicas == 3 && result.orders == [.drain(worker: Fleet.name(0))])
  }

  @Test("Of workers that have run out of time those with the youngest unsaved work go first")
  func leastLost() {
    func late(_ minutes: Int, saved: Int? = nil) -> WorkerActivity {
      WorkerActivity(
        inFlight: 1, oldestWorkAt: start - .seconds(60 * minutes), drain: .acknowledged(since: start - .seconds(601)),
        unsavedSince: saved.map { start - .seconds($0) })
    }
    #expect(
      select(workers([late(30), late(20), late(50, saved: 5), busy]), goal: 2).victims == [2, 1].map(Fleet.name))
  }
}
