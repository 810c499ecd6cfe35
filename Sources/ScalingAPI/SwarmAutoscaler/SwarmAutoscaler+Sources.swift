extension SwarmAutoscaler {
  /// Work queued and in flight.
  package struct BacklogMetric: Hashable, Sendable, Codable {
    /// Where the number comes from. Default: what the workers report through the embedded library or sidecar.
    package var source: BacklogSource?
    /// averageValue: tasks per worker; or a Band of it. The type may be left out.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(source: BacklogSource? = nil, target: MetricTarget? = nil) {
      self.source = source
      self.target = target
    }
  }

  /// A numeric source for the backlog; exactly one member is set.
  package struct BacklogSource: Hashable, Sendable, Codable {
    /// A metric of external.metrics.k8s.io.
    package var external: BacklogExternalSource?
    /// A metric of a Kubernetes object.
    package var object: BacklogObjectSource?
    /// A PromQL query.
    package var prometheus: PrometheusQuery?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      external: BacklogExternalSource? = nil, object: BacklogObjectSource? = nil, prometheus: PrometheusQuery? = nil
    ) {
      self.external = external
      self.object = object
      self.prometheus = prometheus
    }
  }

  /// A metric of external.metrics.k8s.io.
  package struct BacklogExternalSource: Hashable, Sendable, Codable {
    /// Which metric.
    package var metric: MetricIdentifier?

    /// Makes a value; what is left out is absent from the JSON.
    package init(metric: MetricIdentifier? = nil) {
      self.metric = metric
    }
  }

  /// A metric of a Kubernetes object.
  package struct BacklogObjectSource: Hashable, Sendable, Codable {
    /// The object that the number describes.
    package var describedObject: ObjectReference?
    /// Which metric.
    package var metric: MetricIdentifier?

    /// Makes a value; what is left out is absent from the JSON.
    package init(describedObject: ObjectReference? = nil, metric: MetricIdentifier? = nil) {
      self.describedObject = describedObject
      self.metric = metric
    }
  }

  /// A PromQL query and where to send it.
  package struct PrometheusQuery: Hashable, Sendable, Codable {
    /// The base URL, such as http://prometheus.monitoring:9090.
    package var serverAddress: String?
    /// A PromQL query that gives one number; the values of all returned series are added.
    package var query: String?
    /// What an empty answer means: Hold the last value, Zero, or Fail. Default Hold.
    package var absent: Open<SwarmAutoscaler.AbsentBehavior>?
    /// How to authenticate. Default: not at all.
    package var authentication: Authentication?
    /// How to check the server's certificate. Default: against the system's authorities.
    package var tls: TLSOptions?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      serverAddress: String? = nil, query: String? = nil, absent: Open<SwarmAutoscaler.AbsentBehavior>? = nil,
      authentication: Authentication? = nil, tls: TLSOptions? = nil
    ) {
      self.serverAddress = serverAddress
      self.query = query
      self.absent = absent
      self.authentication = authentication
      self.tls = tls
    }
  }

  /// The result of a PromQL query.
  package struct PrometheusMetric: Hashable, Sendable, Codable {
    /// The base URL, such as http://prometheus.monitoring:9090.
    package var serverAddress: String?
    /// A PromQL query that gives one number; the values of all returned series are added.
    package var query: String?
    /// Value, AverageValue, or Band of the mean per worker.
    package var target: MetricTarget?
    /// What an empty answer means: Hold the last value, Zero, or Fail. Default Hold.
    package var absent: Open<SwarmAutoscaler.AbsentBehavior>?
    /// How to authenticate. Default: not at all.
    package var authentication: Authentication?
    /// How to check the server's certificate. Default: against the system's authorities.
    package var tls: TLSOptions?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      serverAddress: String? = nil, query: String? = nil, target: MetricTarget? = nil,
      absent: Open<SwarmAutoscaler.AbsentBehavior>? = nil, authentication: Authentication? = nil, tls: TLSOptions? = nil
    ) {
      self.serverAddress = serverAddress
      self.query = query
      self.target = target
      self.absent = absent
      self.authentication = authentication
      self.tls = tls
    }
  }

  /// Credentials from a Secret in the namespace of the autoscaler.
  package struct Authentication: Hashable, Sendable, Codable {
    /// Bearer or Basic.
    package var type: Open<SwarmAutoscaler.AuthenticationType>?
    /// The Secret.
    package var secretRef: CredentialsReference?

    /// Makes a value; what is left out is absent from the JSON.
    package init(type: Open<SwarmAutoscaler.AuthenticationType>? = nil, secretRef: CredentialsReference? = nil) {
      self.type = type
      self.secretRef = secretRef
    }
  }

  /// Which keys of which Secret hold the credentials.
  package struct CredentialsReference: Hashable, Sendable, Codable {
    /// The name of the Secret.
    package var name: String?
    /// The key of the bearer token. Default token.
    package var tokenKey: String?
    /// The key of the user name. Default username.
    package var usernameKey: String?
    /// The key of the password. Default password.
    package var passwordKey: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, tokenKey: String? = nil, usernameKey: String? = nil, passwordKey: String? = nil) {
      self.name = name
      self.tokenKey = tokenKey
      self.usernameKey = usernameKey
      self.passwordKey = passwordKey
    }
  }

  /// How the certificate of a server is checked.
  package struct TLSOptions: Hashable, Sendable, Codable {
    /// The authorities to trust, in PEM. Default key ca.crt.
    package var caSecretRef: SecretKeyReference?
    /// A Secret of type kubernetes.io/tls with the client certificate (tls.crt, tls.key).
    package var clientSecretRef: SecretReference?
    /// The name to expect in the certificate. Default: the host of the URL.
    package var serverName: String?
    /// Accept any certificate: whoever can answer in the server's place then decides your replica count. Default false.
    package var insecureSkipVerify: Bool?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      caSecretRef: SecretKeyReference? = nil, clientSecretRef: SecretReference? = nil, serverName: String? = nil,
      insecureSkipVerify: Bool? = nil
    ) {
      self.caSecretRef = caSecretRef
      self.clientSecretRef = clientSecretRef
      self.serverName = serverName
      self.insecureSkipVerify = insecureSkipVerify
    }
  }

  /// One key of a Secret.
  package struct SecretKeyReference: Hashable, Sendable, Codable {
    /// The name of the Secret.
    package var name: String?
    /// The key. Default ca.crt.
    package var key: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, key: String? = nil) {
      self.name = name
      self.key = key
    }
  }

  /// The name of a Secret.
  package struct SecretReference: Hashable, Sendable, Codable {
    /// The name of the Secret.
    package var name: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil) {
      self.name = name
    }
  }

  /// A count that holds at certain hours.
  package struct ScheduleMetric: Hashable, Sendable, Codable {
    /// The IANA name of the time zone, such as Europe/Berlin. Default UTC.
    package var timeZone: String?
    /// When the count begins to hold: a cron expression of five fields, such as "0 8 * * 1-5".
    package var start: String?
    /// When it ends to hold: a cron expression.
    package var end: String?
    /// The count; a floor for the demand while it holds.
    package var replicas: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(timeZone: String? = nil, start: String? = nil, end: String? = nil, replicas: Int32? = nil) {
      self.timeZone = timeZone
      self.start = start
      self.end = end
      self.replicas = replicas
    }
  }

  /// The load on a shared API budget: a ceiling, never a demand.
  package struct APIRateMetric: Hashable, Sendable, Codable {
    /// The APIBudget, in the namespace of the autoscaler.
    package var budgetRef: BudgetReference?
    /// Up to which share of the limit the offered load may go. Default: the budget's own target.
    package var target: PercentBand?

    /// Makes a value; what is left out is absent from the JSON.
    package init(budgetRef: BudgetReference? = nil, target: PercentBand? = nil) {
      self.budgetRef = budgetRef
      self.target = target
    }
  }

  /// The name of an APIBudget.
  package struct BudgetReference: Hashable, Sendable, Codable {
    /// The name of the APIBudget.
    package var name: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil) {
      self.name = name
    }
  }

  /// A band of percent: inside it nothing changes.
  package struct PercentBand: Hashable, Sendable, Codable {
    /// The lower end, in percent; below upper. Default 85.
    package var lower: Int32?
    /// The upper end, in percent. Default 95.
    package var upper: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(lower: Int32? = nil, upper: Int32? = nil) {
      self.lower = lower
      self.upper = upper
    }
  }
}
