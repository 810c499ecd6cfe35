package import CoordinationCore
package import CoordinationEngine
import Synchronization

/// `LeaderCandidate` on a key of a store: one of those who run this leads at a time.
package final class Leadership: Sendable {
  private struct State {
    var candidate: LeaderCandidate
  }

  private let key: String
  private let store: any StateStore
  private let clock: any AgentClock
  private let state: Mutex<State>

  /// A candidate under a name that no other one and no earlier run has.
  package init(
    key: String, name: String, store: any StateStore, policy: LeaderCandidate.Policy = .init(), clock: any AgentClock
  ) {
    self.key = key
    self.store = store
    self.clock = clock
    state = Mutex(State(candidate: LeaderCandidate(name: name, policy: policy)))
  }

  /// The epoch under which it leads now; nil: it doesn't.
  package var epoch: UInt64? {
    let now = clock.now
    return state.withLock { $0.candidate.epoch(now: now) }
  }

  /// Takes and keeps the lease whenever it can, until the task is cancelled; `onChange` is called when it begins or ceases to lead.
  ///
  /// - Throws: `CancellationError`; the lease is free for others then.
  package func run(onChange: @Sendable () -> Void) async throws {
    while true {
      do {
        await step(.tick, onChange)
        let deadline = state.withLock { $0.candidate.nextDeadline }
        try await clock.sleep(until: deadline)
      } catch {
        await resign(onChange)
        throw error
      }
    }
  }

  /// Says goodbye, also from a cancelled task: without it the others wait for the lease's end.
  private func resign(_ onChange: @Sendable () -> Void) async {
    let now = clock.now
    let effects = state.withLock { $0.candidate.handle(.resign, now: now) }
    onChange()
    for case .write(let record, let expected) in effects {
      let (store, key, clock) = (store, key, clock)
      // Owned: awaited here, with a limit. Calls of a cancelled task are cancelled.
      await Task {
        await withTaskGroup(of: Void.self) { group in
          group.addTask {
            _ = try? await store.put(key, Self.encoded(record), if: .revision(Revision(expected)), ttl: nil)
          }
          group.addTask { try? await clock.sleep(until: clock.now + .seconds(1)) }
          await group.next()
          group.cancelAll()
        }
      }.value
    }
  }

  private func step(_ event: LeaderCandidate.Event, _ onChange: @Sendable () -> Void) async {
    var events = [event]
    while !events.isEmpty {
      let now = clock.now
      let effects = state.withLock { [event = events.removeFirst()] in $0.candidate.handle(event, now: now) }
      for effect in effects {
        switch effect {
        case .lead, .stepDown: onChange()
        case .read: events.append(await read())
        case .write(let record, let expected): events.append(await write(record, expected))
        }
      }
    }
  }

  private func read() async -> LeaderCandidate.Event {
    do {
      guard let entry = try await store.get(key) else { return .read(nil, revision: 0) }
      return .read(Self.decoded(entry.value), revision: entry.revision.number)
    } catch { return .unanswered }
  }

  private func write(_ record: LeaderRecord, _ expected: UInt64) async -> LeaderCandidate.Event {
    do {
      let expectation = expected == 0 ? Expectation.absent : .revision(Revision(expected))
      return .written(revision: try await store.put(key, Self.encoded(record), if: expectation, ttl: nil).number)
    } catch EngineError.conflict {
      return .conflict
    } catch { return .unanswered }
  }

  private static func encoded(_ record: LeaderRecord) -> [UInt8] {
    Array("\(record.epoch) \(record.renewals) \(record.holder)".utf8)
  }

  private static func decoded(_ bytes: [UInt8]) -> LeaderRecord? {
    let fields = String(decoding: bytes, as: UTF8.self).split(
      separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard fields.count == 3, let epoch = UInt64(fields[0]), let renewals = UInt64(fields[1]) else { return nil }
    return LeaderRecord(holder: String(fields[2]), epoch: epoch, renewals: renewals)
  }
}
