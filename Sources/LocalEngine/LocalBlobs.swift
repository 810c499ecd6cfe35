import CoordinationEngine
import Crypto

/// A local engine's blobs.
struct LocalBlobs: BlobStore {
  let engine: LocalEngine

  var limits: BlobLimits { engine.settings.blobs }

  func put(_ bytes: [UInt8]) async throws -> BlobDigest {
    let digest = Self.digest(bytes)
    try await engine.perform { core, now in try core.blobs.put(bytes, digest, now: now) }
    return digest
  }

  func get(_ digest: BlobDigest) async throws -> [UInt8] {
    let bytes: [UInt8]
    switch try await engine.perform({ core, _ in try core.blobs.place(digest) }) {
    case .here(let contents): bytes = contents
    case .written:
      guard let written = try await engine.journal?.blob(digest) else { throw EngineError.notFound("blob \(digest)") }
      bytes = written
    }
    guard Self.digest(bytes) == digest else {
      throw EngineError.corrupt(
        "blob \(digest) isn't what was put: the disk or somebody has changed it; go back to an earlier checkpoint")
    }
    return bytes
  }

  func info(_ digest: BlobDigest) async throws -> BlobInfo? {
    try await engine.perform { core, now in core.blobs.info(digest, now: now) }
  }

  func delete(_ digest: BlobDigest, unused: Duration) async throws -> Bool {
    try await engine.perform { core, now in core.blobs.delete(digest, unused: unused, now: now) }
  }

  func list(after digest: BlobDigest?, maximum: Int) async throws -> [BlobInfo] {
    try await engine.perform { core, now in try core.blobs.list(after: digest, maximum: maximum, now: now) }
  }

  private static func digest(_ bytes: [UInt8]) -> BlobDigest {
    guard let digest = BlobDigest(bytes: Array(SHA256.hash(data: bytes))) else {
      preconditionFailure("a SHA-256 has 32 bytes")
    }
    return digest
  }
}
