/// A pod, reduced to what scaling needs, so that ten thousand fit into little memory.
///
/// Pods of one workload share their labels and their `template`: an `PodInterner` hands out one stored copy of each, and
/// Swift's copy-on-write dictionaries and the template class share it.
package struct Pod: Hashable, WatchedObject {
  package static let resource = GroupVersionResource(group: "", version: "v1", resource: "pods")

  /// Where the pod stands in its life.
  package enum Phase: UInt8, Hashable, Sendable {
    case pending
    case running
    case succeeded
    case failed
    case unknown

    /// Reads the API's spelling; anything else is `unknown`.
    package init(text: String) {
      switch text {
      case "Pending": self = .pending
      case "Running": self = .running
      case "Succeeded": self = .succeeded
      case "Failed": self = .failed
      default: self = .unknown
      }
    }
  }

  /// One condition of the pod.
  package struct Condition: Hashable, Sendable {
    /// The condition's status.
    package var status: ConditionStatus
    /// When the status last changed.
    package var lastTransitionTime: Timestamp?

    /// Makes a condition.
    package init(status: ConditionStatus, lastTransitionTime: Timestamp? = nil) {
      self.status = status
      self.lastTransitionTime = lastTransitionTime
    }
  }

  /// Namespace and name.
  package var key: ObjectKey
  /// The identity in space and time.
  package var uid: String {
    get { packedUID.text }
    set { packedUID = PackedUID(newValue) }
  }
  /// The opaque version.
  package var resourceVersion: String
  /// The labels.
  package var labels: [String: String]
  /// What the pod has in common with its siblings.
  package var template: PodTemplate
  /// When the server created the pod.
  package var creationTimestamp: Timestamp?
  /// When the pod will be gone; set once deletion was asked for.
  package var deletionTimestamp: Timestamp?
  /// When the kubelet took the pod on.
  package var startTime: Timestamp?
  /// Where the pod stands in its life.
  package var phase: Phase
  /// The `Ready` condition; nil before the kubelet reported one.
  package var ready: Condition?
  /// The `PodScheduled` condition.
  package var scheduled: Condition?
  /// The node; empty before scheduling.
  package var nodeName: String
  /// The value of the annotation `controller.kubernetes.io/pod-deletion-cost`, when it is a valid number.
  package var deletionCost: Int32?
  /// The sum of all containers' restarts.
  package var restartCount: Int32
  /// Pods are kept by the ten thousand.
  private var packedUID: PackedUID

  /// Makes a pod.
  package init(
    key: ObjectKey, uid: String = "", resourceVersion: String = "", labels: [String: String] = [:],
    template: PodTemplate = PodTemplate(), creationTimestamp: Timestamp? = nil, deletionTimestamp: Timestamp? = nil,
    startTime: Timestamp? = nil, phase: Phase = .pending, ready: Condition? = nil, scheduled: Condition? = nil,
    nodeName: String = "", deletionCost: Int32? = nil, restartCount: Int32 = 0
  ) {
    self.key = key
    packedUID = PackedUID(uid)
    self.resourceVersion = resourceVersion
    self.labels = labels
    self.template = template
    self.creationTimestamp = creationTimestamp
    self.deletionTimestamp = deletionTimestamp
    self.startTime = startTime
    self.phase = phase
    self.ready = ready
    self.scheduled = scheduled
    self.nodeName = nodeName
    self.deletionCost = deletionCost
    self.restartCount = restartCount
  }

  /// The containers, app, sidecar and init.
  package var containers: [PodContainer] { template.containers }
  /// The controlling owner, such as a ReplicaSet.
  package var controller: ControllerReference? { template.controller }
  /// Whether the pod is `Ready`.
  package var isReady: Bool { ready?.status == .true }
  /// Whether deletion was asked for.
  package var isTerminating: Bool { deletionTimestamp != nil }
  /// Whether the pod has ended, well or not.
  package var isFinished: Bool { phase == .succeeded || phase == .failed }

  /// The annotation that says how dear a pod's deletion is to a ReplicaSet; lower goes first.
  package static let deletionCostAnnotation = "controller.kubernetes.io/pod-deletion-cost"

  /// Reads a deletion cost as the ReplicaSet controller does: no plus sign, no leading zero; nil when it is invalid.
  package static func deletionCost(fromAnnotation text: String) -> Int32? {
    if text.hasPrefix("+") || (text.hasPrefix("0") && text != "0") { return nil }
    return Int32(text)
  }
}

/// The status of a condition.
package enum ConditionStatus: String, Hashable, Sendable, Codable {
  case `true` = "True"
  case `false` = "False"
  case unknown = "Unknown"

  /// Reads the API's spelling; anything else is `unknown`.
  package init(text: String) { self = ConditionStatus(rawValue: text) ?? .unknown }

  package init(from decoder: any Decoder) throws {
    self.init(text: try decoder.singleValueContainer().decode(String.self))
  }
}

