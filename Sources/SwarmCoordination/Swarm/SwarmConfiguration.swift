package import CoordinationCore
public import Logging

/// How a worker joins its fleet. Made from the environment that the webhook gives a pod; every setting can be changed.
public struct SwarmConfiguration: Sendable {
  let environment: SwarmEnvironment
  /// The value of an environment variable.
  let variable: @Sendable (String) -> String?
  /// Where the Claude API is; default `ANTHROPIC_UPSTREAM`, else "https://api.anthropic.com".
  public var upstream: String
  /// How many agents run at once; default `SWARMSCALE_SLOTS`, else 1. 0: no limit.
  public var slots: Int
  /// How long a request waits for the budget at most; default 300 s.
  public var hold: Duration
  /// How many bytes of memory the worker may use where its control group sets no limit, or a lower one than that; nil, the default: no such bound. Agents begin
  /// only while what they are expected to need fits below 85 % of it.
  public var memory: Int?
  /// Headers of each request that the request itself doesn't have: the credential. Asked each time, so that nothing keeps
  /// a key. Default: `x-api-key` from `ANTHROPIC_API_KEY`.
  public var headers: @Sendable () -> [String: String]
  /// Whether SIGTERM makes the agents take no new work, for good; default true. Work that was begun goes on to its end or its
  /// next checkpoint. SIGTERM doesn't end the process then: whoever neither works through `Swarm.agents` nor looks at
  /// `AgentPool.isDraining` should say false.
  public var drainsOnTermination = true
  /// How long what agents left in the engine is kept; tests don't wait ten minutes.
  package var collection = GarbageCollector.Policy()
  /// Where the library logs what its users should know; what it does each time is at `debug`. Never a key, a prompt or a
  /// completion.
  public var logger: Logger

  /// Reads the environment of docs/library.md.
  ///
  /// - Parameter environment: the variables; nil: those of this process.
  /// - Throws: `SwarmConfigurationError`, which names variable, value and what to do.
  public init(environment variables: [String: String]? = nil) throws(SwarmConfigurationError) {
    let value: @Sendable (String) -> String? = { name in
      if let variables { variables[name] } else { ProcessFacts.variable(name) }
    }
    environment = try SwarmEnvironment(reading: value, fileExists: ProcessFacts.fileExists)
    variable = value
    upstream = environment.upstream.description
    slots = environment.slots ?? 1
    hold = .seconds(300)
    headers = { value("ANTHROPIC_API_KEY").map { ["x-api-key": $0] } ?? [:] }
    logger = Logger(label: "swarmscale")
  }

  /// Where the coordinator is, as a URL; nil: the worker is on its own, with limits learned from response headers.
  public var coordinator: String? { environment.coordinator?.description }
}
