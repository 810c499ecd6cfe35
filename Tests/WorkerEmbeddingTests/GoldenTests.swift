import Foundation
import KubernetesCore
import KubernetesYAML
import Testing

@testable import WorkerEmbedding

/// Pods and what they become, as files: `NAME.yaml` becomes `NAME.1.20.yaml` and `NAME.1.29.yaml`. The real API server has to
/// give the same (ControlPlaneTests). `SWARMSCALE_WRITE_GOLDEN=1` writes them anew, for the next `git diff`.
struct GoldenTests {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden")

  static let names: [String] = {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return files.filter { $0.hasSuffix(".yaml") && $0.split(separator: ".").count == 2 }
      .map { String($0.dropLast(5)) }.sorted()
  }()

  static let settings = EmbeddingSettings(
    image: "swarmscale/swarmscale:0.1.0",
    coordinator: "https://swarmscale-coordinator.swarmscale-system.svc:8443",
    authority: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")

  static func read(_ file: String) throws -> JSONValue {
    let (documents, problem) = YAMLDocument.read(
      [UInt8](try Data(contentsOf: folder.appendingPathComponent(file))))
    #expect(problem == nil)
    return try #require(documents.first).json
  }

  static func request(_ name: String, _ version: KubernetesVersion) -> EmbeddingRequest {
    EmbeddingRequest(
      mode: name.hasPrefix("library") ? .library : .sidecar, autoscaler: "reviewers", drainSeconds: 600, server: version
    )
  }

  static func text(_ outcome: EmbeddingOutcome) -> String {
    switch outcome {
    case .embedded(let pod, _): YAMLWriter.lines(of: pod)
    case .skipped(let skip):
      YAMLWriter.lines(of: ["skipped": .string(skip.code), "because": .string(skip.description)])
    }
  }

  @Test("Each pod becomes what its file holds", arguments: names, [KubernetesVersion(1, 20), KubernetesVersion(1, 29)])
  func golden(_ name: String, _ version: KubernetesVersion) throws {
    let pod = try Self.read("\(name).yaml")
    let text = Self.text(WorkerEmbedding(settings: Self.settings).embed(pod, Self.request(name, version)))
    let file = Self.folder.appendingPathComponent("\(name).\(version).yaml")
    if ProcessInfo.processInfo.environment["SWARMSCALE_WRITE_GOLDEN"] == "1" {
      try Data(text.utf8).write(to: file)
    }
    let expected = try String(contentsOf: file, encoding: .utf8)
    #expect(text == expected, "\(name) on \(version)")
  }

  @Test(
    "A second pass changes nothing, with a sidecar that stays and with one that is written anew",
    arguments: names, [KubernetesVersion(1, 20), KubernetesVersion(1, 29)])
  func second(_ name: String, _ version: KubernetesVersion) throws {
    for replaces in [false, true] {
      var settings = Self.settings
      settings.replacesSidecar = replaces
      let embedding = WorkerEmbedding(settings: settings)
      guard
        case .embedded(let once, let notes) = embedding.embed(
          try Self.read("\(name).yaml"), Self.request(name, version))
      else { continue }
      #expect(embedding.embed(once, Self.request(name, version)) == .embedded(pod: once, notes: notes))
      #expect(JSONPatch.operations(from: once, to: once).isEmpty)
    }
  }

  @Test("The patch of each pod makes of it what embedding makes", arguments: names)
  func patch(_ name: String) throws {
    let pod = try Self.read("\(name).yaml")
    let outcome = WorkerEmbedding(settings: Self.settings).embed(pod, Self.request(name, KubernetesVersion(1, 29)))
    guard case .embedded(let embedded, _) = outcome else { return }
    var patched = pod
    for operation in JSONPatch.operations(from: pod, to: embedded) { patched = try applied(operation, to: patched) }
    #expect(patched == embedded)
  }

  /// As the API server applies it.
  private func applied(_ operation: JSONValue, to value: JSONValue) throws -> JSONValue {
    let path = try #require(operation["path"]?.stringValue).split(separator: "/").map {
      $0.replacingOccurrences(of: "~1", with: "/").replacingOccurrences(of: "~0", with: "~")
    }
    return try set(operation["value"], at: path[...], in: value)
  }

  private func set(_ new: JSONValue?, at path: ArraySlice<String>, in value: JSONValue) throws -> JSONValue {
    guard let key = path.first else { return try #require(new) }
    var result = value
    if var elements = value.arrayValue {
      let index = try #require(Int(key))
      elements[index] = try set(new, at: path.dropFirst(), in: elements[index])
      return .array(elements)
    }
    if path.count == 1 {
      result[key] = new
    } else {
      result[key] = try set(new, at: path.dropFirst(), in: try #require(value[key]))
    }
    return result
  }
}
