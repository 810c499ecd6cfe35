import CoordinationAPI
import CoordinationEngine
import JSON
import NIOHTTP1
import TaskQueue

/// A remote engine's blobs.
struct RemoteBlobs: BlobStore {
  let link: RemoteLink

  var limits: BlobLimits { BlobLimits() }

  func put(_ bytes: [UInt8]) async throws -> BlobDigest {
    guard bytes.count <= limits.blobBytes else {
      throw EngineError.tooLarge(what: "blob", bytes: bytes.count, limit: limits.blobBytes)
    }
    let answer = try await link.engine { try await $0.json(.POST, "/v1/blobs", .bytes(bytes), isHarmless: true) }
    return try answer.required("digest", Self.digest)
  }

  func get(_ digest: BlobDigest) async throws -> [UInt8] {
    try await link.engine { try await $0.call(.GET, "/v1/blobs/\(digest)", isHarmless: true) }
  }

  func info(_ digest: BlobDigest) async throws -> BlobInfo? {
    do {
      return try Self.info(
        try await link.engine { try await $0.json(.GET, "/v1/blobs/\(digest)/info", isHarmless: true) })
    } catch EngineError.notFound { return nil }
  }

  func delete(_ digest: BlobDigest, unused: Duration) async throws -> Bool {
    let answer = try await link.engine {
      try await $0.json(
        .DELETE, "/v1/blobs/\(digest)?unusedSeconds=\(unused.decimalSeconds)", isHarmless: true)
    }
    return try answer.required("deleted", \.boolValue)
  }

  func list(after digest: BlobDigest?, maximum: Int) async throws -> [BlobInfo] {
    let after = digest.map { "&after=\($0)" } ?? ""
    let answer = try await link.engine {
      try await $0.json(.GET, "/v1/blobs?limit=\(maximum)\(after)", isHarmless: true)
    }
    return try answer.elements("blobs").map(Self.info)
  }

  private static func digest(_ json: JSONValue) -> BlobDigest? { json.stringValue.flatMap { BlobDigest($0) } }

  private static func info(_ json: JSONValue) throws(EngineError) -> BlobInfo {
    BlobInfo(
      digest: try json.required("digest", digest), bytes: Int(try json.required("bytes", \.intValue)),
      unused: try json.required("unusedSeconds", \.duration))
  }
}

/// A remote engine's counters. An addition is said again only where it wasn't heard.
struct RemoteCounters: Counters {
  let link: RemoteLink

  func add(_ delta: Int64, to name: String) async throws -> Int64 {
    let answer = try await link.engine {
      try await $0.json(.POST, Self.path(name), .json(["add": .int(delta)]), isHarmless: false)
    }
    return try answer.required("value", \.intValue)
  }

  func value(of name: String) async throws -> Int64 {
    try await link.engine { try await $0.json(.GET, Self.path(name), isHarmless: true) }
      .required("value", \.intValue)
  }

  func remove(_ name: String) async throws {
    _ = try await link.engine { try await $0.json(.DELETE, Self.path(name), isHarmless: false) }
  }

  private static func path(_ name: String) throws(EngineError) -> String {
    try RemoteState.path("counters", name)
  }
}

/// A remote engine's schedules.
struct RemoteSchedules: Schedules {
  let link: RemoteLink

  func schedule(_ key: String, _ item: ScheduledItem, after delay: Duration) async throws {
    var body: JSONValue = ["delaySeconds": JSONValue(exact: delay)]
    switch item {
    case .task(let task, let queue):
      var json = RemoteTaskText.json(task)
      json["queue"] = .string(queue)
      body["task"] = json
    case .message(let message): body["message"] = RemoteMessages.json(message)
    }
    // Said twice it could come twice: the first may be over already.
    _ = try await link.engine {
      try await $0.json(.PUT, try RemoteState.path("schedules", key), .json(body), isHarmless: false)
    }
  }

  func cancel(_ key: String) async throws -> Bool {
    let answer = try await link.engine {
      try await $0.json(.DELETE, try RemoteState.path("schedules", key), isHarmless: false)
    }
    return try answer.required("cancelled", \.boolValue)
  }

  func pending() async throws -> [PendingSchedule] {
    let answer = try await link.engine { try await $0.json(.GET, "/v1/schedules", isHarmless: true) }
    return try answer.elements("schedules").map { one in
      PendingSchedule(
        key: try one.required("key", \.stringValue), remaining: try one.required("remainingSeconds", \.duration))
    }
  }
}

extension Duration {
  /// Seconds as a query has them.
  var decimalSeconds: String { "\(Double(components.seconds) + Double(components.attoseconds) / 1e18)" }
}
