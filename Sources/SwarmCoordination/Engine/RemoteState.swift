import CoordinationAPI
import CoordinationEngine
import JSON
import NIOHTTP1
import Synchronization

/// A remote engine's keys.
struct RemoteState: StateStore {
  let link: RemoteLink

  var limits: StateLimits { StateLimits() }

  func get(_ key: String) async throws -> StateEntry? {
    let path = try Self.path("state/keys", key)
    do {
      return try Self.entry(
        try await link.engine { try await $0.json(.GET, "\(path)?encoding=base64", isHarmless: true) })
    } catch EngineError.notFound { return nil }
  }

  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    let path = try Self.path("state/keys", key)
    let answer = try await link.engine {
      try await $0.json(.PUT, path, .json(Self.json(value, expected, ttl)), isHarmless: false)
    }
    return Revision(try answer.required("revision", \.count))
  }

  func delete(_ key: String, if expected: Expectation) async throws {
    // A demand that the path has no word for is one of a batch's.
    if case .absent = expected {
      _ = try await batch([.delete(key: key, if: expected)])
      return
    }
    var target = try Self.path("state/keys", key)
    if case .revision(let revision) = expected { target += "?ifRevision=\(revision)" }
    _ = try await link.engine { [target] in try await $0.json(.DELETE, target, isHarmless: false) }
  }

  func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try limits.check(changes)
    let json = changes.map { change -> JSONValue in
      switch change {
      case .put(let key, let value, let expected, let ttl):
        var json = Self.json(value, expected, ttl)
        json["key"] = .string(key)
        return json
      case .delete(let key, let expected):
        var json: JSONValue = ["key": .string(key), "delete": true]
        Self.set(expected, &json)
        return json
      }
    }
    let answer = try await link.engine {
      try await $0.json(.POST, "/v1/state/batch", .json(["changes": .array(json)]), isHarmless: false)
    }
    return try answer.required("revisions", Self.revisions)
  }

  func list(_ prefix: String) async throws -> StateList {
    let answer = try await link.engine {
      try await $0.json(
        .GET, "/v1/state?encoding=base64&limit=\(limits.keys)&prefix=\(APITarget.encoded(prefix))", isHarmless: true)
    }
    return StateList(
      entries: try answer.elements("keys").map(Self.entry), revision: Revision(try answer.required("revision", \.count))
    )
  }

  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try limits.check(prefix: prefix)
    let watch: RemoteWatch
    if let revision {
      watch = RemoteWatch(link, prefix, [], after: revision)
      // Says at once that changes are forgotten.
      try await watch.connect()
    } else {
      let list = try await list(prefix)
      watch = RemoteWatch(
        link, prefix, list.entries.map { .put($0) } + [.current(list.revision)], after: list.revision)
    }
    return StateWatch { try await watch.next() }
  }

  // MARK: Texts

  /// The path of a key; `invalid` for what is no path at all.
  static func path(_ area: String, _ key: String) throws(EngineError) -> String {
    try StateLimits().check(key: key)
    return "/v1/\(area)/\(APITarget.encoded(key))"
  }

  private static func json(_ value: [UInt8], _ expected: Expectation, _ ttl: Duration?) -> JSONValue {
    var json: JSONValue = ["valueBase64": .string(Base64.encode(value))]
    set(expected, &json)
    json["ttlSeconds"] = ttl.map(JSONValue.init(exact:))
    return json
  }

  private static func set(_ expected: Expectation, _ json: inout JSONValue) {
    switch expected {
    case .any: break
    case .absent: json["ifAbsent"] = true
    case .revision(let revision): json["ifRevision"] = JSONValue(revision.number)
    }
  }

  private static func revisions(_ json: JSONValue) -> [Revision]? {
    guard let elements = json.arrayValue else { return nil }
    let revisions = elements.compactMap { $0.count.map { Revision($0) } }
    return revisions.count == elements.count ? revisions : nil
  }

  /// A key as the API has it.
  static func entry(_ json: JSONValue) throws(EngineError) -> StateEntry {
    StateEntry(
      key: try json.required("key", \.stringValue), value: try json.bytes("value"),
      revision: Revision(try json.required("revision", \.count)))
  }
}

/// A watch that goes on where it was when its connection breaks. One task at a time asks it for events.
private final class RemoteWatch: Sendable {
  private struct State {
    /// What is known already and wasn't given yet, the next one last.
    var events: [StateEvent]
    /// The last change that was given.
    var revision: Revision
    var stream: RemoteEvents?
    var hasBroken = false
  }

  private let link: RemoteLink
  private let prefix: String
  private let state: Mutex<State>

  init(_ link: RemoteLink, _ prefix: String, _ events: [StateEvent], after revision: Revision) {
    self.link = link
    self.prefix = prefix
    state = Mutex(State(events: events.reversed(), revision: revision))
  }

  /// Connects, and asks for what comes after what was given.
  @discardableResult
  func connect() async throws -> RemoteEvents {
    let revision = state.withLock { $0.revision }
    let target = "/v1/state/watch?encoding=base64&after=\(revision)&prefix=\(APITarget.encoded(prefix))"
    let stream = try await link.engine { try await $0.stream(target) }
    state.withLock { $0.stream = stream }
    return stream
  }

  func next() async throws -> StateEvent? {
    while true {
      if let event = state.withLock({ $0.events.popLast() }) { return event }
      if link.closing.isEnded { return nil }
      do {
        if let event = try await received() { return event }
      } catch let error as EngineError {
        if link.closing.isEnded { return nil }
        throw error
      }
    }
  }

  /// The next event of the stream; nil: the connection broke, and is to be made again.
  private func received() async throws -> StateEvent? {
    let stream: RemoteEvents
    if let open = state.withLock({ $0.stream }) {
      stream = open
    } else {
      // The first stream of a watch from a list is asked for at once.
      if state.withLock({ $0.hasBroken }) { try await link.pauseBeforeReconnecting() }
      stream = try await connect()
    }
    let event: RemoteEvents.Event?
    do {
      event = try await stream.next()
    } catch {
      try Task.checkCancellation()
      event = nil
    }
    guard let event else {
      state.withLock { ($0.stream, $0.hasBroken) = (nil, true) }
      return nil
    }
    switch event.type {
    case "put":
      let entry = try RemoteState.entry(event.data)
      state.withLock { $0.revision = max($0.revision, entry.revision) }
      return .put(entry)
    case "removed":
      let revision = Revision(try event.data.required("revision", \.count))
      state.withLock { $0.revision = max($0.revision, revision) }
      return .removed(key: try event.data.required("key", \.stringValue), revision: revision)
    case "error": return try failed(event.data)
    default: return nil
    }
  }

  /// What the server says ends the watch; but that its engine can't be reached now.
  private func failed(_ data: JSONValue) throws(EngineError) -> StateEvent? {
    state.withLock { ($0.stream, $0.hasBroken) = (nil, true) }
    guard let text = APIErrorText(data), let error = EngineError(text) else { throw RemoteLink.misunderstood }
    if case .unavailable = error { return nil }
    throw error
  }
}
