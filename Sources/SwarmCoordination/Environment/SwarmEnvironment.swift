package import CoordinationProtocol

/// What a worker, or the sidecar beside it, reads from its environment: the contract of docs/sidecar.md. Pure: who reads
/// passes the variables in, and tells which files there are.
package struct SwarmEnvironment: Hashable, Sendable {
  /// The names of the variables.
  package enum Variable {
    /// Where the coordinator is.
    package static let coordinator = "SWARMSCALE_COORDINATOR"
    /// The pod's namespace.
    package static let namespace = "SWARMSCALE_NAMESPACE"
    /// The pod's name.
    package static let pod = "SWARMSCALE_POD"
    /// The pod's uid.
    package static let uid = "SWARMSCALE_POD_UID"
    /// The autoscaler that the pod belongs to.
    package static let autoscaler = "SWARMSCALE_AUTOSCALER"
    /// The kind of worker.
    package static let kind = "SWARMSCALE_WORKER_KIND"
    /// The file with the token.
    package static let tokenFile = "SWARMSCALE_TOKEN_FILE"
    /// The file with the authorities.
    package static let authorityFile = "SWARMSCALE_CA_FILE"
    /// The name in the coordinator's certificate.
    package static let serverName = "SWARMSCALE_COORDINATOR_SERVER_NAME"
    /// How many agents the worker runs at once.
    package static let slots = "SWARMSCALE_SLOTS"
    /// The folder where results are kept while the queue is away.
    package static let outbox = "SWARMSCALE_OUTBOX"
    /// Where the API is.
    package static let upstream = "ANTHROPIC_UPSTREAM"
    /// Where the queue of tasks is.
    package static let tasks = "SWARMSCALE_TASKS"
  }

  /// Where the webhook mounts the projected token, whose audience is `swarmscale.dev`.
  package static let defaultTokenFile = "/var/run/secrets/swarmscale.dev/token"
  /// Where it mounts the coordinator's authority.
  package static let defaultAuthorityFile = "/var/run/secrets/swarmscale.dev/ca.crt"
  /// The API itself.
  package static let defaultUpstream = "https://api.anthropic.com"
  /// More slots than this are a mistake.
  package static let slotLimit = 10_000

  /// Where the coordinator is; nil: the worker is on its own.
  package var coordinator: CoordinatorAddress?
  /// The pod's namespace; empty without a coordinator.
  package var namespace: String
  /// The pod's name; empty without a coordinator.
  package var pod: String
  /// The pod's uid; empty: unknown.
  package var uid: String
  /// The autoscaler that the pod belongs to; empty: none.
  package var autoscaler: String
  /// The kind of worker; empty: none.
  package var kind: String
  /// The file with the token that the worker shows.
  package var tokenFile: String
  /// The file with the authorities to trust, in PEM; nil: the system's.
  package var authorityFile: String?
  /// The name in the coordinator's certificate; nil: its host.
  package var serverName: String?
  /// How many agents the worker runs at once; nil: not said.
  package var slots: Int?
  /// Where the API is.
  package var upstream: UpstreamAddress
  /// Where the queue of tasks is; nil: there is none.
  package var tasks: EngineAddress?
  /// The folder where results are kept while the queue is away; nil: in memory.
  package var outbox: String?

  /// Reads the variables. An empty one counts as not set.
  ///
  /// - Throws: `SwarmConfigurationError` with the variable, its value and what to do.
  package init(
    reading variable: (String) -> String?, fileExists: (String) -> Bool
  ) throws(SwarmConfigurationError) {
    func value(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
    coordinator = try Self.coordinator(value(Variable.coordinator))
    let isMember = coordinator != nil
    namespace = try Self.name(Variable.namespace, value, field: isMember ? "metadata.namespace" : nil)
    pod = try Self.name(Variable.pod, value, field: isMember ? "metadata.name" : nil)
    uid = try Self.name(Variable.uid, value)
    autoscaler = try Self.name(Variable.autoscaler, value)
    kind = value(Variable.kind) ?? ""
    guard kind.utf8.count <= ProtocolLimits.labelBytes, kind.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      throw SwarmConfigurationError(
        Variable.kind, kind, "at most \(ProtocolLimits.labelBytes) bytes without control characters; use a shorter word"
      )
    }
    tokenFile = value(Variable.tokenFile) ?? Self.defaultTokenFile
    if let file = value(Variable.authorityFile) {
      guard coordinator?.isSecure != true || fileExists(file) else {
        throw SwarmConfigurationError(
          Variable.authorityFile, file,
          "there is no such file that can be read; mount the authority that signed the coordinator's "
            + "certificate there, or remove the variable to trust the system's authorities")
      }
      authorityFile = file
    } else {
      authorityFile = fileExists(Self.defaultAuthorityFile) ? Self.defaultAuthorityFile : nil
    }
    serverName = value(Variable.serverName)
    slots = try Self.slots(value(Variable.slots))
    upstream = try UpstreamAddress(value(Variable.upstream) ?? Self.defaultUpstream)
    if let text = value(Variable.tasks) { tasks = try EngineAddress(text) }
    outbox = value(Variable.outbox)
  }

  private static func coordinator(_ text: String?) throws(SwarmConfigurationError) -> CoordinatorAddress? {
    guard let text else { return nil }
    guard let address = CoordinatorAddress(text) else {
      throw SwarmConfigurationError(
        Variable.coordinator, text,
        "https://host:port is needed (http://host:port without TLS), such as https://swarmscale.swarmscale-system:8443")
    }
    return address
  }

  /// A name as the protocol takes it; `field` is where the downward API has it, if it must be there.
  private static func name(
    _ variable: String, _ value: (String) -> String?, field: String? = nil
  ) throws(SwarmConfigurationError) -> String {
    guard let text = value(variable) else {
      guard let field else { return "" }
      throw SwarmConfigurationError(
        variable, nil,
        "isn't set, but \(Variable.coordinator) is; set it from the pod: valueFrom: {fieldRef: {fieldPath: \(field)}}")
    }
    guard text.utf8.count <= ProtocolLimits.nameBytes,
      text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") })
    else {
      throw SwarmConfigurationError(
        variable, text, "isn't the name of an object of Kubernetes; use that name alone, without namespace or slash")
    }
    return text
  }

  private static func slots(_ text: String?) throws(SwarmConfigurationError) -> Int? {
    guard let text else { return nil }
    guard let number = Int(text), (1...slotLimit).contains(number) else {
      throw SwarmConfigurationError(
        Variable.slots, text, "a number from 1 to \(slotLimit) is needed: how many agents the worker runs at once")
    }
    return number
  }

  // MARK: What follows

  /// Who the worker is. `incarnation` must differ for each process.
  package func identity(incarnation: String) -> WorkerIdentity {
    WorkerIdentity(
      namespace: namespace, pod: pod, uid: uid, fleet: autoscaler, kind: kind, incarnation: incarnation)
  }

  /// How the coordinator is reached; nil: there is none.
  package func link(readingToken read: @escaping @Sendable (_ file: String) -> String?) -> LinkConfiguration? {
    guard let coordinator else { return nil }
    // A token in clear belongs to whoever listens.
    let mayShowToken = coordinator.isSecure || coordinator.isLoopback
    var link = LinkConfiguration(
      host: coordinator.host, port: coordinator.port,
      security: coordinator.isSecure ? .tls(authorities: authorityFile, serverName: serverName) : .plaintext,
      token: { [tokenFile] in mayShowToken ? read(tokenFile) : nil })
    link.patience = .seconds(2)
    return link
  }
}
