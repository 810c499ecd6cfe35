package import KubernetesCore

/// What the HPA looks at in a pod.
package struct HPAPod: Hashable, Sendable {
  /// A pod's phase (`status.phase`).
  package enum Phase: String, Codable, Hashable, Sendable {
    /// Not all containers have started.
    case pending = "Pending"
    /// At least one container runs or is being restarted.
    case running = "Running"
    /// All containers have ended well.
    case succeeded = "Succeeded"
    /// All containers have ended, at least one of them badly.
    case failed = "Failed"
    /// The node does not answer.
    case unknown = "Unknown"
  }

  /// The `Ready` condition of a pod.
  package struct ReadyCondition: Hashable, Sendable {
    /// The status.
    package var status: HPAConditionStatus
    /// When the status last changed; unset in the API's sense is the beginning of time.
    package var lastTransitionTime: Timestamp

    /// Makes a condition.
    package init(status: HPAConditionStatus, lastTransitionTime: Timestamp = .goZero) {
      self.status = status
      self.lastTransitionTime = lastTransitionTime
    }
  }

  /// A container and what it requests.
  package struct Container: Hashable, Sendable {
    /// How a container takes part in its pod.
    package enum Role: String, Codable, Hashable, Sendable {
      /// An entry of `spec.containers`.
      case app
      /// An entry of `spec.initContainers` with `restartPolicy: Always`.
      case sidecar
      /// An ordinary init container.
      case `init`
    }

    /// The container's name.
    package var name: String
    /// How it takes part.
    package var role: Role
    /// Requests by resource name, in thousandths; a missing resource has no request.
    package var requestsMilli: [String: Int64]

    /// Makes a container.
    package init(name: String, role: Role = .app, requestsMilli: [String: Int64]) {
      self.name = name
      self.role = role
      self.requestsMilli = requestsMilli
    }
  }

  /// The pod's name, the key into per-pod metrics.
  package var name: String
  /// The labels that selectors look at.
  package var labels: [String: String]
  /// `status.phase`.
  package var phase: Phase
  /// Whether `metadata.deletionTimestamp` is set.
  package var isDeleted: Bool
  /// `status.startTime`.
  package var startTime: Timestamp?
  /// The `Ready` condition; nil when the pod has none.
  package var ready: ReadyCondition?
  /// Containers in the order app containers, then init containers, each as in the spec.
  package var containers: [Container]
  /// Pod-level requests (`spec.resources.requests`) in thousandths; nil when none are set.
  package var podRequestsMilli: [String: Int64]?

  /// Makes a pod.
  package init(
    name: String, labels: [String: String] = [:], phase: Phase, isDeleted: Bool = false, startTime: Timestamp? = nil,
    ready: ReadyCondition? = nil, containers: [Container] = [], podRequestsMilli: [String: Int64]? = nil
  ) {
    self.name = name
    self.labels = labels
    self.phase = phase
    self.isDeleted = isDeleted
    self.startTime = startTime
    self.ready = ready
    self.containers = containers
    self.podRequestsMilli = podRequestsMilli
  }
}

/// The status of a condition (`ConditionStatus`).
package enum HPAConditionStatus: String, Codable, Hashable, Sendable {
  /// The condition holds.
  case `true` = "True"
  /// The condition does not hold.
  case `false` = "False"
  /// It is not known whether it holds.
  case unknown = "Unknown"
}

/// One pod's sample of a metric (`PodMetric` of `metrics/interfaces.go`).
package struct HPAPodMetric: Hashable, Sendable {
  /// When the sample was taken.
  package var timestamp: Timestamp
  /// The length of time that it covers.
  package var window: Duration
  /// The value in thousandths.
  package var valueMilli: Int64

  /// Makes a sample.
  package init(timestamp: Timestamp, window: Duration, valueMilli: Int64) {
    self.timestamp = timestamp
    self.window = window
    self.valueMilli = valueMilli
  }

  /// The sample that stands in for a pod that has none.
  static func filler(_ valueMilli: Int64) -> HPAPodMetric {
    HPAPodMetric(timestamp: .goZero, window: .zero, valueMilli: valueMilli)
  }
}

/// How far usage may be off the target without any scaling (`Tolerances` of `replica_calculator.go`).
package struct HPATolerances: Hashable, Sendable {
  /// The tolerated excess as a fraction of the target.
  package var up: Double
  /// The tolerated shortfall as a fraction of the target.
  package var down: Double

  /// Makes tolerances.
  package init(up: Double, down: Double) {
    self.up = up
    self.down = down
  }

  /// Whether the ratio of usage and target lies in `[1 - down, 1 + up]`, ends included, in double arithmetic.
  package func contains(_ ratio: Double) -> Bool {
    1 - down <= ratio && ratio <= 1 + up
  }
}

extension Timestamp {
  /// Stands for Go's zero time, which is before everything.
  package static let goZero = Timestamp(nanosecondsSinceEpoch: .min)
}
