package import CoordinationCore
package import CoordinationEngine
import Synchronization

/// The pods and cells as the store tells them, followed by watches. Only the leader and the heads of cells have one.
package final class FleetBoard: Sendable {
  /// A pod's last heartbeat, and when it was heard.
  package struct Pod: Hashable, Sendable {
    /// What it said.
    package var heartbeat: PodHeartbeat
    /// When, on the reader's clock.
    package var heardAt: Duration

    /// Puts it together.
    package init(heartbeat: PodHeartbeat, heardAt: Duration) {
      self.heartbeat = heartbeat
      self.heardAt = heardAt
    }
  }

  private struct State {
    var pods: [String: Pod] = [:]
    var cells: [Int: CellSummary] = [:]
    var isCurrent: Set<String> = []
  }

  private let state = Mutex(State())
  private let store: any StateStore
  private let clock: any FleetClock

  package init(store: any StateStore, clock: any FleetClock) {
    self.store = store
    self.clock = clock
  }

  /// The pods by their tokens; nil until the store has told all of them.
  package var pods: [String: Pod]? { state.withLock { $0.isCurrent.contains(FleetKeys.pods) ? $0.pods : nil } }
  /// What the cells last said, by number.
  package var cells: [CellSummary] { state.withLock { $0.cells.values.sorted { $0.cell < $1.cell } } }

  /// Follows the pods, and the summaries below `cells` where it is named, until the task is cancelled.
  package func follow(cells: String? = nil) async {
    await withDiscardingTaskGroup { group in
      group.addTask { await self.follow(FleetKeys.pods) { self.notePod($0) } }
      if let cells { group.addTask { await self.follow(cells) { self.noteCell($0) } } }
    }
  }

  /// Follows the summaries below a prefix alone.
  func followCells(_ prefix: String) async { await follow(prefix) { self.noteCell($0) } }

  private func follow(_ prefix: String, _ note: (StateEvent) -> Void) async {
    await store.follow(prefix, clock) { event in
      switch event {
      case nil:
        self.state.withLock { state in
          // What was removed meanwhile isn't told: it is what doesn't come again.
          state.isCurrent.remove(prefix)
          if prefix == FleetKeys.pods { state.pods = [:] } else { state.cells = [:] }
        }
      case .current: self.state.withLock { _ = $0.isCurrent.insert(prefix) }
      case .some(let event): note(event)
      }
    }
  }

  private func notePod(_ event: StateEvent) {
    let now = clock.now
    state.withLock { state in
      switch event {
      case .put(let entry):
        let name = String(entry.key.dropFirst(FleetKeys.pods.count))
        if let heartbeat = PodHeartbeat(entry.value) { state.pods[name] = Pod(heartbeat: heartbeat, heardAt: now) }
      case .removed(let key, _): state.pods[String(key.dropFirst(FleetKeys.pods.count))] = nil
      case .current: break
      }
    }
  }

  private func noteCell(_ event: StateEvent) {
    let now = clock.now
    state.withLock { state in
      switch event {
      case .put(let entry):
        if let summary = CellSummary(entry.value, now: now) { state.cells[summary.cell] = summary }
      case .removed(let key, _):
        if let cell = key.split(separator: ".").last.flatMap({ Int($0) }) { state.cells[cell] = nil }
      case .current: break
      }
    }
  }
}

extension StateStore {
  /// Gives the events below a prefix, and begins anew when the watch ends: first nil, then all that is there, `current`, and the changes.
  func follow(_ prefix: String, _ clock: any FleetClock, _ note: (StateEvent?) -> Void) async {
    while !Task.isCancelled {
      do {
        let events = try await watch(prefix, after: nil)
        note(nil)
        for try await event in events { note(event) }
      } catch {}
      guard (try? await clock.sleep(until: clock.now + .seconds(1))) != nil else { return }
    }
  }
}
