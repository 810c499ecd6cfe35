package import KubernetesCore

/// A pod as the node reads it: what to run, and nothing that only other parts of Kubernetes look at.
package struct PodManifest: Hashable, Sendable {
  /// What follows the end of a container.
  package enum RestartPolicy: String, Hashable, Sendable {
    case always = "Always"
    case onFailure = "OnFailure"
    case never = "Never"
  }

  /// Namespace and name.
  package var key: ObjectKey
  /// The identity in space and time.
  package var uid: String
  /// The labels, for the downward API and metrics.
  package var labels: [String: String]
  /// The annotations, for the downward API.
  package var annotations: [String: String]
  /// The account whose tokens the pod gets.
  package var serviceAccountName: String
  /// The node that the pod is bound to.
  package var nodeName: String
  /// Whether the pod has the node's own address.
  package var usesHostNetwork: Bool
  /// What follows the end of an app or init container; sidecars are always started again.
  package var restartPolicy: RestartPolicy
  /// How long the containers get to end after SIGTERM.
  package var gracePeriod: Duration
  /// How long the pod may run in all; nil for no limit.
  package var activeDeadline: Duration?
  /// The types of conditions that others must set before the pod counts as ready.
  package var readinessGates: [String]
  /// Init containers and sidecars in order, then app containers.
  package var containers: [ContainerManifest]
  /// The volumes.
  package var volumes: [VolumeManifest]

  /// Makes a manifest; what isn't given has the API server's default.
  package init(
    key: ObjectKey, uid: String, labels: [String: String] = [:], annotations: [String: String] = [:],
    serviceAccountName: String = "default", nodeName: String = "", usesHostNetwork: Bool = false,
    restartPolicy: RestartPolicy = .always, gracePeriod: Duration = .seconds(30), activeDeadline: Duration? = nil,
    readinessGates: [String] = [], containers: [ContainerManifest], volumes: [VolumeManifest] = []
  ) {
    self.key = key
    self.uid = uid
    self.labels = labels
    self.annotations = annotations
    self.serviceAccountName = serviceAccountName
    self.nodeName = nodeName
    self.usesHostNetwork = usesHostNetwork
    self.restartPolicy = restartPolicy
    self.gracePeriod = gracePeriod
    self.activeDeadline = activeDeadline
    self.readinessGates = readinessGates
    self.containers = containers
    self.volumes = volumes
  }

  /// The position of the container called `name`.
  package func index(of name: String) -> Int? { containers.firstIndex { $0.name == name } }
}

/// A container as the node reads it.
package struct ContainerManifest: Hashable, Sendable {
  /// What a container is for.
  package enum Role: Hashable, Sendable {
    /// An init container that ends before the next one starts.
    case initial
    /// An init container with `restartPolicy: Always`: it runs beside the app and ends after it.
    case sidecar
    /// A container of `spec.containers`.
    case app
  }

  /// The name.
  package var name: String
  /// The image: only a name here, nothing is pulled.
  package var image: String
  /// What it is for.
  package var role: Role
  /// The program and its first arguments.
  package var command: [String]
  /// Further arguments.
  package var arguments: [String]
  /// Where it starts; nil for the pod's own folder.
  package var workingDirectory: String?
  /// The variables, in order.
  package var environment: [EnvironmentEntry]
  /// ConfigMaps and Secrets whose keys become variables, in order.
  package var environmentSources: [EnvironmentSource]
  /// Where the pod's volumes are expected.
  package var mounts: [VolumeMount]
  /// Must succeed before the other probes begin.
  package var startupProbe: Probe?
  /// Whether the container can serve.
  package var readinessProbe: Probe?
  /// Whether the container must be started again.
  package var livenessProbe: Probe?
  /// What runs before SIGTERM.
  package var preStop: ProbeAction?
  /// The ports that have names.
  package var namedPorts: [String: Int]
  /// What is set aside for it, by resource.
  package var requests: [String: Quantity]
  /// The most that it may use, by resource; told to the container, not enforced.
  package var limits: [String: Quantity]

  /// Makes a container.
  package init(
    name: String, image: String = "", role: Role = .app, command: [String] = [], arguments: [String] = [],
    workingDirectory: String? = nil, environment: [EnvironmentEntry] = [],
    environmentSources: [EnvironmentSource] = [], mounts: [VolumeMount] = [], startupProbe: Probe? = nil,
    readinessProbe: Probe? = nil, livenessProbe: Probe? = nil, preStop: ProbeAction? = nil,
    namedPorts: [String: Int] = [:], requests: [String: Quantity] = [:], limits: [String: Quantity] = [:]
  ) {
    self.name = name
    self.image = image
    self.role = role
    self.command = command
    self.arguments = arguments
    self.workingDirectory = workingDirectory
    self.environment = environment
    self.environmentSources = environmentSources
    self.mounts = mounts
    self.startupProbe = startupProbe
    self.readinessProbe = readinessProbe
    self.livenessProbe = livenessProbe
    self.preStop = preStop
    self.namedPorts = namedPorts
    self.requests = requests
    self.limits = limits
  }
}

