import Synchronization

/// So many slots, first come, first served, for agents of a process that is no worker of a fleet.
package final class SlotQueue: AgentSlots {
  /// There are to be no agents in the slots any more.
  package struct Draining: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String { "no new work is taken here; put it back for somebody else" }
  }

  private struct State {
    var free: Int
    var lastNumber: UInt64 = 0
    var line: [(number: UInt64, continuation: CheckedContinuation<UInt64, any Error>)] = []
    var first = 0
    var cancelled: Set<UInt64> = []
    var isDraining = false
    var aside = 0
  }

  private let state: Mutex<State>

  /// Makes `slots` of them.
  package init(slots: Int) { state = Mutex(State(free: max(1, slots))) }

  /// How many agents wait without a slot.
  package var aside: Int { state.withLock { $0.aside } }
  /// How many slots are free.
  package var free: Int { state.withLock { $0.free } }
  package var isDraining: Bool { state.withLock { $0.isDraining } }
  package var drainingError: any Error { Draining() }

  /// Gives no slots from now on; the caller wakes the agents that wait for other things.
  package func drain() {
    let waiting = state.withLock { state in
      state.isDraining = true
      defer { (state.line, state.first) = ([], 0) }
      return state.line[state.first...].map(\.continuation)
    }
    for waiter in waiting { waiter.resume(throwing: Draining()) }
  }

  package func enterSlot() async throws -> UInt64 {
    try Task.checkCancellation()
    let (number, isTaken) = state.withLock { state in
      state.lastNumber += 1
      guard !state.isDraining, state.free > 0, state.first == state.line.count else { return (state.lastNumber, false) }
      state.free -= 1
      return (state.lastNumber, true)
    }
    if isTaken { return number }
    defer { state.withLock { _ = $0.cancelled.remove(number) } }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let answer = state.withLock { state -> Result<UInt64, any Error>? in
          if state.isDraining { return .failure(Draining()) }
          if state.cancelled.remove(number) != nil { return .failure(CancellationError()) }
          // One may have become free since it was asked.
          guard state.free == 0 || state.first < state.line.count else {
            state.free -= 1
            return .success(number)
          }
          state.line.append((number, continuation))
          return nil
        }
        if let answer { continuation.resume(with: answer) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<UInt64, any Error>? in
        guard let index = state.line[state.first...].firstIndex(where: { $0.number == number }) else {
          state.cancelled.insert(number)
          return nil
        }
        return state.line.remove(at: index).continuation
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  package func leaveSlot(_ slot: UInt64) {
    let next = state.withLock { state -> (number: UInt64, continuation: CheckedContinuation<UInt64, any Error>)? in
      guard state.first < state.line.count else {
        state.free += 1
        return nil
      }
      defer {
        state.first += 1
        // Removing the head one by one would move all others each time.
        if state.first * 2 > state.line.count {
          state.line.removeFirst(state.first)
          state.first = 0
        }
      }
      return state.line[state.first]
    }
    if let next { next.continuation.resume(returning: next.number) }
  }

  package func beginAside() { state.withLock { $0.aside += 1 } }
  package func endAside() { state.withLock { $0.aside -= 1 } }
}
