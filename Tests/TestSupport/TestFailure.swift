/// A failure of a test's own making, with the words that a person needs to find it.
package struct TestFailure: Error, CustomStringConvertible, Sendable {
  /// What went wrong.
  package var description: String

  /// Makes a failure.
  package init(_ description: String) {
    self.description = description
  }
}

/// Unwraps `value`, or throws a `TestFailure` that says what was missing; for helpers outside test functions.
package func unwrap<Value>(_ value: Value?, _ what: @autoclosure () -> String) throws -> Value {
  guard let value else { throw TestFailure("expected \(what()), found nothing") }
  return value
}
