package import ArgumentParser
package import Logging
package import Observability
import WorkerEmbedding

/// The flags of the controller, shared by `swarmscale-controller` and `swarmscale controller`.
package struct ControllerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Kubeconfig file.",
      discussion: "Default: the files in $KUBECONFIG, else the pod's service account, else ~/.kube/config."))
  package var kubeconfig: String?

  @Option(help: "Context of the kubeconfig. Default: its current context.")
  package var context: String?

  @Option(name: .shortAndLong, help: "Serve only autoscalers of this namespace. Default: all namespaces.")
  package var namespace: String?

  @Option(
    help: "Longest time between two decisions on one object; spec.syncPeriodSeconds overrides it. (default: 15s)",
    transform: DurationArgument.init(parsing:))
  package var syncPeriod = DurationArgument(.seconds(15))

  @Option(help: "How many autoscalers are worked on at the same time.")
  package var concurrentSyncs = 8

  @Option(help: "HOST:PORT for the page, /healthz, /readyz and /metrics.")
  package var listen = ListenAddress(host: "127.0.0.1", port: 8080)

  @Flag(
    inversion: .prefixedNo,
    help: "Serve a live, read-only page of the fleets at the address of --listen; see docs/page.md.")
  package var page = true

  @Option(
    help: ArgumentHelp(
      "HOST:PORT at which the leader coordinates workers: rate budgets, drain, reports. Default: it doesn't.",
      discussion:
        "Workers find it by SWARMSCALE_COORDINATOR. Beyond loopback its certificate is the controller's own, or one of files."
    ))
  package var coordinatorListen: ListenAddress?

  @Option(help: ArgumentHelp("Certificate chain of the coordinator, PEM.", valueName: "file"))
  package var coordinatorCertificate: String?

  @Option(help: ArgumentHelp("Private key of the coordinator's certificate, PEM.", valueName: "file"))
  package var coordinatorKey: String?

  @Option(
    help: ArgumentHelp(
      "How workers prove who they are: TokenReview (projected service-account tokens) or None (loopback only)."))
  package var coordinatorAuthentication = CoordinatorAuthentication.tokenReview

  @Option(help: ArgumentHelp("Service by which workers reach the coordinator.", valueName: "name"))
  package var coordinatorService = "swarmscale-coordinator"

  @Option(
    help: ArgumentHelp(
      "HOST:PORT of the admission webhook, over TLS: it embeds the sidecar in pods and refuses broken objects. Default: there is none."
    ))
  package var webhookListen: ListenAddress?

  @Option(help: ArgumentHelp("Service by which API servers reach the webhook.", valueName: "name"))
  package var webhookService = "swarmscale-webhook"

  @Option(
    help: ArgumentHelp(
      "Webhook configurations (mutating and validating) whose caBundle is kept up to date.", valueName: "name"))
  package var webhookConfiguration = "swarmscale-webhook"

  @Option(
    help: ArgumentHelp(
      "Certificate chain of the webhook, PEM, followed when it changes. Default: the controller's own. No caBundle is kept then.",
      valueName: "file"))
  package var webhookCertificate: String?

  @Option(help: ArgumentHelp("Private key of that certificate, PEM.", valueName: "file"))
  package var webhookKey: String?

  @Option(help: ArgumentHelp("Secret, in the controller's namespace, with its own certificates.", valueName: "name"))
  package var certificateSecret = "swarmscale-certificates"

  @Option(help: ArgumentHelp("Further name or address in the controller's own certificate.", valueName: "name"))
  package var certificateName: [String] = []

  @Option(
    help: ArgumentHelp(
      "Folder with tls.crt, tls.key and ca.crt, followed when they change, in place of certificates of its own.",
      discussion:
        "A Secret of cert-manager, mounted, is such a folder. Who made the files gives API servers their authorities, too.",
      valueName: "folder"))
  package var certificateFolder: String?

  @Option(help: ArgumentHelp("Image of the sidecar that the webhook embeds.", valueName: "image"))
  package var sidecarImage = EmbeddingSettings.defaultImage

  @Option(
    help: ArgumentHelp(
      "The coordinator's URL as workers are told it. Default: the Service, if --coordinator-listen is given.",
      valueName: "url"))
  package var workerCoordinator: String?

  @Option(
    help: ArgumentHelp(
      "Authorities of the coordinator's certificate as workers are told them, PEM. Default: the controller's own, if that is its certificate.",
      valueName: "file"))
  package var workerCa: String?

  @Option(
    help: ArgumentHelp(
      "HOST:PORT of external.metrics.k8s.io for HorizontalPodAutoscalers, over TLS. Default: it isn't served.",
      discussion:
        "API servers find it by the APIService v1beta1.external.metrics.k8s.io, whose caBundle is kept; see docs/bridges.md."
    ))
  package var externalMetricsListen: ListenAddress?

  @Option(help: "HOST:PORT of KEDA's external scaler (gRPC). Default: there is none. See docs/bridges.md.")
  package var kedaListen: ListenAddress?

  @Flag(help: "Serve KEDA's external scaler with TLS, by the controller's own certificate.")
  package var kedaTls = false

  @Option(
    help: ArgumentHelp(
      "Service by which API servers and KEDA reach the leader: its pod gets the label swarmscale.dev/leader.",
      valueName: "name"))
  package var bridgeService = "swarmscale-bridges"

  @Flag(
    inversion: .prefixedNo,
    help: "Elect a leader by a Lease, so that several controllers can run; only the leader acts.")
  package var leaderElection = true

  @Option(help: "Namespace of the Lease. Default: the pod's namespace, else that of the kubeconfig's context.")
  package var leaderElectionNamespace: String?

  @Option(help: "Name of the Lease.")
  package var leaderElectionName = "swarmscale-controller"

  @Option(
    help: "How long a leader that has died keeps others waiting. (default: 15s)",
    transform: DurationArgument.init(parsing:))
  package var leaseDuration = DurationArgument(.seconds(15))

  @Option(
    help: "How long a leader tries to renew before it stops acting; shorter than the lease duration. (default: 10s)",
    transform: DurationArgument.init(parsing:))
  package var renewDeadline = DurationArgument(.seconds(10))

  @Option(
    help: "Pause between two tries to acquire or renew. (default: 2s)", transform: DurationArgument.init(parsing:))
  package var retryPeriod = DurationArgument(.seconds(2))

  @Option(help: "Tolerance of HPA-type targets where the spec names none, as a quantity: 100m is 10 %.")
  package var tolerance = "100m"

  @Option(
    help: "Scale-down stabilisation window where the spec names none. (default: 5m)",
    transform: DurationArgument.init(parsing:))
  package var downscaleStabilization = DurationArgument(.seconds(300))

  @Option(
    help: "How long after its start a pod's CPU still shows its start-up. (default: 5m)",
    transform: DurationArgument.init(parsing:))
  package var cpuInitializationPeriod = DurationArgument(.seconds(300))

  @Option(
    help: "How soon after its start an unready pod has never been ready. (default: 30s)",
    transform: DurationArgument.init(parsing:))
  package var initialReadinessDelay = DurationArgument(.seconds(30))

  @Option(
    help: ArgumentHelp(
      "Append every decision with all its inputs to this file, one JSON line each; see docs/decision-log.md.",
      valueName: "file"))
  package var decisionLog: String?

  @Option(help: "Log format: \(LogFormat.allCases.map(\.rawValue).joined(separator: " or ")).")
  package var logFormat = LogFormat.logfmt

  @Option(help: "Least level that is logged: trace, debug, info, notice, warning, error or critical.")
  package var logLevel = LogLevel.info

  /// Makes the options with their defaults.
  package init() {}

  package func validate() throws {
    guard (1...256).contains(concurrentSyncs) else {
      throw ValidationError("--concurrent-syncs must be from 1 to 256, not \(concurrentSyncs).")
    }
    guard syncPeriod.duration >= .seconds(1) else {
      throw ValidationError("--sync-period must be at least 1s, not \(syncPeriod).")
    }
    try validateCoordinator()
    guard (webhookCertificate == nil) == (webhookKey == nil) else {
      throw ValidationError("--webhook-certificate and --webhook-key belong together; name both.")
    }
    guard webhookCertificate == nil || webhookListen != nil else {
      throw ValidationError(
        "--webhook-certificate and --webhook-key are for --webhook-listen HOST:PORT, which is missing.")
    }
    guard certificateFolder == nil || usesOwnCertificate else {
      throw ValidationError(
        "--certificate-folder is for --webhook-listen, --coordinator-listen (beyond loopback), --external-metrics-listen or "
          + "--keda-tls; none of them asks for a certificate.")
    }
    guard certificateFolder == nil || certificateName.isEmpty else {
      throw ValidationError(
        "--certificate-name is for certificates that the controller makes; those of --certificate-folder have their names."
      )
    }
    guard !kedaTls || kedaListen != nil else {
      throw ValidationError("--keda-tls is for --keda-listen HOST:PORT, which is missing.")
    }
    let (retry, renew, lease) = (retryPeriod.duration, renewDeadline.duration, leaseDuration.duration)
    guard .zero < retry, retry < renew, renew < lease else {
      throw ValidationError(
        "--retry-period (\(retryPeriod)) must be shorter than --renew-deadline (\(renewDeadline)), and that shorter than --lease-duration (\(leaseDuration))."
      )
    }
  }
}