/// The part of a pod that all pods of one workload have in common; immutable, so shared freely.
package final class PodTemplate: Hashable, Sendable {
  /// The containers, app, sidecar and init.
  package let containers: [PodContainer]
  /// The resources requested for the pod as a whole (`spec.resources`), if any.
  package let podRequests: ResourceRequests?
  /// The controlling owner.
  package let controller: ControllerReference?

  /// Makes a template.
  package init(
    containers: [PodContainer] = [], podRequests: ResourceRequests? = nil, controller: ControllerReference? = nil
  ) {
    self.containers = containers
    self.podRequests = podRequests
    self.controller = controller
  }

  package static func == (lhs: PodTemplate, rhs: PodTemplate) -> Bool {
    lhs === rhs
      || (lhs.containers == rhs.containers && lhs.podRequests == rhs.podRequests && lhs.controller == rhs.controller)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(containers)
    hasher.combine(podRequests)
    hasher.combine(controller)
  }
}

/// A container of a pod.
package struct PodContainer: Hashable, Sendable {
  /// What a container is for.
  package enum Role: UInt8, Hashable, Sendable {
    /// A container of `spec.containers`.
    case app
    /// An init container with `restartPolicy: Always`: it runs beside the app.
    case sidecar
    /// An init container that ends before the app starts.
    case `init`
  }

  /// The container's name.
  package var name: String
  /// What it is for.
  package var role: Role
  /// What it requests.
  package var requests: ResourceRequests

  /// Makes a container.
  package init(name: String, role: Role = .app, requests: ResourceRequests = ResourceRequests()) {
    self.name = name
    self.role = role
    self.requests = requests
  }
}

/// Requested amounts of resources, in thousandths of each resource's unit.
package struct ResourceRequests: Hashable, Sendable {
  /// Thousandths of a core.
  package var cpu: Int64?
  /// Thousandths of a byte.
  package var memory: Int64?
  /// All other resources, by name.
  package var other: [String: Int64]

  /// Makes requests.
  package init(cpu: Int64? = nil, memory: Int64? = nil, other: [String: Int64] = [:]) {
    self.cpu = cpu
    self.memory = memory
    self.other = other
  }

  /// The amount of the resource called `name`, in thousandths.
  package subscript(name: String) -> Int64? {
    get {
      switch name {
      case "cpu": cpu
      case "memory": memory
      default: other[name]
      }
    }
    set {
      switch name {
      case "cpu": cpu = newValue
      case "memory": memory = newValue
      default: other[name] = newValue
      }
    }
  }

  /// Whether nothing is requested.
  package var isEmpty: Bool { cpu == nil && memory == nil && other.isEmpty }
}

/// The controlling owner of a pod.
package struct ControllerReference: Hashable, Sendable {
  /// The owner's kind.
  package var kind: String
  /// The owner's name.
  package var name: String
  /// The owner's identity.
  package var uid: String

  /// Names an owner.
  package init(kind: String, name: String, uid: String) {
    self.kind = kind
    self.name = name
    self.uid = uid
  }
}

/// Hands out one stored copy of equal labels, templates and strings, so that pods share them.
///
/// Bounded: a table that is full is emptied, which costs sharing between older and newer pods and nothing else.
package struct PodInterner: Sendable {
  private var labels: Set<[String: String]> = []
  private var templates: Set<PodTemplate> = []
  private var strings: Set<String> = []
  private let capacity: Int

  /// Makes an empty interner that holds at most `capacity` entries of each sort.
  package init(capacity: Int = 4_096) { self.capacity = max(1, capacity) }

  /// The stored copy of equal labels.
  package mutating func intern(_ value: [String: String]) -> [String: String] {
    Self.intern(value, in: &labels, capacity)
  }

  /// The stored copy of an equal template.
  package mutating func intern(_ value: PodTemplate) -> PodTemplate { Self.intern(value, in: &templates, capacity) }

  /// The stored copy of an equal string.
  package mutating func intern(_ value: String) -> String {
    // Up to 15 bytes are stored within the string value itself.
    value.utf8.count <= 15 ? value : Self.intern(value, in: &strings, capacity)
  }

  /// `pod` with everything shared that can be.
  package mutating func intern(_ pod: Pod) -> Pod {
    var pod = pod
    pod.key.namespace = intern(pod.key.namespace)
    pod.nodeName = intern(pod.nodeName)
    pod.labels = intern(pod.labels)
    pod.template = intern(pod.template)
    return pod
  }

  private static func intern<T: Hashable>(_ value: T, in table: inout Set<T>, _ capacity: Int) -> T {
    if let index = table.firstIndex(of: value) { return table[index] }
    if table.count >= capacity { table.removeAll(keepingCapacity: true) }
    table.insert(value)
    return value
  }
}
