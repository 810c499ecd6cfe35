package import KubernetesCore
package import LocalAPI

/// How a local cluster is set up.
package struct LocalClusterConfiguration: Sendable {
  /// The loopback address to listen on.
  package var host = "127.0.0.1"
  /// The port; 0 for a free one.
  package var port = 0
  /// Where to write a kubeconfig (for its owner's eyes only); nil for nowhere.
  package var kubeconfigPath: String?
  /// Where to keep the objects across runs; nil for nowhere.
  package var snapshotPath: String?
  /// How often a watch that asks for it is told the version; the API server does so each minute.
  package var bookmarkInterval = Duration.seconds(20)
  /// How long a watch lasts that doesn't say; the API server chooses 30 to 60 minutes.
  package var watchTimeout = Duration.seconds(45 * 60)
  /// How long changes are collected before a snapshot is written.
  package var snapshotDelay = Duration.seconds(1)
  /// What the cluster may hold.
  package var limits = ClusterState.Limits()

  /// The set-up of a cluster that lives in memory.
  package init() {}
}

/// What a running cluster is reached by.
package struct LocalClusterEndpoint: Sendable {
  /// `https://127.0.0.1:6443` or the like.
  package var server: String
  /// The port.
  package var port: Int
  /// The certificate of the authority that the server's certificate is signed by, as PEM.
  package var certificateAuthority: String
  /// The bearer token of the administrator: whoever has it can start processes as this user.
  package var token: String
  /// A kubeconfig with all of it.
  package var kubeconfigText: String
}

/// Something that keeps a local cluster from running, and what to do.
package struct LocalClusterError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do.
  package var message: String

  /// Says what is wrong.
  package init(_ message: String) {
    self.message = message
  }

  package var description: String { message }
}

/// Where the logs of containers come from: whoever runs them.
package protocol ClusterLogSource: Sendable {
  /// A container's log in pieces of any size; with `follow` it goes on until the container has ended.
  ///
  /// The pod and the container are there in the API. The stream is given up by cancelling the task that reads it.
  func log(_ request: LogRequest) async throws(ClusterLogError) -> any AsyncSequence<[UInt8], any Error> & Sendable
}

/// Why there is no log.
package struct ClusterLogError: Error, Hashable, Sendable {
  /// What is wrong, such as `container "worker" in pod "a" is waiting to start: ContainerCreating`.
  package var message: String

  /// Says why.
  package init(_ message: String) {
    self.message = message
  }
}

/// Where the measured usage of pods and nodes comes from: whoever runs them.
package protocol ClusterUsageSource: Sendable {
  /// The last measurement of all pods that run.
  func podUsage() async -> [MeasuredPod]
  /// The last measurement of all nodes.
  func nodeUsage() async -> [MeasuredNode]
}

/// Where the metrics of `external.metrics.k8s.io` come from.
package protocol ClusterExternalSource: Sendable {
  /// The names of the metrics, which don't change; with none the group isn't served.
  var names: [String] { get }
  /// The values of a metric; those that don't match may be among them.
  func values(of metric: String, matching selector: Selector) async -> [MeasuredExternal]
}

/// No logs and no measurements, for a cluster without a node.
package struct NoSources: ClusterLogSource, ClusterUsageSource, ClusterExternalSource {
  /// Makes it.
  package init() {}

  package func log(_ request: LogRequest) async throws(ClusterLogError) -> any AsyncSequence<[UInt8], any Error>
    & Sendable
  {
    throw ClusterLogError(
      "the local cluster has no node that could run \"\(request.container)\" in pod \"\(request.pod)\", so there is no log"
    )
  }

  package func podUsage() async -> [MeasuredPod] { [] }
  package func nodeUsage() async -> [MeasuredNode] { [] }

  package var names: [String] { [] }
  package func values(of metric: String, matching selector: Selector) async -> [MeasuredExternal] { [] }
}
