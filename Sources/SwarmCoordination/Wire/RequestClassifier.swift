package import RateBudget

/// What a request asks for, as far as the budget needs to know. A body that can't be read leaves it empty.
package struct RequestClass: Hashable, Sendable {
  /// The model; empty: unknown.
  package var model = ""
  /// Whether events are asked for.
  package var isStream = false
  /// `max_tokens`, if it was readable.
  package var maxTokens: Int64?
  /// "fast" for the fast pair of limits.
  package var speed = ""
  /// The kind of work, for learned means: "tools", "plain", or empty where it is unknown.
  package var kind = ""
  /// The size of the body, if it was readable.
  package var bodyBytes: Int64?

  /// Nothing known.
  package init() {}

  /// What the estimator learns by.
  package func features(session: String) -> InputEstimator.Features {
    InputEstimator.Features(model: model, kind: kind, session: session, bodyBytes: bodyBytes, maxTokens: maxTokens)
  }
}

/// Reads the class of a request from its body, which may come in pieces. The body itself is never changed or kept.
package struct RequestClassifier: Sendable {
  private static let fields: [JSONFieldScanner.Field] = [
    .init("model"), .init("stream"), .init("max_tokens"), .init("speed"), .init("tools"),
  ]

  private var scanner = JSONFieldScanner(fields)
  private var count: Int64 = 0

  /// Nothing read yet.
  package init() {}

  /// Takes in the next piece.
  package mutating func take(_ bytes: UnsafeRawBufferPointer) {
    count += Int64(bytes.count)
    scanner.scan(bytes)
  }

  /// What was read; empty unless the body was a complete JSON object that names a model.
  package var result: RequestClass {
    var result = RequestClass()
    result.isStream = scanner.values[1]?.boolean ?? false
    guard scanner.isComplete, let model = scanner.values[0]?.text else { return result }
    result.model = model
    result.maxTokens = scanner.values[2]?.number
    result.speed = scanner.values[3]?.text ?? ""
    result.kind = scanner.values[4] == .container ? "tools" : "plain"
    result.bodyBytes = count
    return result
  }
}
