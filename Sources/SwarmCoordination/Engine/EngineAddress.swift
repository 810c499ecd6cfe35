package import JetStreamEngine

/// Where what agents share is kept: `http://host:port` of a queue's server, or NATS JetStream (`nats://`, `tls://`).
package enum EngineAddress: Hashable, Sendable, CustomStringConvertible {
  /// A server of tasks, such as `swarmscale tasks serve`.
  case server(UpstreamAddress)
  /// NATS servers: this process has the engine itself.
  case nats(JetStreamAddress)

  /// Reads an address.
  ///
  /// - Throws: `SwarmConfigurationError` that names `variable`, and never says a password.
  package init(
    _ text: String, variable: String = SwarmEnvironment.Variable.tasks
  ) throws(SwarmConfigurationError) {
    guard JetStreamAddress.isOne(text) else {
      self = .server(try UpstreamAddress(text, variable: variable, example: "http://127.0.0.1:8099"))
      return
    }
    do throws(JetStreamAddress.Invalid) {
      self = .nats(try JetStreamAddress(text))
    } catch {
      // The text may have a password in it.
      throw SwarmConfigurationError(variable, nil, error.problem)
    }
  }

  package var description: String {
    switch self {
    case .server(let address): "\(address)"
    case .nats(let address): "\(address)"
    }
  }
}
