import ArgumentParser
import KubernetesRuntime
import LocalAPI
import LocalCluster
import Logging
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A local cluster alone, for the tests in Tests/LocalCluster and for trying kubectl; the product has `swarmscale local`.
@main
struct LocalClusterMain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "local-cluster", abstract: "Serve a local cluster's API, with its controllers and without a node.")

  @Option(help: "Where to write the kubeconfig.")
  var kubeconfig: String

  @Option(help: "The port on loopback; 0 picks a free one.")
  var port = 0

  @Option(help: "Keep the objects in this file across runs.")
  var snapshot: String?

  @Option(help: "How many changes a watch may lag behind.")
  var changes = 2_000

  @Option(help: "A folder with logs, NAMESPACE_POD_CONTAINER.log; makes up measurements, too.")
  var sources: String?

  func run() async throws {
    var logger = Logger(label: "local-cluster")
    logger.logLevel = .info
    var configuration = LocalClusterConfiguration()
    configuration.kubeconfigPath = kubeconfig
    configuration.port = port
    configuration.snapshotPath = snapshot
    configuration.limits.changes = changes
    let time = SystemTimeSource()
    let folder = sources.map { FolderSources(folder: $0, time: time) }
    let cluster = LocalCluster(
      configuration: configuration, logs: folder ?? NoSources(), usage: folder ?? NoSources(), time: time,
      logger: logger
    ) { endpoint in
      print("listening on \(endpoint.server)")
      // Whoever started this reads the line from a pipe.
      fflush(nil)
    }
    try await ServiceGroup(
      services: [cluster], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger
    ).run()
  }
}
