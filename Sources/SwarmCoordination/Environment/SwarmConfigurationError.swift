/// What is wrong with a worker's settings, and what to do. Its text never has a secret in it.
public struct SwarmConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The environment variable, such as "SWARMSCALE_COORDINATOR".
  public let variable: String
  /// Its value; nil: it isn't set.
  public let value: String?
  /// What is wrong, and what to do.
  public let problem: String

  package init(_ variable: String, _ value: String?, _ problem: String) {
    self.variable = variable
    self.value = value
    self.problem = problem
  }

  /// Variable, value and what to do.
  public var description: String { "\(variable)\(value.map { "=\($0)" } ?? ""): \(problem)" }
}
