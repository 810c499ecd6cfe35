import KubernetesCore
import LocalAPI
import LocalCluster
import ProcessNode
import Synchronization

/// What the node knows of logs and use, as the local cluster asks for it. The node comes later: it needs the cluster first.
final class NodeSources: ClusterLogSource, ClusterUsageSource {
  private let node = Mutex<ProcessNode?>(nil)
  private let time: any TimeSource

  init(time: any TimeSource) { self.time = time }

  /// Connects the node.
  func connect(_ node: ProcessNode) { self.node.withLock { $0 = node } }

  func log(_ request: LogRequest) async throws(ClusterLogError) -> any AsyncSequence<[UInt8], any Error> & Sendable {
    guard let node = node.withLock({ $0 }) else { throw ClusterLogError("the node has not started yet") }
    let since = request.sinceTime ?? request.sinceSeconds.map { time.wallNow - .seconds($0) }
    do throws(PodLogError) {
      return try node.log(
        of: ObjectKey(namespace: request.namespace, name: request.pod),
        PodLogOptions(
          container: request.container, follow: request.follow, previous: request.previous,
          tailLines: request.tailLines, sinceTime: since, timestamps: request.timestamps,
          limitBytes: request.limitBytes))
    } catch {
      throw ClusterLogError("\(error)")
    }
  }

  func podUsage() async -> [MeasuredPod] {
    let samples = node.withLock({ $0 })?.podMetrics(namespace: nil) ?? []
    return samples.map { sample in
      MeasuredPod(
        namespace: sample.key.namespace, name: sample.key.name, timestamp: sample.timestamp, window: sample.window,
        containers: Dictionary(
          sample.containers.map {
            ($0.name, MeasuredUsage(nanocores: $0.cpuNanocores, memoryBytes: $0.memoryBytes))
          }, uniquingKeysWith: { first, _ in first }))
    }
  }

  func nodeUsage() async -> [MeasuredNode] {
    guard let sample = node.withLock({ $0 })?.nodeMetrics() else { return [] }
    return [
      MeasuredNode(
        name: sample.name, timestamp: sample.timestamp, window: sample.window,
        usage: MeasuredUsage(nanocores: sample.cpuNanocores, memoryBytes: sample.memoryBytes))
    ]
  }
}
