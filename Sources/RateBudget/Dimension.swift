/// What a rate limit counts.
///
/// The fast pair (`speed: "fast"`) is no dimension of its own: it has its own limits, so it is a group of its own whose
/// key names the speed.
package enum Dimension: Int, Hashable, Sendable, Comparable, CaseIterable {
  /// Requests.
  case requests
  /// Input tokens without cache reads (the cache-aware limit of an organisation).
  case inputTokens
  /// Input tokens with cache reads (the older kind of limit that a workspace may set besides).
  case inputTokensTotal
  /// Output tokens, charged as they are produced.
  case outputTokens

  /// Whether one dimension stands before another in every listing.
  package static func < (left: Dimension, right: Dimension) -> Bool {
    left.rawValue < right.rawValue
  }

  /// The granularity of `remaining` in response headers: tokens are rounded to the nearest 1,000.
  var headerRounding: Int64 {
    self == .requests ? 0 : 500
  }
}

/// One value for each dimension.
package struct PerDimension<Value: Sendable>: Sendable {
  /// The value for requests.
  package var requests: Value
  /// The value for cache-aware input tokens.
  package var inputTokens: Value
  /// The value for input tokens with cache reads.
  package var inputTokensTotal: Value
  /// The value for output tokens.
  package var outputTokens: Value

  /// Makes a set of values.
  package init(requests: Value, inputTokens: Value, inputTokensTotal: Value, outputTokens: Value) {
    self.requests = requests
    self.inputTokens = inputTokens
    self.inputTokensTotal = inputTokensTotal
    self.outputTokens = outputTokens
  }

  /// The same value for each dimension.
  package init(repeating value: Value) {
    self.init(requests: value, inputTokens: value, inputTokensTotal: value, outputTokens: value)
  }

  /// The value for one dimension.
  package subscript(dimension: Dimension) -> Value {
    get {
      switch dimension {
      case .requests: requests
      case .inputTokens: inputTokens
      case .inputTokensTotal: inputTokensTotal
      case .outputTokens: outputTokens
      }
    }
    set {
      switch dimension {
      case .requests: requests = newValue
      case .inputTokens: inputTokens = newValue
      case .inputTokensTotal: inputTokensTotal = newValue
      case .outputTokens: outputTokens = newValue
      }
    }
  }

  /// The values after `transform`.
  package func map<Other>(_ transform: (Value) -> Other) -> PerDimension<Other> {
    PerDimension<Other>(
      requests: transform(requests), inputTokens: transform(inputTokens),
      inputTokensTotal: transform(inputTokensTotal), outputTokens: transform(outputTokens))
  }
}

extension PerDimension: Equatable where Value: Equatable {}
extension PerDimension: Hashable where Value: Hashable {}

extension PerDimension where Value == Int64 {
  /// Nothing of each dimension.
  package static let zero = PerDimension(repeating: 0)

  /// The sums.
  static func + (left: Self, right: Self) -> Self {
    Self(
      requests: left.requests.addingSaturated(right.requests),
      inputTokens: left.inputTokens.addingSaturated(right.inputTokens),
      inputTokensTotal: left.inputTokensTotal.addingSaturated(right.inputTokensTotal),
      outputTokens: left.outputTokens.addingSaturated(right.outputTokens))
  }

  /// The differences.
  static func - (left: Self, right: Self) -> Self {
    Self(
      requests: left.requests.subtractingSaturated(right.requests),
      inputTokens: left.inputTokens.subtractingSaturated(right.inputTokens),
      inputTokensTotal: left.inputTokensTotal.subtractingSaturated(right.inputTokensTotal),
      outputTokens: left.outputTokens.subtractingSaturated(right.outputTokens))
  }
}

/// Whose budget it is: one set of limits upstream.
package struct GroupKey: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The organisation (`anthropic-organization-id`), or a hash of the credential until it is known.
  package var organization: String
  /// The workspace (`anthropic-workspace-id`); empty when unknown or default.
  package var workspace: String
  /// The model group, such as "claude-sonnet-4.x".
  package var modelGroup: String
  /// "fast" for the fast pair of limits, otherwise empty.
  package var speed: String

  /// Makes a key.
  package init(organization: String, workspace: String = "", modelGroup: String, speed: String = "") {
    self.organization = organization
    self.workspace = workspace
    self.modelGroup = modelGroup
    self.speed = speed
  }

  /// Whether one key stands before another in every listing.
  package static func < (left: GroupKey, right: GroupKey) -> Bool {
    (left.organization, left.workspace, left.modelGroup, left.speed)
      < (right.organization, right.workspace, right.modelGroup, right.speed)
  }

  /// organisation/workspace/group, with the speed where there is one.
  package var description: String {
    "\(organization)/\(workspace)/\(modelGroup)" + (speed.isEmpty ? "" : "/\(speed)")
  }
}
