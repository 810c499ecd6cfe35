import KubernetesCore
import LocalAPI
import LocalCluster

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Logs out of files and fixed measurements, in the place of a node, for tests of the server.
struct FolderSources: ClusterLogSource, ClusterUsageSource {
  let folder: String
  let time: any TimeSource

  func log(_ request: LogRequest) async throws(ClusterLogError) -> any AsyncSequence<[UInt8], any Error> & Sendable {
    let file = "\(folder)/\(request.namespace)_\(request.pod)_\(request.container).log"
    guard let data = try? Data(contentsOf: URL(filePath: file)) else {
      throw ClusterLogError("container \"\(request.container)\" in pod \"\(request.pod)\" is waiting to start")
    }
    var lines = String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
      .dropLast().map { "\($0)\n" }
    if let count = request.tailLines { lines = lines.suffix(count) }
    let follow = request.follow
    return AsyncThrowingStream { continuation in
      for line in lines { continuation.yield(Array(line.utf8)) }
      // A log that is followed goes on until its reader has gone.
      if !follow { continuation.finish() }
    }
  }

  func podUsage() async -> [MeasuredPod] {
    [
      MeasuredPod(
        namespace: "default", name: "measured", timestamp: time.wallNow, window: .milliseconds(15_500),
        containers: ["main": MeasuredUsage(nanocores: 250_000_000, memoryBytes: 64 << 20)]),
      MeasuredPod(
        namespace: "default", name: "not-there", timestamp: time.wallNow, window: .seconds(15), containers: [:]),
    ]
  }

  func nodeUsage() async -> [MeasuredNode] {
    [
      MeasuredNode(
        name: "local", timestamp: time.wallNow, window: .seconds(15),
        usage: MeasuredUsage(nanocores: 500_000_000, memoryBytes: 1 << 30))
    ]
  }
}
