/// Keys with values: heads of checkpoints, leases, members, configuration. Each change has a revision, and a change can demand one.
///
/// Errors are `EngineError`s; whatever waits may also end by cancellation.
package protocol StateStore: Sendable {
  /// What the store holds at most.
  var limits: StateLimits { get }
  /// A key's value; nil when it isn't there.
  func get(_ key: String) async throws -> StateEntry?
  /// Sets a key, if it is as expected; gives its new revision. With `ttl` the key ends by itself so long after this put; without, never.
  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision
  /// Removes a key, if it is as expected. A key that isn't there is no error with `any`; with `revision` it is a conflict.
  func delete(_ key: String, if expected: Expectation) async throws
  /// Makes all changes or none; gives a revision for each, in their order (for a delete of a key that isn't there, any). A key may
  /// occur once. When an expectation isn't met the error names a key that isn't as expected.
  func batch(_ changes: [StateChange]) async throws -> [Revision]
  /// The keys below a prefix with their values, sorted by key, and the revision as of which that is true.
  func list(_ prefix: String) async throws -> StateList
  /// Changes of keys below a prefix. With `revision`: those after it, else first what is there. Of a key that changes more often than
  /// the watcher looks, changes may be left out, never the last. Throws `compacted` when removals since `revision` may be forgotten.
  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch
}

extension StateStore {
  /// Sets a key whatever it is.
  @discardableResult
  package func put(_ key: String, _ value: [UInt8], ttl: Duration? = nil) async throws -> Revision {
    try await put(key, value, if: .any, ttl: ttl)
  }

  /// Sets a key that isn't there; `conflict` when it is.
  @discardableResult
  package func create(_ key: String, _ value: [UInt8], ttl: Duration? = nil) async throws -> Revision {
    try await put(key, value, if: .absent, ttl: ttl)
  }

  /// Removes a key whatever it is.
  package func delete(_ key: String) async throws {
    try await delete(key, if: .any)
  }
}

/// The place of a change in the order of all changes of a store. Revisions of different stores can't be compared, and not
/// every number is used.
package struct Revision: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The number; the first change has at least 1.
  package var number: UInt64

  /// The revision of a number.
  package init(_ number: UInt64) {
    self.number = number
  }

  /// Before the first change.
  package static let zero = Revision(0)

  package static func < (lhs: Revision, rhs: Revision) -> Bool { lhs.number < rhs.number }

  package var description: String { "\(number)" }
}

/// What a change demands of the key as it is.
package enum Expectation: Hashable, Sendable, CustomStringConvertible {
  /// Nothing.
  case any
  /// That it isn't there.
  case absent
  /// That this is its last change.
  case revision(Revision)

  package var description: String {
    switch self {
    case .any: "anything"
    case .absent: "none"
    case .revision(let revision): "revision \(revision)"
    }
  }
}

/// A key as it is.
package struct StateEntry: Hashable, Sendable {
  /// The key.
  package var key: String
  /// The value.
  package var value: [UInt8]
  /// Its last change.
  package var revision: Revision

  /// Puts an entry together.
  package init(key: String, value: [UInt8], revision: Revision) {
    self.key = key
    self.value = value
    self.revision = revision
  }
}

/// A change of a key, in a batch.
package enum StateChange: Hashable, Sendable {
  /// Sets it.
  case put(key: String, value: [UInt8], if: Expectation = .any, ttl: Duration? = nil)
  /// Removes it.
  case delete(key: String, if: Expectation = .any)

  /// The key that changes.
  package var key: String {
    switch self {
    case .put(let key, _, _, _), .delete(let key, _): key
    }
  }
}

/// Keys as they were at a revision.
package struct StateList: Hashable, Sendable {
  /// The keys, sorted as bytes.
  package var entries: [StateEntry]
  /// The store's last change when it was made: watch from here to miss nothing.
  package var revision: Revision

  /// Puts a list together.
  package init(entries: [StateEntry], revision: Revision) {
    self.entries = entries
    self.revision = revision
  }
}

/// What a watch sees.
package enum StateEvent: Hashable, Sendable {
  /// The key was set; this is how it is.
  case put(StateEntry)
  /// The key is gone: deleted, or its time was over.
  case removed(key: String, revision: Revision)
  /// What was there when the watch began has been given. Comes once, and only for a watch without a revision.
  case current(Revision)
}

