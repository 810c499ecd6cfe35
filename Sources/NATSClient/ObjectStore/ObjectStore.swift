import Crypto
package import NIOCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What an object store refuses.
package enum ObjectStoreError: Error, Sendable, Hashable, CustomStringConvertible {
  case invalidBucket(String)
  case invalidName
  /// There is no such object, or it was deleted.
  case notFound(String)
  /// What was read isn't what was stored.
  case digestMismatch(String)
  /// The chunks ended before the size that the object has.
  case incomplete(String)

  package var description: String {
    switch self {
    case .invalidBucket(let name): "'\(name)' is no name of a bucket: letters, digits, - and _"
    case .invalidName: "an object needs a name"
    case .notFound(let name): "there is no object \(name)"
    case .digestMismatch(let name): "the object \(name) doesn't have its digest: it is damaged; store it again"
    case .incomplete(let name):
      "the object \(name) lacks chunks: it was deleted or replaced while it was read; read it again"
    }
  }
}

/// What an object is.
package struct ObjectInfo: Sendable, Hashable {
  package var json: JSONValue

  /// Reads a description as it is stored.
  package init(json: JSONValue) { self.json = json }

  package var name: String { json["name"]?.string ?? "" }
  package var bucket: String { json["bucket"]?.string ?? "" }
  /// Names its chunks.
  package var identifier: String { json["nuid"]?.string ?? "" }
  /// Bytes.
  package var size: Int { json["size"]?.int ?? 0 }
  package var chunks: Int { json["chunks"]?.int ?? 0 }
  /// `SHA-256=` and base 64 for URLs.
  package var digest: String { json["digest"]?.string ?? "" }
  package var isDeleted: Bool { json["deleted"]?.bool ?? false }
}

