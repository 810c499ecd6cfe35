import CoordinationEngine

extension ConformanceCase {
  static let blobCases: [ConformanceCase] = [
    ConformanceCase("a blob is found by its SHA-256, and the same bytes are kept once") { harness in
      let blobs = await harness.engine.blobs
      let digest = try await blobs.put(Array("abc".utf8))
      // FIPS 180-2, appendix B.1.
      try expectEqual("\(digest)", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
      try expectEqual(BlobDigest("\(digest)"), digest)
      try expectEqual(try await blobs.get(digest), Array("abc".utf8))
      try expectEqual(try await blobs.put(Array("abc".utf8)), digest)
      try expectEqual(try await blobs.list(after: nil, maximum: 10).map(\.digest), [digest])
      try expectEqual(try await blobs.info(digest)?.bytes, 3)
      let empty = try await blobs.put([])
      try expectEqual(try await blobs.get(empty), [])
    },
    ConformanceCase("a large blob comes back as it was put") { harness in
      let blobs = await harness.engine.blobs
      var bytes = [UInt8](repeating: 0, count: 3_000_000)
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 2_654_435_761 >> 13) }
      let digest = try await blobs.put(bytes)
      try expect(try await blobs.get(digest) == bytes, "the bytes differ")
    },
    ConformanceCase("a blob that isn't there, or is too large, is refused") { harness in
      let blobs = await harness.engine.blobs
      let digest = try require(BlobDigest(bytes: [UInt8](repeating: 7, count: 32)), "digest")
      try await expectError(
        EngineError.self, "a blob that isn't there",
        where: { error in
          if case .notFound = error { true } else { false }
        }
      ) { _ = try await blobs.get(digest) }
      try expectEqual(try await blobs.info(digest), nil)
      let limit = blobs.limits.blobBytes
      try await expectInvalid("a large blob") { _ = try await blobs.put([UInt8](repeating: 0, count: limit + 1)) }
    },
    ConformanceCase("a collector removes what nobody has put for a while, and not what was put again") { harness in
      let blobs = await harness.engine.blobs
      let old = try await blobs.put([1])
      let used = try await blobs.put([2])
      try await harness.pass(.seconds(2))
      _ = try await blobs.put([2])
      try expectEqual(try await blobs.delete(old, unused: .seconds(1)), true)
      try expectEqual(try await blobs.delete(used, unused: .seconds(1)), false)
      try expectEqual(try await blobs.get(used), [2])
      try expectEqual(try await blobs.list(after: nil, maximum: 10).map(\.digest), [used])
      try expectEqual(try await blobs.delete(old, unused: .zero), true)
    },
    ConformanceCase("blobs are listed in pages, sorted") { harness in
      let blobs = await harness.engine.blobs
      var digests: [BlobDigest] = []
      for number in 0..<9 { digests.append(try await blobs.put([UInt8(number)])) }
      digests.sort()
      let first = try await blobs.list(after: nil, maximum: 4).map(\.digest)
      try expectEqual(first, Array(digests[..<4]))
      try expectEqual(try await blobs.list(after: first.last, maximum: 100).map(\.digest), Array(digests[4...]))
    },
    ConformanceCase("blobs survive a restart", needs: [.restart]) { harness in
      let bytes = [UInt8](repeating: 5, count: 100_000)
      let digest = try await harness.engine.blobs.put(bytes)
      let gone = try await harness.engine.blobs.put([6])
      _ = try await harness.engine.blobs.delete(gone, unused: .zero)
      try await harness.crash()
      try expect(try await harness.engine.blobs.get(digest) == bytes, "the bytes differ")
      try expectEqual(try await harness.engine.blobs.list(after: nil, maximum: 10).map(\.digest), [digest])
    },
  ]
}
