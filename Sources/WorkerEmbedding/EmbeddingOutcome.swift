package import KubernetesCore

/// What became of a pod.
package enum EmbeddingOutcome: Hashable, Sendable {
  /// It carries the worker side; `pod` is as it was where it did so before.
  case embedded(pod: JSONValue, notes: [EmbeddingNote])
  /// It is as it was.
  case skipped(EmbeddingSkip)
}

/// Why a pod is left as it is.
package enum EmbeddingSkip: Hashable, Sendable, CustomStringConvertible {
  /// Its annotation or label says so.
  case optedOut
  /// The autoscaler's `embed.mode` is None.
  case disabled
  /// Its containers are programs for Windows.
  case windows
  /// It shares the node's network: 127.0.0.1 would be the whole node's.
  case hostNetwork
  /// It has a container of the sidecar's name that embedding didn't write.
  case ownSidecar
  /// It ends by itself, which a plain container beside it wouldn't.
  case endsByItself(KubernetesVersion)
  /// All ports that the sidecar could take are taken.
  case noPort
  /// It is no pod with containers.
  case noContainers
  /// It is made by the kubelet of a file of its node.
  case mirror

  /// A word for metrics and tests.
  package var code: String {
    switch self {
    case .optedOut: "OptedOut"
    case .disabled: "Disabled"
    case .windows: "Windows"
    case .hostNetwork: "HostNetwork"
    case .ownSidecar: "OwnSidecar"
    case .endsByItself: "EndsByItself"
    case .noPort: "NoPort"
    case .noContainers: "NoContainers"
    case .mirror: "Mirror"
    }
  }

  package var description: String {
    switch self {
    case .optedOut: "\(EmbeddingNames.embed) is \(EmbeddingNames.disabled)"
    case .disabled: "the autoscaler's embed.mode is None"
    case .windows: "its containers are for Windows, and there is no sidecar for Windows"
    case .hostNetwork:
      "it has hostNetwork: a sidecar at 127.0.0.1 would serve the whole node; use the library (embed.mode Library)"
    case .ownSidecar:
      "it has a container \(EmbeddingNames.sidecar) of its own; rename or remove it to have one embedded"
    case .endsByItself(let version):
      "it ends by itself (restartPolicy isn't Always), but a plain container beside it would not, and Kubernetes "
        + "\(version) has no native sidecars (1.29 has); use the library (embed.mode Library)"
    case .noPort: "its containers use all ports that the sidecar could take, from 8787 on in steps of 10 up to 8887"
    case .noContainers: "it has no containers"
    case .mirror: "its node's kubelet makes it of a file"
    }
  }
}

/// What was decided and may surprise.
package enum EmbeddingNote: Hashable, Sendable, CustomStringConvertible {
  /// The container sets the variable itself.
  case variableKept(container: String, name: String)
  /// A source of the container's `envFrom` may set the variable; nobody but the kubelet can know.
  case variableLeftToEnvFrom(container: String, name: String)
  /// The container has a preStop hook of its own.
  case hookKept(container: String)
  /// The annotation names a container that isn't there.
  case unknownContainer(String)

  package var description: String {
    switch self {
    case .variableKept(let container, let name) where name == EmbeddingNames.baseURL:
      "container \(container) sets \(name) itself and is not governed; set ANTHROPIC_UPSTREAM instead, and it is"
    case .variableKept(let container, let name): "container \(container) sets \(name) itself, which is left so"
    case .variableLeftToEnvFrom(let container, let name):
      "\(name) is not set in container \(container), because its envFrom may set it; if it doesn't, annotate the pod with "
        + "\(EmbeddingNames.envFrom): ignore"
    case .hookKept(let container):
      "container \(container) has a preStop hook of its own, which is left: call http://127.0.0.1:PORT/v1/drain in it to wait "
        + "for work in flight"
    case .unknownContainer(let name): "\(EmbeddingNames.containers) names \(name), which is no container of the pod"
    }
  }
}