/// Objects of any size in a bucket, in chunks of a stream, laid out as other NATS clients do.
package struct ObjectStore: Sendable {
  package let jetStream: JetStream
  package let bucket: String

  /// 128 KB, as in other clients.
  package static let chunkSize = 128 * 1024
  /// Chunks without receipt at once: 2 MB.
  private static let window = 16

  private var stream: String { "OBJ_\(bucket)" }

  package static func create(
    _ jetStream: JetStream, bucket: String, storage: StreamStorage = .file, replicas: Int = 1,
    timeToLive: Duration? = nil, maximumBytes: Int = -1
  ) async throws -> ObjectStore {
    try check(bucket)
    _ = try await jetStream.createStream(
      streamConfiguration(
        bucket: bucket, storage: storage, replicas: replicas, timeToLive: timeToLive, maximumBytes: maximumBytes))
    return ObjectStore(jetStream: jetStream, bucket: bucket)
  }

  /// The stream that a bucket is.
  package static func streamConfiguration(
    bucket: String, storage: StreamStorage = .file, replicas: Int = 1, timeToLive: Duration? = nil,
    maximumBytes: Int = -1
  ) -> StreamConfiguration {
    var stream = StreamConfiguration(
      name: "OBJ_\(bucket)", subjects: ["$O.\(bucket).C.>", "$O.\(bucket).M.>"], storage: storage, replicas: replicas)
    stream.refusesWhenFull = true
    stream.allowsRollup = true
    stream.allowsDirect = true
    stream.maximumAge = timeToLive ?? .zero
    stream.maximumBytes = maximumBytes
    return stream
  }

  /// The subject of an object's description.
  package static func metaSubject(_ bucket: String, _ name: String) -> String {
    "$O.\(bucket).M.\(Base64URL.encode(name.utf8, padded: true))"
  }

  /// The subjects of all descriptions.
  package static func metaFilter(_ bucket: String) -> String { "$O.\(bucket).M.>" }

  /// The subject of an object's chunks.
  package static func chunkSubject(_ bucket: String, _ identifier: String) -> String { "$O.\(bucket).C.\(identifier)" }

  /// A bucket whose stream is there.
  package init(jetStream: JetStream, bucket: String) {
    self.jetStream = jetStream
    self.bucket = bucket
  }

  /// A bucket that exists.
  package static func open(_ jetStream: JetStream, bucket: String) async throws -> ObjectStore {
    try check(bucket)
    _ = try await jetStream.streamInfo("OBJ_\(bucket)")
    return ObjectStore(jetStream: jetStream, bucket: bucket)
  }

  private static func check(_ bucket: String) throws(ObjectStoreError) {
    let isFine =
      !bucket.isEmpty
      && bucket.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
          || $0 == 0x5F
      }
    guard isFine else { throw .invalidBucket(bucket) }
  }

  private func metaSubject(_ name: String) -> String { Self.metaSubject(bucket, name) }

  // MARK: Storing

  /// Stores an object from its parts, with a bounded amount of memory. It is there as a whole with the last step, or not at all; an older one of the
  /// name is replaced then.
  @discardableResult
  package func put<Parts: AsyncSequence>(
    _ name: String, _ parts: Parts
  ) async throws -> ObjectInfo where Parts.Element == ByteBuffer {
    guard !name.isEmpty else { throw ObjectStoreError.invalidName }
    let old = try await stored(name)
    let identifier = String(
      jetStream.client.makeInbox().utf8.compactMap { $0 == 0x2E ? nil : Character(Unicode.Scalar($0)) })
    let subject = "$O.\(bucket).C.\(identifier)"
    do {
      let (size, chunks, digest) = try await store(parts, subject)
      let info = ObjectInfo(json: [
        "name": .string(name), "bucket": .string(bucket), "nuid": .string(identifier), "size": .integer(size),
        "chunks": .integer(chunks), "digest": .string("SHA-256=\(digest)"),
        "options": ["max_chunk_size": .integer(Self.chunkSize)],
      ])
      try await jetStream.publish(metaSubject(name), info.json.buffer, headers: ["Nats-Rollup": "sub"])
      if let old, !old.identifier.isEmpty, !old.isDeleted {
        try await jetStream.purgeStream(stream, subject: "$O.\(bucket).C.\(old.identifier)")
      }
      return info
    } catch {
      // Half an object is nobody's. Where this fails too, the chunks stay until the bucket's age limit.
      _ = try? await jetStream.purgeStream(stream, subject: subject)
      throw error
    }
  }

  /// Stores an object from memory.
  @discardableResult
  package func put(_ name: String, _ bytes: ByteBuffer) async throws -> ObjectInfo {
    try await put(name, SinglePart(bytes: bytes))
  }

  private struct SinglePart: AsyncSequence {
    var bytes: ByteBuffer
    struct Iterator: AsyncIteratorProtocol {
      var bytes: ByteBuffer?
      mutating func next() async -> ByteBuffer? {
        defer { bytes = nil }
        return bytes
      }
    }
    func makeAsyncIterator() -> Iterator { Iterator(bytes: bytes) }
  }

  private func store<Parts: AsyncSequence>(
    _ parts: Parts, _ subject: String
  ) async throws -> (size: Int, chunks: Int, digest: String) where Parts.Element == ByteBuffer {
    var pipeline = try PublishPipeline(jetStream, window: Self.window)
    var hash = SHA256()
    var size = 0
    var chunks = 0
    var waiting = ByteBuffer()
    do {
      for try await var part in parts {
        while part.readableBytes > 0 {
          let length = min(part.readableBytes, Self.chunkSize - waiting.readableBytes)
          guard var piece = part.readSlice(length: length) else { break }
          if waiting.readableBytes == 0 { waiting = piece } else { waiting.writeBuffer(&piece) }
          guard waiting.readableBytes == Self.chunkSize else { continue }
          waiting.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
          size += waiting.readableBytes
          chunks += 1
          try await pipeline.send(subject, waiting)
          waiting = ByteBuffer()
        }
      }
      if waiting.readableBytes > 0 {
        waiting.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        size += waiting.readableBytes
        chunks += 1
        try await pipeline.send(subject, waiting)
      }
      try await pipeline.finish()
    } catch {
      // What is under way arrives first, or it would be stored behind the purge that follows.
      _ = try? await pipeline.finish()
      throw error
    }
    return (size, chunks, Base64URL.encode(Array(hash.finalize()), padded: true))
  }

  // MARK: Reading

  private func stored(_ name: String) async throws -> ObjectInfo? {
    guard !name.isEmpty else { throw ObjectStoreError.invalidName }
    guard let message = try await jetStream.message(stream, .last(subject: metaSubject(name))) else { return nil }
    guard let json = try? JSONValue(parsing: message.message.payload) else {
      throw NATSError(.invalidAnswer, "the description of the object \(name) can't be read")
    }
    return ObjectInfo(json: json)
  }

  /// What an object is; nil: there is none.
  package func info(_ name: String) async throws -> ObjectInfo? {
    let info = try await stored(name)
    return info?.isDeleted == true ? nil : info
  }

  /// Reads an object part by part, with a bounded amount of memory. When the body has had the last part, size and digest have been checked; a part
  /// may be damaged until then.
  @discardableResult
  package func get(_ name: String, _ body: (ByteBuffer) async throws -> Void) async throws -> ObjectInfo {
    guard let info = try await info(name) else { throw ObjectStoreError.notFound(name) }
    var hash = SHA256()
    var size = 0
    if info.chunks > 0 {
      let consumer = OrderedConsumer(
        jetStream, stream: stream, filters: ["$O.\(bucket).C.\(info.identifier)"], batch: Self.window)
      try await consumer.readToEnd { message in
        message.payload.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        size += message.payload.readableBytes
        try await body(message.payload)
      }
    }
    guard size == info.size else { throw ObjectStoreError.incomplete(name) }
    guard "SHA-256=\(Base64URL.encode(Array(hash.finalize()), padded: true))" == info.digest else {
      throw ObjectStoreError.digestMismatch(name)
    }
    return info
  }

  /// Reads an object into memory.
  package func get(_ name: String) async throws -> ByteBuffer {
    var bytes = ByteBuffer()
    try await get(name) { part in bytes.writeImmutableBuffer(part) }
    return bytes
  }

  /// All objects, in the order in which they were stored.
  package func list() async throws -> [ObjectInfo] {
    let consumer = OrderedConsumer(
      jetStream, stream: stream, filters: ["$O.\(bucket).M.>"], deliver: .lastPerSubject)
    var objects: [ObjectInfo] = []
    try await consumer.readToEnd { message in
      guard let json = try? JSONValue(parsing: message.payload) else { return }
      let info = ObjectInfo(json: json)
      if !info.isDeleted { objects.append(info) }
    }
    return objects
  }

  /// Deletes an object: first its description, then its chunks.
  package func delete(_ name: String) async throws {
    guard var info = try await info(name) else { throw ObjectStoreError.notFound(name) }
    let identifier = info.identifier
    info.json["deleted"] = true
    info.json["size"] = 0
    info.json["chunks"] = 0
    info.json["digest"] = ""
    try await jetStream.publish(metaSubject(name), info.json.buffer, headers: ["Nats-Rollup": "sub"])
    try await jetStream.purgeStream(stream, subject: "$O.\(bucket).C.\(identifier)")
  }
}