extension ControllerOptions {
  private func validateCoordinator() throws {
    guard let listen = coordinatorListen else {
      guard coordinatorCertificate == nil, coordinatorKey == nil else {
        throw ValidationError(
          "--coordinator-certificate and --coordinator-key are for --coordinator-listen HOST:PORT, which is missing.")
      }
      return
    }
    guard (coordinatorCertificate == nil) == (coordinatorKey == nil) else {
      throw ValidationError("--coordinator-certificate and --coordinator-key belong together; name both.")
    }
    guard !listen.isLoopback else { return }
    guard coordinatorAuthentication != .trust else {
      throw ValidationError(
        "--coordinator-authentication None believes everybody: it is for loopback, such as --coordinator-listen "
          + "127.0.0.1:\(listen.port).")
    }
  }
}

extension ControllerOptions {
  /// Whether the coordinator shows the controller's own certificate: beyond loopback, where none of files is named.
  var coordinatorUsesOwnCertificate: Bool {
    coordinatorCertificate == nil && coordinatorListen.map { !$0.isLoopback } == true
  }

  /// Whether the controller keeps certificates of its own.
  package var keepsCertificates: Bool { certificateFolder == nil && usesOwnCertificate }

  /// Whether any server shows the controller's certificate, be it one that it makes or that of `--certificate-folder`.
  private var usesOwnCertificate: Bool {
    coordinatorUsesOwnCertificate || (webhookListen != nil && webhookCertificate == nil) || externalMetricsListen != nil
      || kedaTls
  }

  /// Whether other autoscalers are served.
  var bridges: Bool { externalMetricsListen != nil || kedaListen != nil }
}

/// How workers prove who they are.
package enum CoordinatorAuthentication: String, ExpressibleByArgument, CaseIterable, Sendable {
  /// Kubernetes reviews the projected service-account token that they show.
  case tokenReview = "TokenReview"
  /// They are believed.
  case trust = "None"
}

extension LogFormat: ExpressibleByArgument {}

/// The levels of swift-log on the command line.
package enum LogLevel: String, ExpressibleByArgument, CaseIterable, Sendable {
  case trace
  case debug
  case info
  case notice
  case warning
  case error
  case critical

  /// The same level for swift-log.
  package var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
