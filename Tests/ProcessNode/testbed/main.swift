// A process node as a program of its own, for tests that kill it: Tests/ProcessNode/run.
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import Logging
import ProcessNode
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

let arguments = CommandLine.arguments
guard arguments.count >= 5 else {
  print("usage: process-node-testbed KUBECONFIG NODE STATE-FOLDER SHIM [MAXIMUM-PODS [CPU]]")
  exit(64)
}
let time = SystemTimeSource()
let cluster = try loadClusterConfiguration(explicitPath: arguments[1], context: nil, environment: [:])
let transport = try CurlTransport(
  configuration: cluster, credentials: credentialProvider(for: cluster, environment: [:], timeSource: time),
  userAgent: "process-node-testbed", timeSource: time)
var configuration = NodeConfiguration(
  name: arguments[2], stateFolder: arguments[3], shimPath: arguments[4],
  maximumPods: arguments.count > 5 ? Int(arguments[5]) ?? 110 : 110,
  cpu: try arguments.count > 6 ? Quantity(arguments[6]) : nil, shutdownGrace: .seconds(5))
configuration.environmentAllowList = ["SWARMSCALE_TEST_ALLOWED"]
var logger = Logger(label: "node")
logger.logLevel = .debug
let environment = Dictionary(
  uniqueKeysWithValues: (["PATH", "HOME", "SWARMSCALE_TEST_ALLOWED"] as [String]).compactMap { name in
    getenv(name).map { (name, String(cString: $0)) }
  })
let node = try ProcessNode(
  configuration, client: APIClient(transport: transport, time: time), environment: environment, logger: logger)

let services = ServiceGroupConfiguration(
  services: [.init(service: node, successTerminationBehavior: .gracefullyShutdownGroup)],
  gracefulShutdownSignals: [.sigterm, .sigint],
  logger: logger)
try await ServiceGroup(configuration: services).run()
await transport.shutdown()
print("ended")