/// One entry of `env`.
package struct EnvironmentEntry: Hashable, Sendable {
  /// Where a variable's value comes from.
  package enum Source: Hashable, Sendable {
    /// The text itself, with `$(NAME)` expanded.
    case value(String)
    /// A field of the pod, such as `metadata.labels['app']`.
    case field(String)
    /// A request or limit: `limits.cpu` of a container (nil: this one), divided.
    case resource(container: String?, resource: String, divisor: Quantity)
    /// A key of a ConfigMap.
    case configMapKey(name: String, key: String, isOptional: Bool)
    /// A key of a Secret.
    case secretKey(name: String, key: String, isOptional: Bool)
  }

  /// The variable's name.
  package var name: String
  /// Where its value comes from.
  package var source: Source

  /// Makes an entry.
  package init(_ name: String, _ source: Source) {
    self.name = name
    self.source = source
  }
}

/// One entry of `envFrom`.
package struct EnvironmentSource: Hashable, Sendable {
  /// Whether it is a Secret; otherwise a ConfigMap.
  package var isSecret: Bool
  /// The object's name.
  package var name: String
  /// What stands before each key.
  package var prefix: String
  /// Whether the object may be missing.
  package var isOptional: Bool

  /// Makes an entry.
  package init(isSecret: Bool, name: String, prefix: String = "", isOptional: Bool = false) {
    self.isSecret = isSecret
    self.name = name
    self.prefix = prefix
    self.isOptional = isOptional
  }
}

/// Where a container expects a volume.
package struct VolumeMount: Hashable, Sendable {
  /// The volume's name.
  package var name: String
  /// The path in the container.
  package var path: String
  /// The file or folder within the volume; empty for all.
  package var subPath: String

  /// Makes a mount.
  package init(name: String, path: String, subPath: String = "") {
    self.name = name
    self.path = path
    self.subPath = subPath
  }
}

/// A check of a container, and how its results are counted.
package struct Probe: Hashable, Sendable {
  /// What is done.
  package var action: ProbeAction
  /// The time from the container's start to the first check.
  package var initialDelay: Duration
  /// The time from one check's start to the next.
  package var period: Duration
  /// How long one check may take.
  package var timeout: Duration
  /// How many successes in a row make a success.
  package var successThreshold: Int
  /// How many failures in a row make a failure.
  package var failureThreshold: Int
  /// The grace period after a failure; nil for the pod's.
  package var gracePeriod: Duration?

  /// Makes a probe; what isn't given has the API server's default.
  package init(
    _ action: ProbeAction, initialDelay: Duration = .zero, period: Duration = .seconds(10),
    timeout: Duration = .seconds(1), successThreshold: Int = 1, failureThreshold: Int = 3, gracePeriod: Duration? = nil
  ) {
    self.action = action
    self.initialDelay = initialDelay
    self.period = period
    self.timeout = timeout
    self.successThreshold = successThreshold
    self.failureThreshold = failureThreshold
    self.gracePeriod = gracePeriod
  }
}

/// What a probe or hook does.
package enum ProbeAction: Hashable, Sendable {
  /// Runs a program in the container; success is exit status 0.
  case exec([String])
  /// Sends a request; success is a status of 200…399. `host` nil: the pod's address.
  case httpGet(host: String?, port: ProbePort, path: String, isTLS: Bool, headers: [HTTPHeader])
  /// Opens a connection.
  case tcpSocket(host: String?, port: ProbePort)
  /// A kind that the node doesn't know; it always fails, with this text.
  case unsupported(String)
}

/// A port by number or by the name that the container gives it.
package enum ProbePort: Hashable, Sendable {
  case number(Int)
  case name(String)
}

/// A header field of a probe's request.
package struct HTTPHeader: Hashable, Sendable {
  /// The field's name.
  package var name: String
  /// The field's value.
  package var value: String

  /// Makes a field.
  package init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// A volume: what the folder that stands for it holds.
package struct VolumeManifest: Hashable, Sendable {
  /// What fills a volume.
  package enum Content: Hashable, Sendable {
    /// Nothing.
    case emptyDir
    /// The path itself; `type` is one of the API's, such as `DirectoryOrCreate`.
    case hostPath(path: String, type: String)
    /// Files from objects, fields and tokens.
    case files([FileSource], mode: Int)
    /// A kind that local mode doesn't have.
    case unsupported(String)
  }

  /// The name.
  package var name: String
  /// What fills it.
  package var content: Content

  /// Makes a volume.
  package init(name: String, content: Content) {
    self.name = name
    self.content = content
  }
}

/// Some files of a volume.
package enum FileSource: Hashable, Sendable {
  /// The keys of a ConfigMap or Secret; `items` empty: all.
  case object(isSecret: Bool, name: String, items: [FileItem], isOptional: Bool)
  /// Fields of the pod.
  case downward([DownwardItem])
  /// A token of the pod's service account, renewed before it expires.
  case token(audience: String?, expirationSeconds: Int64, path: String)
}

/// A key that becomes a file.
package struct FileItem: Hashable, Sendable {
  /// The key.
  package var key: String
  /// The file's path within the volume.
  package var path: String
  /// The file's mode; nil for the volume's.
  package var mode: Int?

  /// Makes an item.
  package init(key: String, path: String, mode: Int? = nil) {
    self.key = key
    self.path = path
    self.mode = mode
  }
}

/// A field of the pod that becomes a file.
package struct DownwardItem: Hashable, Sendable {
  /// The file's path within the volume.
  package var path: String
  /// The value.
  package var source: EnvironmentEntry.Source

  /// Makes an item.
  package init(path: String, source: EnvironmentEntry.Source) {
    self.path = path
    self.source = source
  }
}
