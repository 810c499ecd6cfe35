import KubernetesCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Makes the folders that stand for a pod's volumes.
struct PodVolumes: Sendable {
  /// A token file that must be written anew in time.
  struct Token: Hashable, Sendable {
    var path: String
    var audience: String?
    var expirationSeconds: Int64
    var mode: Int
    /// When to ask for the next one.
    var renewAt: MonotonicTime
  }

  /// What was made.
  struct Made: Sendable {
    /// The folder of each volume, by name.
    var folders: [String: String] = [:]
    var tokens: [Token] = []
  }

  let objects: PodObjects
  let time: any TimeSource
  let pod: PodManifest
  /// The pod's own folder.
  let folder: String

  /// Makes all volumes, below `folder`, or says which one can't be made and why.
  func make(_ facts: LaunchFacts) async throws -> Made {
    var made = Made()
    for volume in pod.volumes {
      do {
        made.folders[volume.name] = try await make(volume, facts, &made.tokens)
      } catch let error as CancellationError {
        throw error
      } catch let problem as LaunchProblem {
        throw NodeError("volume \"\(volume.name)\": \(problem.message)")
      } catch {
        throw NodeError("volume \"\(volume.name)\": \(error)")
      }
    }
    for container in pod.containers {
      for mount in container.mounts where !mount.subPath.isEmpty {
        guard let folder = made.folders[mount.name] else { continue }
        try Self.check(path: mount.subPath)
        // As the kubelet: a subPath that isn't there becomes a folder.
        let path = "\(folder)/\(mount.subPath)"
        if !Files.kind(of: path).exists { try Files.makeFolder(path, mode: 0o755) }
      }
    }
    return made
  }

  private func make(_ volume: VolumeManifest, _ facts: LaunchFacts, _ tokens: inout [Token]) async throws -> String {
    let path = "\(folder)/volumes/\(volume.name)"
    switch volume.content {
    case .emptyDir:
      try Files.makeFolder(path)
      return path
    case .hostPath(let path, let type):
      try Self.checkHostPath(path, type)
      return path
    case .unsupported(let kind):
      throw NodeError(
        "local mode has no volumes of kind \(kind). Use emptyDir, configMap, secret, projected, downwardAPI or hostPath."
      )
    case .files(let sources, let mode):
      try Files.makeFolder(path)
      for source in sources { try await write(source, to: path, mode, facts, &tokens) }
      return path
    }
  }

  private static func checkHostPath(_ path: String, _ type: String) throws(NodeError) {
    let found = Files.kind(of: path)
    switch type {
    case "DirectoryOrCreate": if !found.exists { try Files.makeFolder(path, mode: 0o755) }
    case "FileOrCreate": if !found.exists { try Files.write([], to: path, mode: 0o644) }
    case "Directory": if !found.isFolder { throw NodeError("\(path) is no folder on this machine") }
    case "": break
    default: if !found.exists || found.isFolder { throw NodeError("\(path) is no \(type) on this machine") }
    }
  }

  /// Refuses a path that leads out of its volume.
  private static func check(path: String) throws(NodeError) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard !path.isEmpty, !path.hasPrefix("/"), !parts.contains("..") else {
      throw NodeError("\"\(path)\" must be a path within the volume, without \"..\"")
    }
  }

  private func write(
    _ source: FileSource, to folder: String, _ mode: Int, _ facts: LaunchFacts, _ tokens: inout [Token]
  ) async throws {
    switch source {
    case .object(let isSecret, let name, let items, let isOptional):
      let reference = DataReference(isSecret: isSecret, name: name)
      guard let values = try await objects.values([reference], namespace: pod.key.namespace)[reference] else {
        if isOptional { return }
        throw NodeError("\(reference.words) not found")
      }
      let files =
        items.isEmpty ? values.keys.sorted().map { FileItem(key: $0, path: $0) } : items
      for file in files {
        guard let bytes = values[file.key] else {
          if isOptional { continue }
          throw NodeError("\(reference.words) has no key \"\(file.key)\"")
        }
        try write(bytes, file.path, folder, file.mode ?? mode)
      }
    case .downward(let items):
      // A field of a container needs no container of its own here: `resourceFieldRef` of a volume names one.
      let nobody = ContainerManifest(name: "")
      for item in items {
        let text = try LaunchPlan.value(item.source, nobody, pod, facts, [:]) ?? ""
        try write(Array(text.utf8), item.path, folder, mode)
      }
    case .token(let audience, let expirationSeconds, let path):
      try Self.check(path: path)
      var token = Token(
        path: "\(folder)/\(path)", audience: audience, expirationSeconds: expirationSeconds, mode: mode,
        renewAt: time.monotonicNow)
      try await renew(&token)
      tokens.append(token)
    }
  }

  private func write(_ bytes: [UInt8], _ path: String, _ folder: String, _ mode: Int) throws(NodeError) {
    try Self.check(path: path)
    let full = "\(folder)/\(path)"
    if path.contains("/"), let slash = full.lastIndex(of: "/") { try Files.makeFolder(String(full[..<slash])) }
    try Files.write(bytes, to: full, mode: mode_t(mode & 0o777))
  }

  /// Writes a new token and notes when the next one is due: after four fifths of its life, a day at the latest, as the kubelet.
  func renew(_ token: inout Token) async throws {
    let answer = try await objects.token(
      for: pod, audience: token.audience, expirationSeconds: token.expirationSeconds)
    if let slash = token.path.lastIndex(of: "/") { try Files.makeFolder(String(token.path[..<slash])) }
    try Files.write(Array(answer.token.utf8), to: token.path, mode: mode_t(token.mode & 0o777))
    let life = answer.expires.map { $0 - time.wallNow } ?? .seconds(token.expirationSeconds)
    token.renewAt = time.monotonicNow + min(max(life, .seconds(60)) / 5 * 4, .seconds(86_400))
  }
}
