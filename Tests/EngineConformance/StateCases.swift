import CoordinationEngine

extension EngineHarness {
  /// The keys of the engine as it runs now.
  var state: any StateStore { get async { await engine.state } }
}

/// Fails unless a change is refused because a key isn't as expected.
func expectConflict(
  _ key: String, file: String = #fileID, line: Int = #line, _ body: () async throws -> Void
) async throws {
  try await expectError(
    EngineError.self, "a change of \(key)",
    where: { error in
      if case .conflict(key, _, _) = error { true } else { false }
    }, file: file, line: line, body)
}

func expectInvalid(_ what: String, file: String = #fileID, line: Int = #line, _ body: () async throws -> Void)
  async throws
{
  try await expectError(
    EngineError.self, what,
    where: { error in
      switch error {
      case .invalid, .tooLarge: true
      default: false
      }
    }, file: file, line: line, body)
}

extension ConformanceCase {
  static let stateCases: [ConformanceCase] = [
    ConformanceCase("a key is set, read, changed and removed, and its revision rises with each change") { harness in
      let state = await harness.state
      try expectEqual(try await state.get("head.a"), nil)
      let first = try await state.create("head.a", [1])
      try expectEqual(try await state.get("head.a"), StateEntry(key: "head.a", value: [1], revision: first))
      let second = try await state.put("head.a", [2], if: .revision(first), ttl: nil)
      try expect(second > first, "the revision doesn't rise")
      try expectEqual(try await state.get("head.a")?.value, [2])
      try await state.delete("head.a", if: .revision(second))
      try expectEqual(try await state.get("head.a"), nil)
      try await state.delete("head.a")
      let third = try await state.create("head.a", [])
      try expect(third > second, "the revision doesn't rise")
      try expectEqual(try await state.get("head.a")?.value, [])
    },
    ConformanceCase("a change whose expectation isn't met changes nothing") { harness in
      let state = await harness.state
      let first = try await state.put("k", [1])
      try await expectConflict("k") { try await state.create("k", [2]) }
      let second = try await state.put("k", [3])
      try await expectConflict("k") { _ = try await state.put("k", [4], if: .revision(first), ttl: nil) }
      try await expectConflict("k") { try await state.delete("k", if: .revision(first)) }
      try expectEqual(try await state.get("k"), StateEntry(key: "k", value: [3], revision: second))
      try await expectConflict("none") { _ = try await state.put("none", [1], if: .revision(second), ttl: nil) }
      try await expectConflict("none") { try await state.delete("none", if: .revision(second)) }
    },
    ConformanceCase("of many that change one key at once each change counts once") { harness in
      let state = await harness.state
      _ = try await state.put("n", Array("0".utf8))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<5 {
          group.addTask {
            var done = 0
            while done < 5 {
              let entry = try require(try await state.get("n"), "key")
              let number = try require(Int(String(decoding: entry.value, as: UTF8.self)), "number")
              do {
                _ = try await state.put("n", Array("\(number + 1)".utf8), if: .revision(entry.revision), ttl: nil)
                done += 1
              } catch EngineError.conflict {}
            }
          }
        }
        try await group.waitForAll()
      }
      try expectEqual(try await state.get("n")?.value, Array("25".utf8))
    },
    ConformanceCase("a key with a time to live ends by itself, and one that is put again lives on") { harness in
      let state = await harness.state
      try await state.put("short", [1], ttl: .seconds(2))
      try await state.put("renewed", [1], ttl: .seconds(2))
      try await harness.pass(.seconds(1))
      try expectEqual(try await state.get("short")?.value, [1])
      let revision = try await state.put("renewed", [2], ttl: .seconds(20))
      try await harness.pass(.seconds(2))
      try expectEqual(try await state.get("short"), nil)
      try expectEqual(try await state.get("renewed")?.revision, revision)
      try await state.create("short", [3])
    },
    ConformanceCase("a batch is made whole or not at all") { harness in
      let state = await harness.state
      let first = try await state.put("a", [1])
      let revisions = try await state.batch([
        .put(key: "a", value: [2], if: .revision(first)), .put(key: "b", value: [3], if: .absent), .delete(key: "c"),
      ])
      try expectEqual(revisions.count, 3)
      try expectEqual(try await state.get("a")?.revision, revisions[0])
      try expectEqual(try await state.get("b")?.revision, revisions[1])
      try await expectConflict("b") {
        _ = try await state.batch([.put(key: "a", value: [9]), .put(key: "b", value: [9], if: .absent)])
      }
      try expectEqual(try await state.get("a")?.value, [2])
      try await expectConflict("a") {
        _ = try await state.batch([.delete(key: "b"), .delete(key: "a", if: .revision(first))])
      }
      try expectEqual(try await state.get("b")?.value, [3])
      try await expectInvalid("a key that occurs twice") {
        _ = try await state.batch([.put(key: "a", value: []), .delete(key: "a")])
      }
      try await expectInvalid("an empty batch") { _ = try await state.batch([]) }
      let many = (0..<1_000).map { StateChange.put(key: "many.\($0)", value: [1]) }
      try expectEqual(Set(try await state.batch(many)).count, 1_000)
    },
    ConformanceCase("keys are listed by whole tokens, sorted, as of one revision") { harness in
      let state = await harness.state
      for key in ["b.2", "a", "b.10", "b.1", "bb.1", "b"] { try await state.put(key, Array(key.utf8)) }
      let list = try await state.list("b.")
      try expectEqual(list.entries.map(\.key), ["b.1", "b.10", "b.2"])
      try expect(list.entries.allSatisfy { $0.value == Array($0.key.utf8) }, "a value is another's")
      try expectEqual(try await state.list("").entries.map(\.key), ["a", "b", "b.1", "b.10", "b.2", "bb.1"])
      try expectEqual(try await state.list("c.").entries, [])
      let last = try await state.put("z", [])
      let all = try await state.list("")
      try expect(all.revision >= last, "the list's revision is before its last change")
    },
    ConformanceCase("what isn't a key, a prefix, a value or a time to live is refused with what is allowed") {
      harness in
      let state = await harness.state
      for key in ["", ".", "a.", ".a", "a..b", "a b", "ä", "a*", String(repeating: "k", count: 1_000)] {
        try await expectInvalid("the key \"\(key)\"") { try await state.put(key, []) }
      }
      for prefix in ["a", ".", "a..", "*"] {
        try await expectInvalid("the prefix \"\(prefix)\"") { _ = try await state.list(prefix) }
      }
      let limit = state.limits.valueBytes
      try await expectInvalid("a large value") { try await state.put("k", [UInt8](repeating: 0, count: limit + 1)) }
      try await expectInvalid("a short life") { try await state.put("k", [], ttl: .milliseconds(1)) }
      try await state.put("k", [UInt8](repeating: 7, count: limit))
      try expectEqual(try await state.get("k")?.value.count, limit)
    },
    ConformanceCase("keys survive a restart with their revisions, and end when they would have", needs: [.restart]) {
      harness in
      let first = try await harness.state.put("a", [1])
      try await harness.state.put("b", [2], ttl: .seconds(3))
      try await harness.state.put("c", [3])
      try await harness.state.delete("c")
      try await harness.crash()
      try expectEqual(try await harness.state.get("a"), StateEntry(key: "a", value: [1], revision: first))
      try expectEqual(try await harness.state.get("b")?.value, [2])
      try expectEqual(try await harness.state.get("c"), nil)
      let next = try await harness.state.put("a", [4], if: .revision(first), ttl: nil)
      let list = try await harness.state.list("")
      try expect(next > first && list.entries.allSatisfy { $0.revision <= next }, "a revision went back")
      try await harness.pass(.seconds(4))
      try expectEqual(try await harness.state.get("b"), nil)
    },
  ]
}
