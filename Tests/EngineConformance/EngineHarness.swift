package import CoordinationEngine

/// An engine under test, and what a test can do to it beside its verbs. Each case has one of its own.
package protocol EngineHarness: Sendable {
  /// What the engine can show.
  var abilities: Set<EngineAbility> { get }
  /// The engine as it runs now: its `run` is under way.
  var engine: any CoordinationEngine { get async }
  /// Lets time pass: moves the engine's clock, or waits really. Cases let seconds pass, not minutes.
  func pass(_ duration: Duration) async throws
  /// Ends the engine as `kill -9` would, and starts it again with what it had. Only with `restart`.
  func crash() async throws
  /// Makes the engine unable to do its work until `restore`, as a full disk or a dead server. Only with `outage`.
  func breakDown() async throws
  /// Ends the outage.
  func restore() async throws
  /// Ends the engine for good.
  func stop() async
}

/// What an engine can show.
package enum EngineAbility: Hashable, Sendable {
  /// What was acknowledged survives `crash`.
  case restart
  /// Its clock is moved by `pass`: cases may let hours pass.
  case manualTime
  /// It can be made unable to work.
  case outage
}

extension EngineHarness {
  package func crash() async throws { throw ConformanceFailure("this harness has no crash") }
  package func breakDown() async throws { throw ConformanceFailure("this harness has no outage") }
  package func restore() async throws {}
}

/// Something that an engine must show, under a name that says what.
package struct ConformanceCase: Sendable, CustomStringConvertible {
  /// The sentence.
  package let name: String
  /// What is needed to show it.
  package let needs: Set<EngineAbility>
  /// Shows it; throws a `ConformanceFailure` when the engine doesn't do as it should.
  package let run: @Sendable (any EngineHarness) async throws -> Void

  init(
    _ name: String, needs: Set<EngineAbility> = [], _ run: @escaping @Sendable (any EngineHarness) async throws -> Void
  ) {
    self.name = name
    self.needs = needs
    self.run = run
  }

  package var description: String { name }

  /// All that an engine with these abilities must show.
  package static func all(with abilities: Set<EngineAbility>) -> [ConformanceCase] {
    (taskCases + taskRecoveryCases + stateCases + watchCases + blobCases + otherCases)
      .filter { $0.needs.isSubset(of: abilities) }
  }

  /// The case with a harness that is stopped at the end, whatever comes of it.
  package func check(_ harness: any EngineHarness) async throws {
    do {
      try await run(harness)
    } catch {
      await harness.stop()
      throw error
    }
    await harness.stop()
  }
}

/// What an engine did that it shouldn't have.
package struct ConformanceFailure: Error, CustomStringConvertible, Sendable {
  package let description: String

  init(_ text: String, file: String = #fileID, line: Int = #line) {
    description = "\(file):\(line): \(text)"
  }
}

/// Fails unless two values are equal.
func expectEqual<Value: Equatable>(
  _ value: Value, _ expected: Value, _ what: String = "", file: String = #fileID, line: Int = #line
) throws {
  guard value == expected else {
    throw ConformanceFailure("\(what) is \(value), not \(expected)", file: file, line: line)
  }
}

/// Fails unless a condition holds.
func expect(_ condition: Bool, _ what: String, file: String = #fileID, line: Int = #line) throws {
  guard condition else { throw ConformanceFailure(what, file: file, line: line) }
}

/// Gives the value, or fails for nil.
func require<Value>(_ value: Value?, _ what: String, file: String = #fileID, line: Int = #line) throws -> Value {
  guard let value else { throw ConformanceFailure("there is no \(what)", file: file, line: line) }
  return value
}

/// Fails unless `body` throws an error of a type for which `isExpected` holds.
func expectError<Failure: Error>(
  _ type: Failure.Type, _ what: String, where isExpected: (Failure) -> Bool, file: String = #fileID, line: Int = #line,
  _ body: () async throws -> Void
) async throws {
  do {
    try await body()
  } catch let error as Failure where isExpected(error) {
    return
  } catch {
    throw ConformanceFailure("\(what) gives the error \(error)", file: file, line: line)
  }
  throw ConformanceFailure("\(what) is accepted", file: file, line: line)
}
