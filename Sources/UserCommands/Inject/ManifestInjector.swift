package import KubernetesCore
import KubernetesYAML
import ScalingAPI
package import WorkerEmbedding
import YAML

/// Embeds the worker side in the pod templates of manifests, as text.
package struct ManifestInjector {
  /// What is done.
  package struct Options: Sendable {
    /// What is the same for all pods.
    package var settings: EmbeddingSettings
    /// The version of the API server that the manifests are for.
    package var server: KubernetesVersion
    /// The autoscaler of workloads that none of the manifests scales; empty: none.
    package var autoscaler: String
    /// How long a worker may take to finish, in seconds, where no autoscaler of the manifests says so.
    package var drainSeconds: Int64

    /// Makes options.
    package init(
      settings: EmbeddingSettings, server: KubernetesVersion, autoscaler: String = "", drainSeconds: Int64 = 1_800
    ) {
      self.settings = settings
      self.server = server
      self.autoscaler = autoscaler
      self.drainSeconds = drainSeconds
    }
  }

  /// One file, read.
  private struct File {
    var name: String
    var segments: [Segment]
  }

  /// One document of a file as text, with what separates it from the one before.
  private struct Segment {
    var text: String
    /// The line of the file before its first.
    var line: Int
    /// nil: there is nothing but comments in it.
    var content: (root: YAMLNode, json: JSONValue)?
  }

  private struct Target: Hashable {
    var namespace: String
    var group: String
    var kind: String
    var name: String
  }

  private var options: Options
  private var files: [File] = []
  private var autoscalers: [Target: SwarmAutoscaler] = [:]
  /// What was done and what was not, a line each.
  package private(set) var remarks: [String] = []

  /// Where kinds have their pod templates.
  private static let templates: [String: [String]] = [
    "/Pod": [], "apps/Deployment": ["spec", "template"], "apps/ReplicaSet": ["spec", "template"],
    "apps/StatefulSet": ["spec", "template"], "apps/DaemonSet": ["spec", "template"],
    "batch/Job": ["spec", "template"], "batch/CronJob": ["spec", "jobTemplate", "spec", "template"],
    "/ReplicationController": ["spec", "template"], "argoproj.io/Rollout": ["spec", "template"],
  ]

  /// Makes an injector that has read nothing.
  package init(_ options: Options) {
    self.options = options
    self.options.settings.replacesSidecar = true
  }

  // MARK: Reading

  /// Reads a file; throws `.misconfigured` with file and line when it is no YAML.
  package mutating func read(_ bytes: [UInt8], file name: String) throws(KubernetesError) {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw KubernetesError(.misconfigured, "\(name): the file is not UTF-8 text")
    }
    var file = File(name: name, segments: [])
    var line = 0
    for piece in Self.pieces(of: text) {
      do throws(YAMLError) {
        let root = try YAMLParser.document(of: piece)
        let json = try root.map { root throws(YAMLError) in try YAMLDocument(root).json }
        var segment = Segment(text: piece, line: line)
        if let root, let json, json != .null { segment.content = (root, json) }
        file.segments.append(segment)
        if let json { note(json) }
      } catch {
        throw KubernetesError(.misconfigured, "\(name):\(line + error.line): the YAML can't be read: \(error.problem)")
      }
      line += piece.utf8.count { $0 == UInt8(ascii: "\n") }
    }
    files.append(file)
  }

  /// The documents of a text, each beginning with the line that separates it from the one before.
  private static func pieces(of text: String) -> [String] {
    var pieces: [String] = []
    var piece = ""
    for (index, line) in DocumentEditor.lines(of: text).enumerated() {
      if index > 0 { piece += "\n" }
      let isSeparator = line == "---" || line == "---\r" || line.hasPrefix("--- ")
      if isSeparator, !piece.isEmpty {
        pieces.append(piece)
        piece = ""
      }
      piece += line
    }
    return pieces + (piece.isEmpty ? [] : [piece])
  }

  /// Remembers which target an autoscaler scales.
  private mutating func note(_ json: JSONValue) {
    if json["kind"] == "List" {
      for item in json["items"]?.arrayValue ?? [] { note(item) }
    }
    guard json["kind"]?.stringValue == SwarmAutoscaler.kind, Self.group(of: json) == ScalingGroup.name else { return }
    let autoscaler = SwarmAutoscaler(json)
    guard let reference = autoscaler.spec.scaleTargetRef, let kind = reference.kind, let name = reference.name else {
      return
    }
    let target = Target(
      namespace: autoscaler.metadata.namespace,
      group: Self.group(of: ["apiVersion": .string(reference.apiVersion ?? "")]),
      kind: kind, name: name)
    autoscalers[target] = autoscaler
  }

  private static func group(of json: JSONValue) -> String {
    let parts = (json["apiVersion"]?.stringValue ?? "").split(separator: "/")
    return parts.count == 2 ? String(parts[0]) : ""
  }

  // MARK: Writing

  /// All documents of all files in their order, with what was embedded. What isn't touched is there byte for byte.
  package mutating func inject() -> String {
    var text = ""
    for file in files {
      for (index, segment) in file.segments.enumerated() {
        if index == 0, !text.isEmpty {
          if !text.hasSuffix("\n") { text += "\n" }
          if !segment.text.hasPrefix("---") { text += "---\n" }
        }
        text += inject(segment, file.name)
      }
    }
    return text
  }

  private mutating func inject(_ segment: Segment, _ file: String) -> String {
    guard let (root, json) = segment.content else { return segment.text }
    let place = "\(file):\(segment.line + root.line)"
    guard let changed = changed(json, place) else { return segment.text }
    return DocumentEditor.edited(segment.text, root: root, from: json, to: changed)
  }

  /// What an object becomes; nil: it stays.
  private mutating func changed(_ json: JSONValue, _ place: String) -> JSONValue? {
    if json["kind"] == "List", let items = json["items"]?.arrayValue {
      var list = json
      list["items"] = .array(items.map { changed($0, place) ?? $0 })
      return list == json ? nil : list
    }
    let kind = json["kind"]?.stringValue ?? ""
    let group = Self.group(of: json)
    guard let path = Self.templates["\(group)/\(kind)"] else { return nil }
    let (namespace, name) = (
      json["metadata"]?["namespace"]?.stringValue ?? "",
      json["metadata"]?["name"]?.stringValue ?? json["metadata"]?["generateName"]?.stringValue ?? ""
    )
    let title = "\(kind) \(namespace.isEmpty ? name : "\(namespace)/\(name)")"
    let autoscaler = autoscalers[Target(namespace: namespace, group: group, kind: kind, name: name)]
    var request: EmbeddingRequest? = EmbeddingRequest(
      autoscaler: options.autoscaler, drainSeconds: options.drainSeconds, server: options.server)
    if let autoscaler {
      request = EmbeddingRequest(autoscaler, autoscaler.spec.embed?.mode?.known ?? .sidecar, server: options.server)
    }
    var outcome = EmbeddingOutcome.skipped(.disabled)
    // An object that opts out by its own metadata means its pods.
    if WorkerEmbedding.isOptedOut(json) {
      outcome = .skipped(.optedOut)
    } else if let request {
      let template = json[path: path] ?? .null
      outcome = WorkerEmbedding(settings: options.settings).embed(template, request)
    }
    switch outcome {
    case .skipped(let skip):
      remarks.append("\(place): \(title) is left as it is: \(skip)")
      return nil
    case .embedded(let template, let notes):
      let what = request?.mode == .library ? "what the library needs" : "the sidecar"
      remarks.append("\(place): \(title) carries \(what)")
      remarks += notes.map { "\(place): \(title): \($0)" }
      return Self.replacing(path[...], in: json, with: template)
    }
  }

  private static func replacing(_ path: ArraySlice<String>, in json: JSONValue, with value: JSONValue) -> JSONValue {
    guard let key = path.first else { return value }
    var json = json
    json[key] = replacing(path.dropFirst(), in: json[key] ?? .null, with: value)
    return json
  }
}
