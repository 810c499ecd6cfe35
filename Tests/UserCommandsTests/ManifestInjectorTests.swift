import ArgumentParser
import Foundation
import KubernetesCore
import KubernetesYAML
import Testing
import WorkerEmbedding

@testable import UserCommands

@Suite("Embedding in manifests")
struct ManifestInjectorTests {
  private static let options = ManifestInjector.Options(
    settings: EmbeddingSettings(image: "example.com/swarmscale:1", coordinator: "https://coordinator:8443"),
    server: KubernetesVersion(1, 29))

  private func inject(
    _ text: String, _ options: ManifestInjector.Options = options
  ) throws -> (text: String, remarks: [String]) {
    var injector = ManifestInjector(options)
    try injector.read(Array(text.utf8), file: "a.yaml")
    let result = injector.inject()
    return (result, injector.remarks)
  }

  private func template(_ text: String, _ path: [String] = ["spec", "template"]) throws -> JSONValue {
    let documents = YAMLDocument.read(Array(text.utf8)).documents
    return try #require(documents.lazy.compactMap { $0.json[path: path + ["spec"]] }.first)
  }

  private static let fleet = """
    # The fleet's workers.
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: reviewers   # as the autoscaler says
    spec:
      replicas: 5

      selector: {matchLabels: {app: reviewers}}
      template:
        metadata:
          labels: {app: reviewers}   # kept
        spec:
          # One worker a pod.
          containers:
          - name: worker
            image: example.com/worker:1
          # Nothing is written there.
          volumes:
          - name: scratch
            emptyDir: {}

      # After the template.
      revisionHistoryLimit: 3
    ---
    # Scales them.
    apiVersion: swarmscale.dev/v1alpha1
    kind: SwarmAutoscaler
    metadata: {name: review}
    spec:
      scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: reviewers}
      drain: {timeout: 10m}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: reviewers}   # not touched

    """

