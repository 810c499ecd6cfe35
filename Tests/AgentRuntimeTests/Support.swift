import AgentRuntime
import CoordinationCore
import EngineConformance
import Logging
import PayloadCompression
import Synchronization

extension ManualEngineClock: AgentClock {}

func until(_ condition: () async throws -> Bool) async rethrows {
  while !(try await condition()), !Task.isCancelled { await Task.yield() }
}

/// A door that opens once; whoever waits at it goes on then.
final class Gate: Sendable {
  private struct State {
    var isOpen = false
    var waiting: [Int: CheckedContinuation<Void, any Error>] = [:]
    var next = 0
    var cancelled: Set<Int> = []
  }

  private let state = Mutex(State())
  var waiting: Int { state.withLock { $0.waiting.count } }

  func open() {
    let waiting = state.withLock { state in
      state.isOpen = true
      defer { state.waiting = [:] }
      return state.waiting.values.map { $0 }
    }
    for waiter in waiting { waiter.resume() }
  }

  func wait() async throws {
    let id = state.withLock { state in
      state.next += 1
      return state.next
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let answer = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.isOpen { return .success(()) }
          state.waiting[id] = continuation
          return nil
        }
        if let answer { continuation.resume(with: answer) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        guard let waiter = state.waiting.removeValue(forKey: id) else {
          state.cancelled.insert(id)
          return nil
        }
        return waiter
      }
      waiter?.resume(throwing: CancellationError())
    }
  }
}

/// Measurements that a test sets.
final class Gauges: Sendable {
  private let values = Mutex<(limit: Int?, used: Int?, cpu: Int, causes: [DegradationCause: Int])>((nil, nil, 0, [:]))

  func set(limit: Int? = nil, used: Int? = nil) {
    values.withLock { values in
      if let limit { values.limit = limit }
      if let used { values.used = used }
    }
  }

  func set(_ cause: DegradationCause, _ value: Int) { values.withLock { $0.causes[cause] = value } }

  var inputs: ResourceInputs {
    ResourceInputs(
      causes: Dictionary(
        uniqueKeysWithValues: DegradationCause.allCases.filter { $0 != .memory }.map { cause in
          (cause, { @Sendable [self] in values.withLock { $0.causes[cause] ?? 0 } })
        }),
      memory: { [self] in values.withLock { ($0.limit, $0.used) } },
      cpu: { [self] in (values.withLock { $0.cpu }, 1_000) })
  }
}

/// A pod with everything that agents need, and a clock that tests move.
struct Pod: Sendable {
  let clock = ManualEngineClock()
  let gauges = Gauges()
  let slots: SlotQueue
  let resources: ResourceManager
  let parking: ParkingLot
  let agents: AgentManager

  init(slots: Int, limit: Int = 100_000, store: ParkedStateStore? = nil, parking limits: ParkingLot.Limits = .init()) {
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    self.slots = SlotQueue(slots: slots)
    resources = ResourceManager(inputs: gauges.inputs, clock: clock, logger: logger)
    parking = ParkingLot(codec: PayloadCodec(), store: store, limits: limits)
    agents = AgentManager(resources: resources, parking: parking, limit: limit, clock: clock, logger: logger)
  }
}

/// Counts how many there are, and were at most.
final class Peak: Sendable {
  private let counts = Mutex<[Int]>([0, 0])
  var most: Int { counts.withLock { $0[1] } }
  func add(_ change: Int) {
    counts.withLock { counts in
      counts[0] += change
      counts[1] = max(counts[0], counts[1])
    }
  }
}
