import KubernetesCore
import KubernetesRuntime
import Logging

/// The file that keeps the objects across runs.
struct SnapshotFile: Sendable {
  let path: String
  let logger: Logger

  /// How long to wait before trying again after a write failed, such as on a full disk.
  private static let retryDelay = Duration.seconds(10)

  func read() throws(LocalClusterError) -> JSONValue? {
    guard let bytes = try PrivateFile.read(path) else { return nil }
    do throws(JSONSyntaxError) {
      return try JSONValue(parsing: bytes)
    } catch {
      throw LocalClusterError(
        "The snapshot \(path) can't be read (\(error)); move it away, or name another file.")
    }
  }

  /// Writes the objects after changes, until the cluster ends; then once more.
  func keep(_ hub: ClusterHub, delay: Duration, _ time: any TimeSource) async throws {
    var written: UInt64?
    var isFailing = false
    while true {
      let isLast = hub.isClosed
      let version = hub.version
      if version != written {
        do throws(LocalClusterError) {
          try PrivateFile.write(hub.snapshot.text, to: path)
          written = version
          if isFailing { logger.info("the snapshot is written again") }
          isFailing = false
        } catch {
          if !isFailing { logger.error("the snapshot can't be written", metadata: ["error": "\(error)"]) }
          isFailing = true
        }
      }
      if isLast { return }
      try await time.sleep(for: isFailing ? Self.retryDelay : delay)
      if hub.version == written, !hub.isClosed { try await hub.snapshots.wait() }
    }
  }
}
