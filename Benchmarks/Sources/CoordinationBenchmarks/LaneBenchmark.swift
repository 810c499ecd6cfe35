import TaskQueue

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Row 12 for tasks: how long critical ones wait for a slot beside first come, first served, in virtual time. The product's own
/// `LaneTurns` says whose turn it is, its `SlotIntake` which slots are kept.
struct LaneBenchmark {
  private struct Task {
    var lane: TaskLane
    var submitted: Duration
    var length: Duration
  }

  private struct Outcome {
    var critical: [Double] = []
    var arrived = LaneCounts(all: 0)
    var started = LaneCounts(all: 0)

    var bulkShare: Double { 100 * Double(started.bulk) / Double(max(1, started.total)) }
  }

  private static let slots = 16
  /// Two hours of the fleet's time: some 700 critical tasks at 90 %.
  private static let end = Duration.seconds(7_200)

  func run(_ report: inout Report) {
    for load in [90, 110, 200] {
      let (first, lanes) = (simulate(load, byLanes: false), simulate(load, byLanes: true))
      let (before, after) = (quantile(0.99, of: first.critical), quantile(0.99, of: lanes.critical))
      let saved = 100 - 100 * after / before
      let isMet = load == 90 ? saved >= 97 : saved >= 99.9 && lanes.bulkShare >= 4
      report.add(
        "12q", "critical tasks at \(load) % of 16 slots, 2 s log-normal, mix 2/18/40/40 % (virtual time)",
        baseline:
          "first come, first served: p50 \(quantile(0.5, of: first.critical).text(2)) s, p99 \(before.text(2)) s",
        seed: "90 %", target: load == 90 ? "p99 −97 %" : "p99 −99.9 %, bulk ≥ 4 %",
        measured:
          "p50 \(quantile(0.5, of: lanes.critical).text(2)) s, p99 \(after.text(2)) s: −\(saved.text(2)) %; bulk begins \(lanes.started.bulk) of \(lanes.arrived.bulk), \(lanes.bulkShare.text()) % of all",
        isMet: isMet)
    }
  }

  private func simulate(_ load: Int, byLanes: Bool) -> Outcome {
    var random = Seeded(state: 1_200 + UInt64(load))
    var (turns, intake, outcome) = (LaneTurns(), SlotIntake(slots: Self.slots), Outcome())
    var queues = [[Task]](repeating: [], count: TaskLane.allCases.count)
    var heads = [Int](repeating: 0, count: queues.count)
    var running: [(end: Duration, lane: TaskLane)] = []
    // Two seconds on average: 16 slots do 8 tasks a second.
    let gap = 2.0 / Double(Self.slots) / (Double(load) / 100)
    var (now, next) = (Duration.zero, Duration.zero)

    func waiting(_ lane: TaskLane) -> Int { queues[lane.rawValue].count - heads[lane.rawValue] }
    func first(_ lane: TaskLane) -> Task? { waiting(lane) > 0 ? queues[lane.rawValue][heads[lane.rawValue]] : nil }
    func chooses(_ room: LaneCounts) -> TaskLane? {
      guard byLanes else {
        return TaskLane.allCases.filter { waiting($0) > 0 }
          .min { (first($0)?.submitted ?? .zero) < (first($1)?.submitted ?? .zero) }
      }
      var open = room
      for lane in TaskLane.allCases { open[lane] = min(open[lane], waiting(lane)) }
      let isHighOlder = (first(.high)?.submitted ?? .seconds(1 << 40)) < (first(.normal)?.submitted ?? .zero)
      return turns.next(open: open, isHighOlder: isHighOlder)
    }
    func start() {
      while running.count < Self.slots {
        // Nothing is fetched in advance here: a slot asks when it is free.
        let room = intake.room(now: now)
        let isOpen = room.lanes.total > 0
        guard isOpen || !byLanes,
          let lane = chooses(byLanes ? within(room.lanes, free: Self.slots - running.count) : room.lanes),
          let task = first(lane)
        else { return }
        heads[lane.rawValue] += 1
        intake.claimed(lane, now: now)
        guard !byLanes || intake.begin(now: now) == lane else {
          return assertionFailure("it was claimed for a free slot")
        }
        running.append((now + task.length, lane))
        outcome.started[lane] += 1
        if lane == .critical { outcome.critical.append((now - task.submitted) / .seconds(1)) }
      }
    }
    while now < Self.end {
      if let ended = running.indices.min(by: { running[$0].end < running[$1].end }), running[ended].end <= next {
        now = running[ended].end
        intake.finished(running[ended].lane)
        running.remove(at: ended)
      } else {
        now = next
        let draw = random.below(100)
        let lane: TaskLane = draw < 2 ? .critical : draw < 20 ? .high : draw < 60 ? .normal : .bulk
        queues[lane.rawValue].append(Task(lane: lane, submitted: now, length: length(&random)))
        outcome.arrived[lane] += 1
        next += .nanoseconds(Int(-log(1 - unit(&random)) * gap * 1e9))
      }
      start()
    }
    // What still waits has waited at least so long.
    for index in heads[TaskLane.critical.rawValue]..<queues[TaskLane.critical.rawValue].count {
      outcome.critical.append((now - queues[TaskLane.critical.rawValue][index].submitted) / .seconds(1))
    }
    return outcome
  }

  /// Of other lanes only what a slot is free for: what would be fetched in advance isn't.
  private func within(_ room: LaneCounts, free: Int) -> LaneCounts {
    var lanes = room
    for lane in TaskLane.allCases { lanes[lane] = min(lanes[lane], free) }
    return lanes
  }

  /// Log-normal with a mean of 2 s and σ = 0.8.
  private func length(_ random: inout Seeded) -> Duration {
    let normal = (-2 * log(1 - unit(&random))).squareRoot() * cos(2 * .pi * unit(&random))
    return .nanoseconds(Int(2e9 * exp(0.8 * normal - 0.32)))
  }

  private func unit(_ random: inout Seeded) -> Double { Double(random.next() >> 11) / Double(UInt64(1) << 53) }
}