/// Changes of keys as they come. It holds no buffer that grows: whoever looks seldom gets the last change of each key.
///
/// Ends when the engine is closed; throws `EngineError` when it can't go on (`compacted`, `unavailable`), and `CancellationError`.
package struct StateWatch: AsyncSequence, Sendable {
  private let advance: @Sendable () async throws -> StateEvent?

  /// Makes a watch of a function that waits for the next event; nil at the end. It is called by one task at a time.
  package init(_ advance: @escaping @Sendable () async throws -> StateEvent?) {
    self.advance = advance
  }

  /// Gives the events in their order.
  package struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let advance: @Sendable () async throws -> StateEvent?

    package mutating func next() async throws -> StateEvent? { try await advance() }
  }

  package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(advance: advance) }
}

/// What a store of keys holds at most.
package struct StateLimits: Hashable, Sendable {
  /// Bytes of a key.
  package var keyBytes = 256
  /// Bytes of a value. Below the 1 MB that NATS takes as one message unless told otherwise.
  package var valueBytes = 256 * 1_024
  /// Changes in a batch: what JetStream takes as one.
  package var batchChanges = 1_000
  /// Bytes of a batch's values together.
  package var batchBytes = 4 * 1_024 * 1_024
  /// Keys.
  package var keys = 1_000_000
  /// Bytes of all values.
  package var totalBytes = 512 * 1_024 * 1_024
  /// The shortest and the longest time to live. JetStream counts in whole seconds.
  package var ttl = Duration.seconds(1)...Duration.seconds(31_536_000)

  /// The limits that hold where nothing else is said.
  package init() {}

  /// Refuses what isn't a key: tokens of letters, digits, `-`, `_`, `=` and `/`, with dots between them.
  package func check(key: String) throws(EngineError) {
    guard Self.isDotted(key), key.utf8.count <= keyBytes else {
      throw .invalid(
        "key: 1 to \(keyBytes) letters, digits and -_=/ with single dots between them, such as \"head.reviewers-17\", not "
          + "\"\(key.prefix(80))\"")
    }
  }

  /// Refuses what isn't a prefix: empty, or whole tokens with the dot after them.
  package func check(prefix: String) throws(EngineError) {
    guard prefix.isEmpty || (prefix.hasSuffix(".") && Self.isDotted(prefix.dropLast())) else {
      throw .invalid(
        "prefix: empty, or whole tokens with a dot at the end, such as \"head.\", not \"\(prefix.prefix(80))\"")
    }
  }

  /// Refuses a time to live that can't be kept.
  package func check(ttl: Duration?) throws(EngineError) {
    guard let ttl, !self.ttl.contains(ttl) else { return }
    throw .invalid(
      "ttl: \(self.ttl.lowerBound.components.seconds) s to \(self.ttl.upperBound.components.seconds) s, not \(ttl)")
  }

  /// Refuses a batch that no store takes.
  package func check(_ changes: [StateChange]) throws(EngineError) {
    guard (1...batchChanges).contains(changes.count) else {
      throw .invalid("batch: 1 to \(batchChanges) changes, not \(changes.count)")
    }
    var keys: Set<String> = []
    var bytes = 0
    for change in changes {
      try check(key: change.key)
      guard keys.insert(change.key).inserted else { throw .invalid("batch: \(change.key) occurs twice") }
      guard case .put(_, let value, _, let ttl) = change else { continue }
      guard value.count <= valueBytes else {
        throw .tooLarge(what: "value of \(change.key)", bytes: value.count, limit: valueBytes)
      }
      try check(ttl: ttl)
      bytes += value.count
    }
    guard bytes <= batchBytes else { throw .tooLarge(what: "batch", bytes: bytes, limit: batchBytes) }
  }

  private static func isDotted(_ text: some StringProtocol) -> Bool {
    let tokens = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    return !tokens.isEmpty && tokens.allSatisfy { !$0.isEmpty && $0.allSatisfy(isKeyCharacter) }
  }

  private static func isKeyCharacter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "="),
      UInt8(ascii: "/"):
      true
    default: false
    }
  }
}
