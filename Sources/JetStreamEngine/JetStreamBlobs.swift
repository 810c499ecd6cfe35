package import CoordinationEngine
import Crypto
import NATSClient
import NIOCore
import Synchronization

/// Blobs in an object store, under their digests.
package struct JetStreamBlobs: BlobStore {
  let link: EngineLink

  init(_ link: EngineLink) { self.link = link }

  package var limits: BlobLimits { BlobLimits() }
  private var stream: String { "OBJ_\(link.layout.blobBucket)" }
  private func meta(_ digest: BlobDigest) -> String { ObjectStore.metaSubject(link.layout.blobBucket, "\(digest)") }

  private func store() async throws -> ObjectStore {
    guard !link.isClosed else { throw EngineError.unavailable("the engine is closed") }
    try await link.ensureOnce(
      ObjectStore.streamConfiguration(bucket: link.layout.blobBucket, maximumBytes: limits.totalBytes))
    return ObjectStore(jetStream: link.jetStream, bucket: link.layout.blobBucket)
  }

  /// A blob's description as it lies there.
  private func description(
    _ digest: BlobDigest
  ) async throws -> (info: ObjectInfo, sequence: UInt64, stored: Duration)? {
    let message = try await link.patiently { try await link.jetStream.message(stream, .last(subject: meta(digest))) }
    guard let message, let json = try? JSONValue(parsing: message.message.payload) else { return nil }
    let info = ObjectInfo(json: json)
    guard !info.isDeleted, let time = RFC3339.parse(message.time) else { return nil }
    return (info, message.sequence, time)
  }

  package func put(_ bytes: [UInt8]) async throws -> BlobDigest {
    try await link.engine {
      guard bytes.count <= limits.blobBytes else {
        throw EngineError.tooLarge(what: "blob", bytes: bytes.count, limit: limits.blobBytes)
      }
      let store = try await store()
      guard let digest = BlobDigest(bytes: Array(SHA256.hash(data: bytes))) else {
        throw EngineError.corrupt("a SHA-256 has 32 bytes")
      }
      for _ in 0..<5 {
        guard let known = try await description(digest) else { break }
        do {
          // The same description again, stored now: that is when it was last put. Unless a collector has removed it in between.
          _ = try await link.jetStream.compareAndSet(
            stream: stream, meta(digest), known.info.json.buffer, headers: ["Nats-Rollup": "sub"],
            expected: known.sequence,
            retryingFor: link.configuration.patience)
          return digest
        } catch let error as JetStreamError where error.isWrongSequence {}
      }
      let buffer = ByteBuffer(bytes: bytes)
      try await link.patiently { try await store.put("\(digest)", buffer) }
      return digest
    }
  }

  package func get(_ digest: BlobDigest) async throws -> [UInt8] {
    try await link.engine {
      let store = try await store()
      do {
        let bytes = try await link.patiently { try await store.get("\(digest)") }.bytes
        guard Array(SHA256.hash(data: bytes)) == digest.bytes else {
          throw EngineError.corrupt("the blob \(digest) isn't what was put there")
        }
        return bytes
      } catch ObjectStoreError.notFound {
        throw EngineError.notFound("blob \(digest)")
      } catch let error as ObjectStoreError {
        throw EngineError.corrupt("the blob \(digest): \(error)")
      }
    }
  }

  package func info(_ digest: BlobDigest) async throws -> BlobInfo? {
    try await link.engine {
      _ = try await store()
      guard let known = try await description(digest) else { return nil }
      return BlobInfo(digest: digest, bytes: known.info.size, unused: max(.zero, EngineLink.wall - known.stored))
    }
  }

  package func delete(_ digest: BlobDigest, unused: Duration) async throws -> Bool {
    try await link.engine {
      _ = try await store()
      guard let known = try await description(digest) else { return true }
      guard EngineLink.wall - known.stored >= unused else { return false }
      var info = known.info
      info.json["deleted"] = true
      let mark: UInt64
      do {
        mark = try await link.jetStream.compareAndSet(
          stream: stream, meta(digest), info.json.buffer, headers: ["Nats-Rollup": "sub"], expected: known.sequence,
          retryingFor: link.configuration.patience)
      } catch let error as JetStreamError where error.isWrongSequence {
        return false
      }
      // From here on nobody finds it; what is left is its room. A put that comes now stores its own chunks.
      try await link.patiently {
        try await link.jetStream.purgeStream(
          stream, subject: ObjectStore.chunkSubject(link.layout.blobBucket, known.info.identifier))
        try await link.jetStream.purgeStream(stream, subject: meta(digest), before: mark + 1)
      }
      return true
    }
  }

  package func list(after digest: BlobDigest?, maximum: Int) async throws -> [BlobInfo] {
    try await link.engine {
      _ = try await store()
      return try await link.patiently {
        var found: [BlobDigest: BlobInfo] = [:]
        let now = EngineLink.wall
        let consumer = OrderedConsumer(
          link.jetStream, stream: stream, filters: [ObjectStore.metaFilter(link.layout.blobBucket)],
          deliver: .lastPerSubject,
          batch: 1024)
        try await consumer.readToEnd { message in
          guard let json = try? JSONValue(parsing: message.payload) else { return }
          let info = ObjectInfo(json: json)
          guard let name = BlobDigest(info.name), digest.map({ $0 < name }) ?? true else { return }
          found[name] =
            info.isDeleted
            ? nil
            : BlobInfo(
              digest: name, bytes: info.size,
              unused: max(.zero, now - .nanoseconds(Int64(message.metadata.timestamp))))
        }
        return Array(found.values.sorted { $0.digest < $1.digest }.prefix(max(0, min(maximum, limits.listed))))
      }
    }
  }
}
