package import AgentMessages
package import CoordinationEngine

/// A change of shared state was refused, or the store can't be reached.
public struct SharedStateError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What happened, and what to do.
  public var message: String
  /// Whether it may go better later. A change may have been made or not: look before it is made again.
  public var isWorthRetrying: Bool

  init(_ error: EngineError) {
    message = error.description
    if case .unavailable = error { isWorthRetrying = true } else { isWorthRetrying = false }
  }

  /// The message.
  public var description: String { message }
}

/// Values that the agents of a fleet share, under names, in a space of their own.
///
/// A change is made by compare-and-set: two agents that change one value at once both see the other's change. Values are for
/// plans, assignments, settings: small, and changed a few times a second at most. Many writers of one value get in one
/// another's way: split it, or send messages to one agent that owns it.
public struct SharedState: Sendable {
  private let store: any StateStore
  private let clock: any MessengerClock
  private let space: String

  /// The values of a space; spaces don't see one another.
  package init(
    _ space: String, store: any StateStore, clock: any MessengerClock = SystemMessengerClock()
  ) throws(MessageError) {
    do throws(MessagingError) {
      self.space = "shared.\(try PlaceName.encode(space, dots: false))."
    } catch { throw MessageError(error) }
    self.store = store
    self.clock = clock
  }

  /// A value as it is now; nil: there is none.
  ///
  /// - Throws: `SharedStateError`.
  public func value(_ name: String) async throws -> [UInt8]? {
    let key = try key(name)
    return try await asking { try await store.get(key)?.value }
  }

  /// All values as they are now.
  ///
  /// - Throws: `SharedStateError`.
  public func values() async throws -> [String: [UInt8]] {
    let entries = try await asking { try await store.list(space).entries }
    return Dictionary(
      entries.compactMap { entry in name(entry.key).map { ($0, entry.value) } }, uniquingKeysWith: { $1 })
  }

  /// Changes a value: `change` gets it as it is (nil: there is none) and gives what it is to be (nil: none). When somebody else was
  /// faster it is asked again, with what they made of it; so it should do nothing but compute.
  ///
  /// - Parameter timeToLive: how long the value lasts unless it is changed again, whole seconds; nil: until somebody removes it.
  /// - Returns: the value as it is now.
  /// - Throws: `SharedStateError`; `CancellationError`; what `change` throws.
  @discardableResult
  public func update(
    _ name: String, timeToLive: Duration? = nil, _ change: @Sendable ([UInt8]?) throws -> [UInt8]?
  ) async throws -> [UInt8]? {
    let key = try key(name)
    var attempt = 0
    while true {
      let entry = try await asking { try await store.get(key) }
      let value = try change(entry?.value)
      let expected = entry.map { Expectation.revision($0.revision) } ?? .absent
      do {
        if let value {
          _ = try await store.put(key, value, if: expected, ttl: timeToLive)
        } else if entry != nil {
          try await store.delete(key, if: expected)
        }
        return value
      } catch EngineError.conflict {
        // Full jitter: those who met once needn't meet again.
        attempt = min(attempt + 1, 8)
        try await clock.sleep(until: clock.now + .microseconds(Int64.random(in: 0..<(250 << Int64(attempt)))))
      } catch let error as EngineError {
        throw SharedStateError(error)
      }
    }
  }

  /// Keeps all values of the space in memory while `body` runs, as they were a moment ago: reading them costs nothing. When it begins
  /// they are all there.
  ///
  /// - Throws: `SharedStateError`; what `body` throws.
  public func withView<Result: Sendable>(
    _ body: @escaping @Sendable (SharedStateView) async throws -> Result
  ) async throws -> Result {
    let view = SharedStateView()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask {
        try await self.follow(view)
        return nil
      }
      group.addTask {
        try await view.untilCurrent()
        return try await body(view)
      }
      defer { group.cancelAll() }
      while let result = try await group.next() {
        if let result { return result }
      }
      throw CancellationError()
    }
  }

  /// Keeps a view up to date. What breaks the watch is mended by looking at everything anew.
  private func follow(_ view: SharedStateView) async throws {
    while true {
      do {
        let list = try await store.list(space)
        view.replace(
          Dictionary(
            list.entries.compactMap { entry in name(entry.key).map { ($0, entry.value) } }, uniquingKeysWith: { $1 }))
        for try await event in try await store.watch(space, after: list.revision) {
          switch event {
          case .put(let entry): if let name = name(entry.key) { view.set(name, entry.value) }
          case .removed(let key, _): if let name = name(key) { view.set(name, nil) }
          case .current: break
          }
        }
        throw EngineError.unavailable("the engine was closed")
      } catch let error as EngineError {
        switch error {
        case .compacted, .unavailable: try await clock.sleep(until: clock.now + .seconds(1))
        default: throw SharedStateError(error)
        }
      }
    }
  }

  private func asking<Result>(_ body: () async throws -> Result) async throws -> Result {
    do { return try await body() } catch let error as EngineError { throw SharedStateError(error) }
  }

  private func key(_ name: String) throws -> String {
    do throws(MessagingError) {
      return space + (try PlaceName.encode(name, dots: false))
    } catch { throw MessageError(error) }
  }

  private func name(_ key: String) -> String? { PlaceName.decode(key.dropFirst(space.utf8.count)) }
}

/// The values of a space as they were a moment ago.
public final class SharedStateView: Sendable {
  private struct State {
    var values: [String: [UInt8]] = [:]
    var isCurrent = false
    var version: UInt64 = 0
  }

  private let state = Watched(State())

  /// A value; nil: there is none.
  public subscript(_ name: String) -> [UInt8]? { state.read { $0.values[name] } }

  /// All values.
  public var values: [String: [UInt8]] { state.read(\.values) }

  /// Counts the changes that were seen.
  public var version: UInt64 { state.read(\.version) }

  /// Waits until more changes were seen than `version`; gives the new count.
  ///
  /// - Throws: `CancellationError`.
  @discardableResult
  public func changed(since version: UInt64) async throws -> UInt64 {
    try await state.wait { $0.version > version }
    return self.version
  }

  func untilCurrent() async throws { try await state.wait(until: \.isCurrent) }

  func replace(_ values: [String: [UInt8]]) {
    state.change { state in
      state.isCurrent = true
      guard values != state.values else { return }
      state.values = values
      state.version += 1
    }
  }

  func set(_ name: String, _ value: [UInt8]?) {
    state.change { state in
      state.values[name] = value
      state.version += 1
    }
  }
}