  @Test("What isn't touched keeps its comments and formatting, and the rest says what embedding says")
  func comments() throws {
    let (text, remarks) = try inject(Self.fleet)
    for comment in [
      "# The fleet's workers.", "# as the autoscaler says", "# kept", "# One worker a pod.", "# After the template.",
      "# Scales them.",
      "selector: {matchLabels: {app: reviewers}}", "metadata: {name: reviewers}   # not touched",
      "# Nothing is written there.",
    ] { #expect(text.contains(comment), "\(comment) in\n\(text)") }
    let spec = try template(text)
    #expect(spec["initContainers"]?[0]?["name"] == "swarmscale-sidecar")
    #expect(spec["terminationGracePeriodSeconds"] == 600)
    #expect(spec["volumes"]?.arrayValue?.map { $0["name"] } == ["scratch", "swarmscale"])
    let variables = spec["initContainers"]?[0]?["env"]?.arrayValue ?? []
    #expect(variables.contains(["name": "SWARMSCALE_AUTOSCALER", "value": "review"]))
    #expect(remarks == ["a.yaml:2: Deployment reviewers carries the sidecar"])
    #expect(YAMLDocument.read(Array(text.utf8)).documents.count == 3)
  }

  @Test("A second pass changes no byte, whatever the first one read")
  func stable() throws {
    for text in [
      Self.fleet, Self.fleet.replacing("\n", with: "\r\n"), Self.json, Self.list, Self.job("Job"), Self.job("CronJob"),
      String(Self.fleet.dropLast()), "---\n" + Self.fleet + "---\n",
    ] {
      let once = try inject(text).text
      #expect(once != text)
      #expect(try inject(once).text == once)
    }
  }

  @Test("New settings bring what was injected before up to date")
  func upgrade() throws {
    var newer = Self.options
    newer.settings.image = "example.com/swarmscale:2"
    newer.server = KubernetesVersion(1, 20)
    let once = try inject(Self.fleet).text
    let twice = try inject(once, newer).text
    let spec = try template(twice)
    #expect(spec["initContainers"] == nil)
    #expect(spec["containers"]?[0]?["image"] == "example.com/swarmscale:2")
  }

  private static let json = #"""
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [{"name": "worker", "image": "w"}]}}
    """#

  private static let list = """
    apiVersion: v1
    kind: List
    items:
    - apiVersion: v1
      kind: ConfigMap
      metadata: {name: other}
    - apiVersion: apps/v1
      kind: StatefulSet
      metadata: {name: reviewers}
      spec:
        template: {spec: {containers: [{name: worker, image: w}]}}

    """

  private static func job(_ kind: String) -> String {
    let template = "template: {spec: {restartPolicy: Never, containers: [{name: worker, image: w}]}}"
    return """
      apiVersion: batch/v1
      kind: \(kind)
      metadata: {name: nightly}
      spec:
        \(kind == "Job" ? template : "jobTemplate: {spec: {\(template)}}")

      """
  }

  @Test("JSON, lists, Jobs and CronJobs are understood")
  func kinds() throws {
    #expect(try template(inject(Self.json).text, [])["initContainers"]?[0]?["name"] == "swarmscale-sidecar")
    let list = try inject(Self.list)
    #expect(try template(list.text, ["items", "1", "spec", "template"])["initContainers"] != nil)
    #expect(try template(inject(Self.job("Job")).text)["initContainers"] != nil)
    #expect(
      try template(inject(Self.job("CronJob")).text, ["spec", "jobTemplate", "spec", "template"])["initContainers"]
        != nil)
  }

  @Test("What is left as it is keeps every byte, and its reason is told")
  func skips() throws {
    let optedOut = Self.fleet.replacing(
      "  name: reviewers   # as", with: "  annotations: {swarmscale.dev/embed: disabled}\n  name: reviewers   # as")
    let none = Self.fleet.replacing("drain: {timeout: 10m}", with: "embed: {mode: None}")
    let windows = Self.fleet.replacing("      containers:", with: "      os: {name: windows}\n      containers:")
    for (text, reason) in [(optedOut, "is disabled"), (none, "embed.mode is None"), (windows, "Windows")] {
      let result = try inject(text)
      #expect(result.text == text)
      #expect(result.remarks.count == 1 && result.remarks[0].contains(reason), "\(result.remarks)")
    }
    var old = Self.options
    old.server = KubernetesVersion(1, 28)
    let job = try inject(Self.job("Job"), old)
    #expect(job.text == Self.job("Job"))
    #expect(job.remarks.first?.contains("no native sidecars") == true)
  }

  @Test("The command line says what is missing or wrong")
  func commandLine() throws {
    let command = try InjectCommand.parse(["-f", "a.yaml", "b.yaml", "--kubernetes-version", "v1.20.2"])
    #expect(command.files == ["a.yaml", "b.yaml"])
    for arguments in [
      [], ["-f", "-", "-"], ["-f", "a", "--kubernetes-version", "new"], ["-f", "a", "--drain-timeout", "90000"],
    ] {
      #expect(throws: (any Error).self, "\(arguments)") { try InjectCommand.parse(arguments) }
    }
  }

  @Test("Several files become one stream, with what separates documents between them")
  func files() throws {
    var injector = ManifestInjector(Self.options)
    try injector.read(Array(Self.json.utf8), file: "a.json")
    try injector.read(Array(String(Self.list.dropLast()).utf8), file: "b.yaml")
    try injector.read(Array(Self.fleet.utf8), file: "c.yaml")
    #expect(YAMLDocument.read(Array(injector.inject().utf8)).documents.count == 5)
  }

  @Test("A file that can't be read is named with its line")
  func unreadable() throws {
    var injector = ManifestInjector(Self.options)
    let error = #expect(throws: KubernetesError.self) {
      try injector.read(Array("a: 1\n---\nb: [\n---\nc: 1\n".utf8), file: "bad.yaml")
    }
    #expect(error?.message.hasPrefix("bad.yaml:") == true)
  }

  @Test(
    "Texts that YAML could take for something else come back as they were",
    arguments: [
      "yes", "Off", "null", "~", "0777", "1e3", "12", "1.5", "0x1f", "1_000", "2020-01-01", "12:30:00", "", " a", "a ",
      "a: b",
      "a #b", "- a", "*a", "&a", "!a", "%a", "@a", "`a", "\"", "'", "{a}", "[a]", "|", ">", "a\nb", "a\n", "a\n\n",
      "\n", "é\n", "\u{1}",
      "---", "...", "true", "y", "N", "=", ".inf", "-", "?", "a\tb", "/", "/etc", "$(A)", "#",
    ])
  func scalars(_ text: String) throws {
    for value: JSONValue in [.string(text), .object([text: "b"]), [[.string(text)], ["k": .string(text)]]] {
      let written = YAMLWriter.lines(of: ["a": value, "b": [value, [value]]])
      let read = try #require(YAMLDocument.read(Array(written.utf8)).documents.first, "\(written)").json
      #expect(read == ["a": value, "b": [value, [value]]], "\(written)")
    }
  }
}
