import KubernetesCore
import KubernetesRuntime
import Logging
import ServiceLifecycle

/// Keeps the Node object and its lease: there, up to date, and Ready for as long as this process lives.
struct NodeRegistration: Service {
  /// As of the kubelet: the lease is renewed every 10 s and good for 40 s; the status is written once in a while.
  static let leasePeriod = Duration.seconds(10)
  static let leaseSeconds: Int32 = 40
  static let statusPeriod = Duration.seconds(60)
  private static let nodes = GroupVersionResource(group: "", version: "v1", resource: "nodes")
  private static let leaseNamespace = "kube-node-lease"

  let configuration: NodeConfiguration
  let machine: Machine
  let client: APIClient
  let logger: Logger

  func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.keep() }
    } catch is CancellationError where Task.isShuttingDownGracefully {
      let deadline = client.time.monotonicNow + .seconds(2)
      _ = try? await withDeadline(deadline, client.time) { try await self.writeStatus(isReady: false) }
    }
  }

  private func keep() async throws {
    let backoff = Backoff(base: .milliseconds(500), cap: .seconds(10))
    var (failures, isRegistered, leaseHeld) = (0, false, false)
    var statusDue = client.time.monotonicNow
    while true {
      do {
        if !isRegistered { try await register() }
        isRegistered = true
        if client.time.monotonicNow >= statusDue {
          try await writeStatus(isReady: true)
          statusDue = client.time.monotonicNow + Self.statusPeriod
        }
        try await renewLease(isHeld: &leaseHeld)
        failures = 0
        try await client.time.sleep(for: Self.leasePeriod)
      } catch let error as KubernetesError {
        failures += 1
        // Somebody deleted it, or the API server began anew.
        if error.code == .notFound { (isRegistered, leaseHeld, statusDue) = (false, false, client.time.monotonicNow) }
        logger.log(
          level: failures == 3 ? .warning : .debug, "the node could not be registered or renewed; trying again",
          metadata: ["node": "\(configuration.name)", "error": "\(error)"])
        try await client.time.sleep(for: backoff.delay(failures: failures, random: .random(in: .min ... .max)))
      }
    }
  }

  private var key: ObjectKey { ObjectKey(namespace: "", name: configuration.name) }

  private func register() async throws {
    var labels = configuration.labels
    labels["kubernetes.io/hostname"] = configuration.name
    labels["kubernetes.io/os"] = "linux"
    labels["kubernetes.io/arch"] = Self.architecture
    let metadata: JSONValue = [
      "name": .string(configuration.name), "labels": .object(labels.mapValues { .string($0) }),
    ]
    let node: JSONValue = ["apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": [:]]
    do {
      _ = try await client.raw(.create(Self.nodes, body: node.text))
    } catch let error as KubernetesError where error.reason == "AlreadyExists" {
      let patch: JSONValue = ["metadata": ["labels": metadata["labels"] ?? [:]]]
      _ = try await client.raw(.patch(Self.nodes, key, nil, .merge(patch.text)))
    }
  }

  private func writeStatus(isReady: Bool) async throws {
    let now = JSONValue.string(client.time.wallNow.rfc3339)
    func condition(_ type: String, _ status: String, _ reason: String, _ message: String) -> JSONValue {
      [
        "type": .string(type), "status": .string(status), "reason": .string(reason), "message": .string(message),
        "lastHeartbeatTime": now, "lastTransitionTime": now,
      ]
    }
    func quantities(_ values: [String: Quantity]) -> JSONValue { .object(values.mapValues { .string("\($0)") }) }
    let status: JSONValue = [
      "capacity": quantities(configuration.capacity(machine)),
      "allocatable": quantities(configuration.allocatable(machine)),
      "addresses": [
        ["type": "InternalIP", "address": .string(configuration.hostIP)],
        ["type": "Hostname", "address": .string(configuration.name)],
      ],
      "conditions": [
        condition("MemoryPressure", "False", "NodeHasSufficientMemory", "the node doesn't evict"),
        condition("DiskPressure", "False", "NodeHasNoDiskPressure", "the node doesn't evict"),
        condition("PIDPressure", "False", "NodeHasSufficientPID", "the node doesn't evict"),
        isReady
          ? condition("Ready", "True", "NodeReady", "the process node runs")
          : condition("Ready", "False", "NodeShutdown", "the process node has ended"),
      ],
      "nodeInfo": [
        "architecture": .string(Self.architecture), "operatingSystem": "linux", "bootID": "", "machineID": "",
        "systemUUID": "", "kernelVersion": .string(Self.kernel), "osImage": "this machine",
        "containerRuntimeVersion": "process://1", "kubeletVersion": "v1.33.0-swarmscale", "kubeProxyVersion": "",
      ],
    ]
    _ = try await client.raw(.patch(Self.nodes, key, .status, .merge((["status": status] as JSONValue).text)))
  }

  private func renewLease(isHeld: inout Bool) async throws {
    let leaseKey = ObjectKey(namespace: Self.leaseNamespace, name: configuration.name)
    let now = MicroTimestamp(client.time.wallNow)
    if isHeld {
      let patch: JSONValue = ["spec": ["renewTime": .string(now.timestamp.rfc3339Micro)]]
      try await client.patch(Lease.self, leaseKey, nil, .merge(patch.text))
      return
    }
    let spec = Lease.Spec(
      holderIdentity: configuration.name, leaseDurationSeconds: Self.leaseSeconds, renewTime: now)
    do {
      try await client.create(
        Lease(metadata: ObjectMeta(name: leaseKey.name, namespace: leaseKey.namespace), spec: spec))
    } catch let error as KubernetesError where error.reason == "AlreadyExists" {
      let patch: JSONValue = ["spec": try KubernetesJSON.value(of: spec)]
      try await client.patch(Lease.self, leaseKey, nil, .merge(patch.text))
    } catch let error as KubernetesError where error.code == .notFound {
      let namespaces = GroupVersionResource(group: "", version: "v1", resource: "namespaces")
      let namespace: JSONValue = [
        "apiVersion": "v1", "kind": "Namespace", "metadata": ["name": .string(Self.leaseNamespace)],
      ]
      _ = try await client.raw(.create(namespaces, body: namespace.text))
      return
    }
    isHeld = true
  }

  #if arch(arm64)
    private static let architecture = "arm64"
  #else
    private static let architecture = "amd64"
  #endif

  private static var kernel: String {
    let text = Files.read("/proc/sys/kernel/osrelease").map { String(decoding: $0, as: UTF8.self) } ?? ""
    return String(text.prefix { !$0.isNewline })
  }
}
