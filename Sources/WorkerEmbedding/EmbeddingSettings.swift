/// What is the same for all pods: the image, and where the coordinator is.
package struct EmbeddingSettings: Hashable, Sendable {
  /// The image with `swarmscale-sidecar` on its PATH.
  package var image: String
  /// The image's pull policy; empty: Kubernetes' own choice.
  package var imagePullPolicy: String
  /// The coordinator's URL; nil: there is none, and each pod has a budget of its own.
  package var coordinator: String?
  /// The authorities of the coordinator's certificate, PEM; nil: the system's.
  package var authority: String?
  /// The audience of the token that is shown to the coordinator.
  package var audience: String
  /// How long a token is good, in seconds; the kubelet renews it before. 600 is Kubernetes' minimum.
  package var tokenSeconds: Int64
  /// The sidecar's port on loopback; the next one is for the kubelet. Where containers use these, others are taken.
  package var port: Int64
  /// What the sidecar asks the scheduler for: 15.5 MB resident when idle (Benchmarks/README.md), and room for some requests.
  package var requests: [String: String]
  /// Its limits: requests are held in memory, 32 MiB at most each.
  package var limits: [String: String]
  /// The user that the sidecar runs as; nil: the image's.
  package var user: Int64?
  /// Whether a sidecar that is there already is written anew: manifests get the present settings, running systems keep theirs.
  package var replacesSidecar: Bool

  /// The image of this version.
  package static let defaultImage = "swarmscale/swarmscale:0.1.0"

  /// Makes settings; without more than the image those of the documentation.
  package init(
    image: String = Self.defaultImage, coordinator: String? = nil, authority: String? = nil,
    replacesSidecar: Bool = false
  ) {
    self.image = image
    self.coordinator = coordinator
    self.authority = authority
    self.replacesSidecar = replacesSidecar
    imagePullPolicy = ""
    audience = "swarmscale.dev"
    tokenSeconds = 3_600
    port = 8_787
    requests = ["cpu": "10m", "memory": "32Mi"]
    limits = ["memory": "256Mi"]
    user = 65_532
  }
}

/// What is asked for one pod.
package struct EmbeddingRequest: Hashable, Sendable {
  /// How the worker side gets into the pod.
  package enum Mode: Hashable, Sendable {
    /// A sidecar.
    case sidecar
    /// The worker has the library; it gets environment and token.
    case library
  }

  /// How.
  package var mode: Mode
  /// The autoscaler that the pod belongs to; empty: none that is known.
  package var autoscaler: String
  /// How long a worker may take to finish its work, in seconds; nil: as long as it needs.
  package var drainSeconds: Int64?
  /// The version of the API server, which decides what forms of a sidecar there are.
  package var server: KubernetesVersion

  /// Makes a request.
  package init(
    mode: Mode = .sidecar, autoscaler: String = "", drainSeconds: Int64? = 1_800, server: KubernetesVersion
  ) {
    self.mode = mode
    self.autoscaler = autoscaler
    self.drainSeconds = drainSeconds
    self.server = server
  }
}

/// A minor version of Kubernetes, such as 1.29.
package struct KubernetesVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The first number.
  package var major: Int
  /// The second number.
  package var minor: Int

  /// Makes a version.
  package init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// Reads `1.29`, `v1.29.3`, or what `/version` says in two parts, such as `1` and `29+`; nil: it is no version.
  package init?(_ text: String) {
    let parts = (text.hasPrefix("v") ? text.dropFirst() : text[...]).split(
      separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 2, let major = Int(parts[0]), major >= 0 else { return nil }
    let digits = parts[1].prefix { ("0"..."9").contains($0) }
    guard let minor = Int(digits) else { return nil }
    self.init(major, minor)
  }

  /// The first version in which an init container can go on beside the others (KEP-753) without a feature gate.
  package static let nativeSidecars = KubernetesVersion(1, 29)

  package static func < (left: KubernetesVersion, right: KubernetesVersion) -> Bool {
    (left.major, left.minor) < (right.major, right.minor)
  }

  package var description: String { "\(major).\(minor)" }
}
