package import KubernetesCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How a node is set up.
package struct NodeConfiguration: Hashable, Sendable {
  /// Where pods find the API server (`KUBERNETES_SERVICE_HOST` and `_PORT`).
  package struct APIServerAddress: Hashable, Sendable {
    /// The host, a name or an address.
    package var host: String
    /// The port.
    package var port: Int

    /// Makes an address.
    package init(host: String, port: Int) {
      self.host = host
      self.port = port
    }
  }

  /// The node's name.
  package var name: String
  /// Labels of the node beside those that every node has.
  package var labels: [String: String]
  /// The folder of pods and logs; the node owns it, and empties it when it starts.
  package var stateFolder: String
  /// The executable `swarmscale-shim`.
  package var shimPath: String
  /// The most pods (the kubelet's default is 110).
  package var maximumPods: Int
  /// The CPU to set aside for pods; nil: the machine's processors. More than it has is fine for workers that mostly wait.
  package var cpu: Quantity?
  /// The memory to set aside for pods; nil: the machine's, less a tenth and 512 MiB at least.
  package var memory: Quantity?
  /// Variables of this process that containers get too, such as a proxy's; a secret only when it is named here.
  package var environmentAllowList: [String]
  /// Where pods find the API server; nil: they aren't told.
  package var apiServer: APIServerAddress?
  /// Whether `127.0.0.1` and `localhost` in a manifest mean the pod's own address.
  package var mapsLoopback: Bool
  /// The block of pod addresses, 0…1023 (4,094 addresses each, in 127.64.0.0/10).
  package var addressBlock: Int
  /// The node's address.
  package var hostIP: String
  /// The most bytes of one log file (the kubelet's default is 10 MiB).
  package var logFileBytes: Int
  /// How many log files a run has at most.
  package var logFiles: Int
  /// How often use of CPU and memory is read.
  package var samplingPeriod: Duration
  /// The longest time that pods get to end when the node ends.
  package var shutdownGrace: Duration
  /// How many requests for pods' status are under way at once.
  package var statusWorkers: Int
  /// How many containers are started at once.
  package var startWorkers: Int

  /// Makes a configuration; what isn't given suits one machine.
  package init(
    name: String, labels: [String: String] = [:], stateFolder: String, shimPath: String, maximumPods: Int = 110,
    cpu: Quantity? = nil, memory: Quantity? = nil, environmentAllowList: [String] = [],
    apiServer: APIServerAddress? = nil, mapsLoopback: Bool = true, addressBlock: Int = 0,
    hostIP: String = "127.0.0.1", logFileBytes: Int = 10 << 20, logFiles: Int = 2,
    samplingPeriod: Duration = .seconds(5), shutdownGrace: Duration = .seconds(30), statusWorkers: Int = 8,
    startWorkers: Int = 4
  ) {
    self.name = name
    self.labels = labels
    self.stateFolder = stateFolder
    self.shimPath = shimPath
    self.maximumPods = maximumPods
    self.cpu = cpu
    self.memory = memory
    self.environmentAllowList = environmentAllowList
    self.apiServer = apiServer
    self.mapsLoopback = mapsLoopback
    self.addressBlock = addressBlock
    self.hostIP = hostIP
    self.logFileBytes = logFileBytes
    self.logFiles = logFiles
    self.samplingPeriod = samplingPeriod
    self.shutdownGrace = shutdownGrace
    self.statusWorkers = statusWorkers
    self.startWorkers = startWorkers
  }

  /// `swarmscale-shim` in the folder of the running program, where packages and builds put it.
  package static func shimBesideProgram() -> String {
    var buffer = [CChar](repeating: 0, count: 4_096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let path = count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    return path.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/swarmscale-shim"
  }

  /// What the node tells the API server that it has.
  func capacity(_ machine: Machine) -> [String: Quantity] {
    [
      "cpu": Quantity(Int64(machine.processors)),
      "memory": Quantity(machine.memoryBytes / 1_024 * 1_024, format: .binarySI),
      "pods": Quantity(Int64(maximumPods)),
    ]
  }

  /// What pods may set aside.
  func allocatable(_ machine: Machine) -> [String: Quantity] {
    let reserve = max(machine.memoryBytes / 10, 512 << 20)
    let memory = max(0, machine.memoryBytes - reserve) / 1_024 * 1_024
    return [
      "cpu": cpu ?? Quantity(Int64(machine.processors)), "memory": self.memory ?? Quantity(memory, format: .binarySI),
      "pods": Quantity(Int64(maximumPods)),
    ]
  }
}

/// The part of the process's own environment that containers get: what every program needs, and what is named.
package func inheritedVariables(_ environment: [String: String], allowList: [String]) -> [Variable] {
  let standard = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/"), ("LANG", "C.UTF-8"),
  ]
  var variables = standard.map { Variable($0.0, environment[$0.0] ?? $0.1) }
  for name in ["TMPDIR"] + allowList where !variables.contains(where: { $0.name == name }) {
    if let value = environment[name] { variables.append(Variable(name, value)) }
  }
  return variables
}
