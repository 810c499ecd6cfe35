package import KubernetesCore
package import KubernetesRuntime
package import Logging
import ServiceLifecycle

/// Keeps the certificates of all replicas in one Secret, renews them in time, and puts their authorities into the webhook
/// configurations. Every replica runs it: whoever sees first that something is due writes, and the others take it from there.
package struct CertificateKeeper: Service {
  /// Where, and for whom.
  package struct Configuration: Sendable {
    /// The Secret.
    package var secret: ObjectKey
    /// The names of the serving certificate.
    package var names: Set<String>
    /// The name of the webhook configurations whose `caBundle` is kept; nil: none.
    package var webhooks: String?
    /// The `APIService` whose `caBundle` is kept, and the Service that it must name: another program's is left alone. nil: none.
    package var apiService: (name: String, service: ObjectKey)?
    /// How long, and when.
    package var policy: CertificatePlan.Policy
    /// How often the Secret and the configurations are looked at.
    package var interval: Duration

    /// Makes a configuration.
    package init(
      secret: ObjectKey, names: Set<String>, webhooks: String?, apiService: (name: String, service: ObjectKey)? = nil,
      policy: CertificatePlan.Policy = .init(), interval: Duration = .seconds(60)
    ) {
      self.secret = secret
      self.names = names
      self.webhooks = webhooks
      self.apiService = apiService
      self.policy = policy
      self.interval = interval
    }
  }

  private let configuration: Configuration
  private let client: APIClient
  private let identity: ServingIdentity
  private let time: any TimeSource
  private let logger: Logger

  private static let secrets = GroupVersionResource(group: "", version: "v1", resource: "secrets")
  private static let webhookKinds = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"].map {
    GroupVersionResource(group: "admissionregistration.k8s.io", version: "v1", resource: $0)
  }
  private static let apiServices = GroupVersionResource(
    group: "apiregistration.k8s.io", version: "v1", resource: "apiservices")
  /// How often a write that others overtook is decided anew at once.
  private static let conflictRetries = 5

  /// Makes a keeper that shows the certificates by `identity`.
  package init(
    _ configuration: Configuration, client: APIClient, identity: ServingIdentity, time: any TimeSource, logger: Logger
  ) {
    self.configuration = configuration
    self.client = client
    self.identity = identity
    self.time = time
    self.logger = logger
  }

  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await keep() }
    } catch is CancellationError {}
  }

  private func keep() async throws {
    var failures = 0
    var lastTrouble = ""
    while true {
      var pause = configuration.interval
      do {
        let step = try await look()
        if failures > 0 { logger.info("the certificates can be kept again") }
        (failures, lastTrouble) = (0, "")
        if case .keep(let until) = step { pause = min(pause, max(.milliseconds(100), until - time.wallNow)) }
      } catch let error as CancellationError {
        throw error
      } catch {
        try Task.checkCancellation()
        failures += 1
        // Told once, not every few seconds.
        if "\(error)" != lastTrouble {
          lastTrouble = "\(error)"
          logger.warning(
            "the certificates can't be kept; it is tried again",
            metadata: ["error": "\(error)", "secret": "\(configuration.secret)"])
        }
        pause = Backoff(base: .seconds(1), cap: .seconds(30)).delay(
          failures: failures, random: UInt64.random(in: .min ... .max))
      }
      try await time.sleep(for: pause)
    }
  }

  /// Looks once: renews what is due, shows what there is, and puts the authorities where API servers look for them. Returns what
  /// is due next.
  @discardableResult
  package func look() async throws -> CertificatePlan.Step {
    let plan = CertificatePlan(names: configuration.names, policy: configuration.policy)
    for attempt in 0...Self.conflictRetries {
      let now = time.wallNow
      let secret = try await read()
      let set = CertificateSet(secretData: secret?["data"])
      let step = plan.step(secret == nil ? nil : set.facts, now: now)
      if case .keep = step {
        try await publish(set)
        return step
      }
      let renewed = try set.after(step, plan, now: now)
      // API servers must know a new authority before they meet it. Older ones stay, so that the certificate of now is known as well.
      if case .renewAuthority = step, secret != nil {
        try await patchWebhooks(renewed)
        // Who has taken the APIService away must not keep the others' certificates from being renewed; `publish` tells of it.
        do {
          try await patchAPIService(renewed)
        } catch let error as KubernetesError where error.code == .misconfigured {}
      }
      do {
        try await write(renewed, over: secret)
      } catch let error as KubernetesError where error.code == .conflict && attempt < Self.conflictRetries {
        continue
      }
      logger.info("made certificates anew", metadata: ["step": "\(step)", "secret": "\(configuration.secret)"])
    }
    throw KubernetesError(
      .conflict, "the Secret \(configuration.secret) is changed again and again; another program writes it")
  }

  private func publish(_ set: CertificateSet) async throws {
    do {
      if try identity.show(chain: set.servingChain, key: set.servingKey, authorities: set.authorities) {
        logger.info("serving with a new certificate", metadata: ["secret": "\(configuration.secret)"])
      }
    } catch {
      throw KubernetesError(
        .misconfigured,
        "the certificate in the Secret \(configuration.secret) can't be used (\(error)); delete it, and it is made anew"
      )
    }
    try await patchWebhooks(set)
    try await patchAPIService(set)
  }

  // MARK: Requests

  private func read() async throws -> JSONValue? {
    do {
      return try await client.send(.get(Self.secrets, configuration.secret), as: JSONValue.self)
    } catch let error as KubernetesError where error.code == .notFound {
      return nil
    }
  }

  private func write(_ set: CertificateSet, over old: JSONValue?) async throws {
    let options = WriteOptions(fieldManager: "swarmscale-controller")
    guard var secret = old else {
      let secret: JSONValue = [
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": [
          "name": .string(configuration.secret.name), "namespace": .string(configuration.secret.namespace),
          "labels": ["app.kubernetes.io/name": "swarmscale", "app.kubernetes.io/component": "controller"],
        ],
        "data": set.secretData,
      ]
      _ = try await client.raw(
        .create(
          Self.secrets, namespace: configuration.secret.namespace, body: try KubernetesJSON.encode(secret), options))
      return
    }
    // With the version that was read: whoever comes second is refused, and takes what the first one wrote.
    secret["data"] = set.secretData
    _ = try await client.raw(
      .replace(Self.secrets, configuration.secret, nil, body: try KubernetesJSON.encode(secret), options))
  }

  private func patchWebhooks(_ set: CertificateSet) async throws {
    guard let name = configuration.webhooks else { return }
    for resource in Self.webhookKinds {
      let key = ObjectKey(namespace: "", name: name)
      let present: JSONValue
      do {
        present = try await client.send(.get(resource, key), as: JSONValue.self)
      } catch let error as KubernetesError where error.code == .notFound {
        // One of the two may be left out.
        continue
      }
      let stale = (present["webhooks"]?.arrayValue ?? []).filter {
        $0["clientConfig"]?["caBundle"]?.stringValue != set.bundle
      }
      guard !stale.isEmpty else { continue }
      let patch: JSONValue = [
        "webhooks": .array(
          stale.map { ["name": $0["name"] ?? "", "clientConfig": ["caBundle": .string(set.bundle)]] })
      ]
      _ = try await client.raw(
        .patch(
          resource, key, nil, .strategicMerge(try KubernetesJSON.encode(patch)),
          WriteOptions(fieldManager: "swarmscale-controller")))
      logger.info("gave API servers the authorities", metadata: ["k8s.resource": "\(resource.resource)/\(name)"])
    }
  }

  private func patchAPIService(_ set: CertificateSet) async throws {
    guard let (name, service) = configuration.apiService else { return }
    let key = ObjectKey(namespace: "", name: name)
    let spec: JSONValue?
    do {
      spec = try await client.send(.get(Self.apiServices, key), as: JSONValue.self)["spec"]
    } catch let error as KubernetesError where error.code == .notFound {
      throw KubernetesError(
        .misconfigured, "there is no APIService \(name), so that API servers don't ask here; apply manifests/bridges")
    }
    let named = ObjectKey(
      namespace: spec?[path: ["service", "namespace"]]?.stringValue ?? "",
      name: spec?[path: ["service", "name"]]?.stringValue ?? "")
    guard named == service else {
      throw KubernetesError(
        .misconfigured,
        "the APIService \(name) leads to the Service \(named), not to \(service): another program (KEDA, an adapter) serves "
          + "external metrics here, and a cluster has one. Remove --external-metrics-listen, and use KEDA's external scaler"
      )
    }
    guard spec?["caBundle"]?.stringValue != set.bundle else { return }
    // A bundle and the choice to trust everybody exclude each other.
    let patch: JSONValue = ["spec": ["caBundle": .string(set.bundle), "insecureSkipTLSVerify": .null]]
    _ = try await client.raw(
      .patch(
        Self.apiServices, key, nil, .merge(try KubernetesJSON.encode(patch)),
        WriteOptions(fieldManager: "swarmscale-controller")))
    logger.info("gave API servers the authorities", metadata: ["k8s.resource": "apiservices/\(name)"])
  }
}
