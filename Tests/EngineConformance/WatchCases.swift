import CoordinationEngine

extension StateWatch.AsyncIterator {
  /// The next event; fails at the end.
  mutating func one() async throws -> StateEvent { try require(try await next(), "event") }
}

extension StateEvent {
  /// The key and the value, for comparison without revisions; nil for what is gone.
  var change: (key: String, value: [UInt8]?)? {
    switch self {
    case .put(let entry): (entry.key, entry.value)
    case .removed(let key, _): (key, nil)
    case .current: nil
    }
  }
}

/// Fails unless the event is this change.
private func expectChange(
  _ event: StateEvent, _ key: String, _ value: [UInt8]?, file: String = #fileID, line: Int = #line
) throws {
  guard let change = event.change, change.key == key, change.value == value else {
    throw ConformanceFailure(
      "the event is \(event), not \(key) = \(value.map { "\($0)" } ?? "gone")", file: file, line: line)
  }
}

extension ConformanceCase {
  static let watchCases: [ConformanceCase] = [
    ConformanceCase("a watch gives what is there, says so, and then each change as it comes") { harness in
      let state = await harness.state
      try await state.put("w.b", [2])
      try await state.put("w.a", [1])
      try await state.put("other", [9])
      var events = try await state.watch("w.", after: nil).makeAsyncIterator()
      var first: [String: [UInt8]?] = [:]
      for _ in 0..<2 {
        let change = try require(try await events.one().change, "change")
        first[change.key] = change.value
      }
      try expectEqual(first, ["w.a": [1], "w.b": [2]])
      guard case .current = try await events.one() else {
        throw ConformanceFailure("the end of what is there isn't said")
      }
      try await state.put("other", [8])
      try await state.put("w.a", [3])
      try expectChange(try await events.one(), "w.a", [3])
      try await state.delete("w.b")
      try expectChange(try await events.one(), "w.b", nil)
      async let waiting = { try await events.one() }()
      try await state.put("w.c", [4])
      try expectChange(try await waiting, "w.c", [4])
    },
    ConformanceCase("a watch goes on from a revision, without what was before it") { harness in
      let state = await harness.state
      try await state.put("a", [1])
      let revision = try await state.list("").revision
      try await state.put("b", [2])
      try await state.put("a", [3])
      try await state.delete("b")
      var events = try await state.watch("", after: revision).makeAsyncIterator()
      var last: [String: [UInt8]?] = [:]
      // Of b the put may be left out, the removal may not.
      while last["b"] != .some(nil) || last["a"] == nil {
        let change = try require(try await events.one().change, "change")
        last[change.key] = change.value
      }
      try expectEqual(last, ["a": [3], "b": nil])
    },
    ConformanceCase("a watch sees the end of a key's time") { harness in
      let state = await harness.state
      var events = try await state.watch("", after: nil).makeAsyncIterator()
      guard case .current = try await events.one() else {
        throw ConformanceFailure("the end of what is there isn't said")
      }
      try await state.put("lease", [1], ttl: .seconds(1))
      try expectChange(try await events.one(), "lease", [1])
      async let gone = { try await events.one() }()
      try await harness.pass(.seconds(2))
      try expectChange(try await gone, "lease", nil)
    },
    ConformanceCase("a watcher that looks seldom gets the last change of each key") { harness in
      let state = await harness.state
      var events = try await state.watch("", after: nil).makeAsyncIterator()
      guard case .current = try await events.one() else {
        throw ConformanceFailure("the end of what is there isn't said")
      }
      for number in 0..<300 { try await state.put("k\(number % 3)", Array("\(number)".utf8)) }
      var last: [String: [UInt8]?] = [:]
      while last != ["k0": Array("297".utf8), "k1": Array("298".utf8), "k2": Array("299".utf8)] {
        let change = try require(try await events.one().change, "change")
        last[change.key] = change.value
      }
    },
    ConformanceCase("a watch ends when its task is cancelled") { harness in
      let watch = try await harness.state.watch("x.", after: nil)
      let task = Task {
        for try await _ in watch {}
      }
      task.cancel()
      do {
        try await task.value
      } catch is CancellationError {}
    },
    ConformanceCase("an election: of several that create one key one succeeds, and the next when its lease ends") {
      harness in
      let state = await harness.state
      let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
        for candidate in 0..<8 {
          group.addTask {
            do {
              try await state.create("leader", [UInt8(candidate)], ttl: .seconds(2))
              return true
            } catch EngineError.conflict { return false }
          }
        }
        var count = 0
        for try await won in group where won { count += 1 }
        return count
      }
      try expectEqual(winners, 1, "the number of leaders")
      try await harness.pass(.seconds(3))
      try await state.create("leader", [99], ttl: .seconds(2))
    },
  ]
}
