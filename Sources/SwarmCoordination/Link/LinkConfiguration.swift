package import RateBudget

/// How a worker reaches its coordinator, and how it gets along without it.
package struct LinkConfiguration: Sendable {
  /// How the connection is secured.
  package enum Security: Hashable, Sendable {
    /// Not at all: for one machine and for tests.
    case plaintext
    /// TLS; `authorities` is a file in PEM with those to trust, nil: the system's. `serverName` is the name in the
    /// coordinator's certificate, nil: the host.
    case tls(authorities: String?, serverName: String?)
  }

  /// The coordinator's host: a name, or an address.
  package var host: String
  /// Its port.
  package var port: Int
  /// How the connection is secured.
  package var security: Security
  /// Reads the token that the worker shows; asked at each connection, since projected tokens are renewed.
  package var token: @Sendable () -> String?
  /// What the worker can do beyond the protocol's version.
  package var capabilities: [String]
  /// How budgets are run as long as no coordinator has said it.
  package var defaults: BudgetConfiguration
  /// What a worker may use that has never been told a share, in percent of its group's limit. Default 1.
  package var initialPercent: Int64
  /// How long a request waits for the first word of a coordinator before the worker's own share is used. Default: not at
  /// all. It ends as soon as an attempt to connect fails.
  package var patience: Duration
  /// How long the link waits for more to say before it says it. Default 5 ms; the first after a silence goes at once.
  package var batch: Duration
  /// The first pause after a lost connection; it doubles up to `longestBackoff`, half of it is drawn. Default 0.25 s.
  package var backoff: Duration
  /// The longest pause. Default 15 s.
  package var longestBackoff: Duration

  /// Makes a configuration.
  package init(
    host: String, port: Int, security: Security, token: @escaping @Sendable () -> String? = { nil },
    defaults: BudgetConfiguration = BudgetConfiguration()
  ) {
    self.host = host
    self.port = port
    self.security = security
    self.token = token
    capabilities = []
    self.defaults = defaults
    initialPercent = 1
    patience = .zero
    batch = .milliseconds(5)
    backoff = .milliseconds(250)
    longestBackoff = .seconds(15)
  }

  /// The share of a worker that has never been told one.
  func initialShare(_ budget: BudgetConfiguration) -> Share {
    var floor = PerDimension<Int64>(repeating: .max)
    for dimension in Dimension.allCases {
      guard let limit = budget.limits[dimension] ?? budget.assumedLimits[dimension] else { continue }
      floor[dimension] = min(max(limit, 0), 1_000_000_000_000) * 1_000_000 / 100 * min(max(initialPercent, 0), 100)
    }
    return Share(rates: floor, floor: floor)
  }
}
