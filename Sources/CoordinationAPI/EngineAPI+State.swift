import CoordinationEngine
import JSON

extension EngineAPI {
  /// The most bytes of the values in one list: more is asked for by narrower prefixes.
  static let listBytes = 64 * 1_024 * 1_024

  func state(_ call: Call) async throws -> Answer {
    switch call.parts.first {
    case nil:
      try call.only("GET")
      return try await list(call)
    case "watch"? where call.parts.count == 1:
      try call.only("GET")
      return try await watch(call)
    case "batch"? where call.parts.count == 1:
      try call.only("POST")
      return try await batch(call)
    case "keys"? where call.parts.count > 1:
      try call.only("GET", "PUT", "DELETE")
      return try await key(call.rest(1), call)
    default: throw Self.noPath(call.path)
    }
  }

  private func key(_ key: String, _ call: Call) async throws -> Answer {
    try engine.state.limits.check(key: key)
    switch call.request.method {
    case "GET":
      let form = try BytesForm(call.query)
      guard let entry = try await engine.state.get(key) else { throw EngineError.notFound("key \(key)") }
      return Self.ok(Self.json(entry, form))
    case "PUT":
      let fields = try call.fields(["value", "valueBase64", "ifRevision", "ifAbsent", "ttlSeconds"])
      let revision = try await engine.state.put(
        key, try Self.value(fields), if: try Self.expectation(fields), ttl: try fields.seconds("ttlSeconds"))
      return Self.ok(["key": .string(key), "revision": JSONValue(revision.number)])
    default:
      let expected = try call.revision("ifRevision", call.query["ifRevision"]).map { Expectation.revision($0) }
      try await engine.state.delete(key, if: expected ?? .any)
      return Self.ok(["key": .string(key)])
    }
  }

  private static func value(_ fields: TaskAPIFields) throws(TaskAPIError) -> [UInt8] {
    guard let value = try fields.bytes("value") else {
      throw fields.invalid("value", " is missing: any JSON but null, or bytes in valueBase64")
    }
    return value
  }

  private static func expectation(_ fields: TaskAPIFields) throws(TaskAPIError) -> Expectation {
    let revision = try fields.count("ifRevision").map { Revision($0) }
    guard try fields.boolean("ifAbsent") == true else { return revision.map { .revision($0) } ?? .any }
    guard revision == nil else { throw fields.invalid("ifAbsent", ": send it, or ifRevision, not both") }
    return .absent
  }

  private func batch(_ call: Call) async throws -> Answer {
    let known = ["key", "value", "valueBase64", "delete", "ifRevision", "ifAbsent", "ttlSeconds"]
    let objects = try call.fields(["changes"]).objects("changes", known: known) ?? []
    var changes: [StateChange] = []
    for fields in objects {
      let key = try fields.required("key", such: "head.reviewers-17")
      let expected = try Self.expectation(fields)
      guard try fields.boolean("delete") == true else {
        changes.append(
          .put(key: key, value: try Self.value(fields), if: expected, ttl: try fields.seconds("ttlSeconds")))
        continue
      }
      guard try fields.bytes("value") == nil, try fields.seconds("ttlSeconds") == nil else {
        throw fields.invalid("delete", ": what is deleted has no value and no ttlSeconds")
      }
      changes.append(.delete(key: key, if: expected))
    }
    let revisions = try await engine.state.batch(changes)
    return Self.ok(["revisions": .array(revisions.map { JSONValue($0.number) })])
  }

  // MARK: Many keys

  private func list(_ call: Call) async throws -> Answer {
    let form = try BytesForm(call.query)
    let limit = try call.number("limit", 1...engine.state.limits.keys) ?? 1_000
    let list = try await engine.state.list(call.query["prefix"] ?? "")
    let after = call.query["after"].map { Array($0.utf8) } ?? []
    let first = list.entries.partitioningIndex { after.lexicographicallyPrecedes($0.key.utf8) }
    let page = list.entries[first...].prefix(limit)
    let bytes = page.reduce(0) { $0 + $1.value.count }
    guard bytes <= Self.listBytes else {
      throw EngineError.tooLarge(what: "list", bytes: bytes, limit: Self.listBytes)
    }
    return Self.ok([
      "keys": .array(page.map { Self.json($0, form) }), "revision": JSONValue(list.revision.number),
      "more": .bool(page.endIndex < list.entries.endIndex),
    ])
  }

  private func watch(_ call: Call) async throws -> Answer {
    let form = try BytesForm(call.query)
    let after =
      try call.revision("after", call.query["after"])
      ?? call.revision("last-event-id", call.request.lastEventID.flatMap { $0.isEmpty ? nil : $0 })
    let watch = try await engine.state.watch(call.query["prefix"] ?? "", after: after)
    // Until all that was there is given an event has no id: a client that goes on from one would miss what it hasn't seen.
    let isCurrent = Flag(after != nil)
    return stream {
      var events = watch.makeAsyncIterator()
      switch try await events.next() {
      case .put(let entry)?:
        return EventStream.frame("put", Self.json(entry, form), id: isCurrent.isSet ? entry.revision : nil)
      case .removed(let key, let revision)?:
        return EventStream.frame(
          "removed", ["key": .string(key), "revision": JSONValue(revision.number)],
          id: isCurrent.isSet ? revision : nil)
      case .current(let revision)?:
        isCurrent.set()
        return EventStream.frame("current", ["revision": JSONValue(revision.number)], id: revision)
      case nil: return nil
      }
    }
  }

  private static func json(_ entry: StateEntry, _ form: BytesForm) -> JSONValue {
    var json: JSONValue = ["key": .string(entry.key), "revision": JSONValue(entry.revision.number)]
    json.set("value", entry.value, form)
    return json
  }
}

extension Array {
  /// The first place from which on `isBehind` holds, in an array in which it holds for all that follow one for which it does.
  fileprivate func partitioningIndex(_ isBehind: (Element) -> Bool) -> Int {
    var range = startIndex..<endIndex
    while !range.isEmpty {
      let middle = range.lowerBound + range.count / 2
      range = isBehind(self[middle]) ? range.lowerBound..<middle : middle + 1..<range.upperBound
    }
    return range.lowerBound
  }
}
