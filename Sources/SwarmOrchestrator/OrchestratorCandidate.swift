package import CoordinationCore
package import CoordinationEngine
package import Logging
import Synchronization

/// A process that may lead the fleet: it takes the lead when nobody has it, then keeps plan and flow up to date, and counts on nothing that it remembers.
///
/// The orchestrator is on no task's path: while none leads, pods go on by the last plan.
package final class OrchestratorCandidate: Sendable {
  /// Times of leading.
  package struct Times: Hashable, Sendable {
    /// A leadership's lease. 7 s, looked at every second: with what is seen late on both sides somebody else leads within 10 s.
    package var election: LeaderCandidate.Policy
    /// How often the leader looks whether the plan is still right.
    package var planning = Duration.milliseconds(500)
    /// How often pods look that are no standbys: should the leader go with all of them, one of these takes over.
    package var lazy = Duration.seconds(15)
    /// How often driver loops look at their time.
    package var tick = Duration.milliseconds(250)

    /// The times that hold where nothing else is said.
    package init() {
      election = LeaderCandidate.Policy()
      election.lease = .seconds(7)
      election.interval = .seconds(1)
    }
  }

  private static let flowLife = Duration.seconds(10)

  private let place: FleetPlace
  private let store: any StateStore
  private let policy: OrchestratorPolicy
  private let times: Times
  private let clock: any FleetClock
  private let logger: Logger
  private let rung: @Sendable () -> DegradationRung
  private struct State {
    var candidate: LeaderCandidate
    var leading: UInt64?
    var takeovers = 0
  }
  private let state: Mutex<State>

  /// A candidate that isn't running yet; `name` is one that no other process and no earlier run has.
  package init(
    name: String, place: FleetPlace, engine: any CoordinationEngine, policy: OrchestratorPolicy = OrchestratorPolicy(),
    times: Times = Times(), clock: any FleetClock = SystemFleetClock(), logger: Logger,
    rung: @escaping @Sendable () -> DegradationRung = { .normal }
  ) {
    self.place = place
    store = engine.state
    self.policy = policy
    self.times = times
    self.clock = clock
    self.logger = logger
    self.rung = rung
    state = Mutex(State(candidate: LeaderCandidate(name: FleetKeys.token(name), policy: times.election)))
  }

  /// The epoch under which it leads now; nil: it doesn't.
  package var epoch: UInt64? { state.withLock { $0.candidate.epoch(now: clock.now) } }
  /// How often it took the lead.
  package var takeovers: Int { state.withLock { $0.takeovers } }

  /// Stands for election, and leads when it is elected, until the task is cancelled: then say `resign`.
  package func run() async {
    await withDiscardingTaskGroup { group in
      group.addTask { await self.elect() }
      group.addTask { await self.leadWhenElected() }
    }
  }

  /// Gives the lead up at once, so that nobody waits for the lease to end. Ask when `run` has ended.
  package func resign() async {
    let effects = state.withLock { $0.candidate.handle(.resign, now: clock.now) }
    for case .write(let record, let expected) in effects { _ = try? await write(record, expected) }
  }

  // MARK: Election

  private func elect() async {
    var nextLook = Duration.zero
    while !Task.isCancelled {
      let now = clock.now
      if isStandby || now >= nextLook {
        nextLook = now + times.lazy
        await handle(.tick)
      }
      guard (try? await clock.sleep(until: now + times.tick)) != nil else { return }
    }
  }

  /// Whether it looks often: it leads, or is one of the few whom the plan names, or there is no plan. A thousand pods that read the same key
  /// every second would be a load for nothing.
  private var isStandby: Bool {
    let plan = place.plan
    return plan.version == 0 || plan.leader == place.pod || plan.standbys.contains(place.pod) || epoch != nil
  }

  private func handle(_ event: LeaderCandidate.Event) async {
    var events = [event]
    while let event = events.popLast() {
      let now = clock.now
      for effect in state.withLock({ $0.candidate.handle(event, now: now) }) {
        switch effect {
        case .lead(let epoch):
          state.withLock {
            $0.leading = epoch; $0.takeovers += 1
          }
          logger.info("leads the fleet", metadata: ["plan.epoch": "\(epoch)", "pod": "\(place.pod)"])
        case .stepDown:
          state.withLock { $0.leading = nil }
          logger.info("leads the fleet no more", metadata: ["pod": "\(place.pod)"])
        case .read: events.append(await answer(now) { try await self.read() })
        case .write(let record, let expected):
          events.append(await answer(now) { try await self.write(record, expected) })
        }
      }
    }
  }

  private func answer(
    _ now: Duration, _ body: @escaping @Sendable () async throws -> LeaderCandidate.Event
  ) async -> LeaderCandidate.Event {
    let patience = times.election.lease - times.election.margin
    return await clock.attempt(until: now + patience / 2, body) ?? .unanswered
  }

  private func read() async throws -> LeaderCandidate.Event {
    guard let entry = try await store.get(FleetKeys.leader) else { return .read(nil, revision: 0) }
    return .read(LeaderRecord(entry.value), revision: entry.revision.number)
  }

  private func write(_ record: LeaderRecord, _ expected: UInt64) async throws -> LeaderCandidate.Event {
    do {
      let condition: Expectation = expected == 0 ? .absent : .revision(Revision(expected))
      return .written(revision: try await store.put(FleetKeys.leader, record.bytes, if: condition, ttl: nil).number)
    } catch EngineError.conflict {
      return .conflict
    }
  }

  // MARK: Leading

  private func leadWhenElected() async {
    while !Task.isCancelled {
      if let epoch = state.withLock({ $0.leading }) {
        let board = FleetBoard(store: store, clock: clock)
        await withTaskGroup(of: Void.self) { group in
          group.addTask { await board.follow(cells: FleetKeys.cells) }
          await self.lead(epoch, board)
          group.cancelAll()
        }
      }
      guard (try? await clock.sleep(until: clock.now + times.tick)) != nil else { return }
    }
  }

  /// What the leader knows of its own writes.
  private struct Written {
    var plan: Expectation
    var flow: Expectation
    var flowAt = Duration.zero
  }

  private func lead(_ epoch: UInt64, _ board: FleetBoard) async {
    var work: (keeper: FleetKeeper, written: Written)?
    while !Task.isCancelled, self.epoch == epoch {
      if let pods = board.pods {
        if work == nil { work = await begin(epoch) }
        if var current = work {
          let isRight = await step(&current.keeper, &current.written, pods, board.cells)
          work = isRight ? current : nil
          if !isRight, self.epoch == epoch, await isOver(epoch) { return }
        }
      }
      let pause = work == nil ? times.tick : times.planning
      guard (try? await clock.sleep(until: clock.now + pause)) != nil else { return }
    }
  }

  /// Reads what there is of a plan: all that a leader begins with.
  private func begin(_ epoch: UInt64) async -> (keeper: FleetKeeper, written: Written)? {
    do {
      let entry = try await store.get(FleetKeys.plan)
      let plan = entry.flatMap { PublishedPlan($0.value) }
      // Somebody has led since.
      guard plan?.epoch ?? 0 <= epoch else { return nil }
      let flow = try await store.get(FleetKeys.flow)
      let keeper = FleetKeeper(
        epoch: epoch, leader: place.pod, from: plan, flow: flow.flatMap { FleetFlow($0.value) }, policy: policy)
      let expected = { (entry: StateEntry?) -> Expectation in entry.map { .revision($0.revision) } ?? .absent }
      return (keeper, Written(plan: expected(entry), flow: expected(flow)))
    } catch {
      return nil
    }
  }

  /// Whether the store has a plan of a later leadership: this one is over, whatever its lease says.
  private func isOver(_ epoch: UInt64) async -> Bool {
    guard let entry = try? await store.get(FleetKeys.plan) else { return false }
    return PublishedPlan(entry.value)?.epoch ?? 0 > epoch
  }

  /// One look at the fleet; false when what is known of the store isn't right any more.
  private func step(
    _ keeper: inout FleetKeeper, _ written: inout Written, _ pods: [String: FleetBoard.Pod], _ cells: [CellSummary]
  ) async -> Bool {
    let now = clock.now
    let made = keeper.handle(pods: pods, cells: cells, rung: rung(), now: now)
    do {
      if let plan = made.plan {
        written.plan = .revision(try await store.put(FleetKeys.plan, plan.bytes, if: written.plan, ttl: nil))
      }
      if let flow = made.flow ?? keeper.renewal(after: now - written.flowAt) {
        let life = flow.transfers.isEmpty ? nil : Self.flowLife
        written.flow = .revision(try await store.put(FleetKeys.flow, flow.bytes, if: written.flow, ttl: life))
        written.flowAt = now
      }
      return true
    } catch {
      return false
    }
  }
}

extension LeaderRecord {
  /// Reads what `bytes` wrote; nil for anything else.
  package init?(_ bytes: [UInt8]) {
    guard let text = FleetText(bytes, kind: "leader"), let epoch: UInt64 = text.number("epoch"),
      let renewals: UInt64 = text.number("renewals")
    else { return nil }
    self.init(holder: text.word("holder") ?? "", epoch: epoch, renewals: renewals)
  }

  /// As it is kept.
  package var bytes: [UInt8] {
    var text = FleetText(kind: "leader")
    if !holder.isEmpty { text.add("holder", holder) }
    text.add("epoch", epoch)
    text.add("renewals", renewals)
    return text.bytes
  }
}
