import PayloadCompression
import Synchronization

/// An agent at work: it waits without a slot, is parked meanwhile, and names what is to be released when it ends.
package final class RunningAgent: Sendable {
  private struct Held {
    var slot: UInt64?
    var admission: ResourceManager.Admission?
    var releases: [@Sendable () async throws -> Void] = []
    var isParked = false
  }

  /// Its name.
  package let name: String
  private let kind: String
  private let memory: Int?
  private let isBulk: Bool
  private let manager: AgentManager
  private let slots: any AgentSlots
  private let held = Mutex(Held())

  init(
    name: String, kind: String, memory: Int?, isBulk: Bool, manager: AgentManager, slots: any AgentSlots
  ) {
    self.name = name
    self.kind = kind
    self.memory = memory
    self.isBulk = isBulk
    self.manager = manager
    self.slots = slots
  }

  /// The slot in which it works now; nil: it waits.
  package var slot: UInt64? { held.withLock { $0.slot } }

  // MARK: What it holds

  /// Has something released when the agent ends, however it ends: the last first. An error of it is logged and otherwise of no account.
  package func onEnd(_ release: @escaping @Sendable () async throws -> Void) {
    held.withLock { $0.releases.append(release) }
  }

  /// Gives back all that it holds; gives what is still to be done with others.
  func letGo() -> [@Sendable () async throws -> Void] {
    let held = held.withLock { held in
      defer { held = Held() }
      return held
    }
    if let admission = held.admission { manager.resources.end(admission) }
    if let slot = held.slot { slots.leaveSlot(slot) }
    guard held.isParked else { return held.releases.reversed() }
    return [{ [manager, name] in try await manager.parking.discard(name) }] + held.releases.reversed()
  }

  // MARK: Slots

  /// Takes a slot, and the memory for it: for the first time, or after it waited parked.
  nonisolated(nonsending) func begin() async throws {
    let slot = try await slots.enterSlot()
    held.withLock { $0.slot = slot }
    guard held.withLock({ $0.admission == nil }) else { return }
    let admission = try await manager.resources.admit(kind, declared: memory, isBulk: isBulk)
    held.withLock { $0.admission = admission }
  }

  private func leaveSlot() {
    let slot = held.withLock { $0.slot.take() }
    if let slot { slots.leaveSlot(slot) }
  }

  // MARK: Waiting

  /// Waits for something while others use the slot; the agent keeps its memory.
  ///
  /// - Throws: what `wait` throws; the slots' own error when they are to be empty: put the rest of the work back.
  package nonisolated(nonsending) func wait<Answer: Sendable>(
    _ wait: @escaping @Sendable () async throws -> Answer
  ) async throws -> Answer {
    manager.move(name, to: .waiting)
    slots.beginAside()
    defer { slots.endAside() }
    let admission = held.withLock { $0.admission }
    if let admission { manager.resources.pause(admission) }
    leaveSlot()
    let outcome = await manager.interruptibly(in: slots, wait)
    if let admission { manager.resources.resume(admission) }
    try await begin()
    manager.move(name, to: .running)
    return try outcome.get()
  }

  /// Waits for something while others use the slot and the memory: the state is packed, and large ones go to the store.
  ///
  /// `state` is empty meanwhile and has its bytes again whenever this returns or throws, unless the store that has them can't be read. Where nothing
  /// can be parked now the agent waits with its state in memory.
  ///
  /// - Throws: what `wait` throws; the slots' own error when they are to be empty; what the store throws.
  package nonisolated(nonsending) func park<Answer: Sendable>(
    _ state: inout [UInt8], while wait: @escaping @Sendable () async throws -> Answer
  ) async throws -> Answer {
    var bytes: [UInt8] = []
    swap(&bytes, &state)
    do {
      try await manager.parking.park(name, state: bytes)
    } catch {
      swap(&bytes, &state)
      if error is CancellationError { throw error }
      // No room, or no store: worse than parked, but better than ended.
      manager.noteUnparked()
      return try await self.wait(wait)
    }
    bytes = []
    held.withLock { $0.isParked = true }
    manager.move(name, to: .parked)
    slots.beginAside()
    defer { slots.endAside() }
    if let admission = held.withLock({ $0.admission.take() }) { manager.resources.end(admission) }
    leaveSlot()
    let outcome = await manager.interruptibly(in: slots, wait)
    var refusal: (any Error)?
    do { try await begin() } catch { refusal = error }
    state = try await manager.parking.restore(name)
    held.withLock { $0.isParked = false }
    if let refusal { throw refusal }
    manager.move(name, to: .running)
    return try outcome.get()
  }
}
