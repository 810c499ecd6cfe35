import ControllerServer
import FleetCertificates
import Foundation
import KubernetesCore
import KubernetesRuntime
import KubernetesYAML
import Logging
import ScalingAPI
import ScalingController
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import UserCommands
import WorkerEmbedding

@testable import AdmissionWebhook

/// The webhook, called by the real API server over TLS with certificates of the keeper's.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(5)))
struct WebhookControlPlaneTests {
  private static let goldenFolder = TestControlPlane.repository.appendingPathComponent(
    "Tests/WorkerEmbeddingTests/Golden")

  private static let settings = EmbeddingSettings(
    image: "swarmscale/swarmscale:0.1.0",
    coordinator: "https://swarmscale-coordinator.swarmscale-system.svc:8443",
    authority: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")

  /// What a running webhook has.
  private struct Running: Sendable {
    var namespace: TestNamespace
    var keeper: CertificateKeeper
    var identity: ServingIdentity
    var mode: Mutexed<String>
    /// Who scales a target; nil: an autoscaler `reviewers` scales every one.
    var lookup: Mutexed<(@Sendable (TargetIdentity) -> SwarmAutoscaler?)?>
    /// What came of each review, in a word.
    var outcomes: Mutexed<[String]>

    /// What the API server makes of a pod in a namespace, the test's own if none is named.
    func send(_ pod: JSONValue, in other: String? = nil) async throws -> JSONValue {
      let body = String(decoding: pod.text, as: UTF8.self)
      let text = try await namespace.api.send(
        .post, "/api/v1/namespaces/\(other ?? namespace.name)/pods?dryRun=All", body)
      return try KubernetesJSON.parse(Array(text.utf8))
    }
  }

  private final class Mutexed<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
    var current: Value {
      get { value.withLock { $0 } }
      set { value.withLock { $0 = newValue } }
    }
    func add<Element>(_ element: Element) where Value == [Element] { value.withLock { $0.append(element) } }
  }

  private func withWebhook<Result: Sendable>(
    _ name: String, policy: CertificatePlan.Policy = .init(), interval: Duration = .seconds(60),
    _ body: @escaping @Sendable (Running) async throws -> Result
  ) async throws -> Result {
    try await TestNamespace.with(name) { namespace in
      let time = SystemTimeSource()
      let logger = Logger(label: "webhook") { _ in SwiftLogNoOpLogHandler() }
      let identity = ServingIdentity()
      let keeper = CertificateKeeper(
        .init(
          secret: ObjectKey(namespace: namespace.name, name: "certificates"), names: ["127.0.0.1"],
          webhooks: namespace.name, policy: policy, interval: interval),
        client: namespace.api.client, identity: identity, time: time, logger: logger)
      let mode = Mutexed("Sidecar")
      let lookup = Mutexed<(@Sendable (TargetIdentity) -> SwarmAutoscaler?)?>(nil)
      let outcomes = Mutexed<[String]>([])
      let version = try #require(
        KubernetesVersion((try await namespace.api.client.serverVersion()).gitVersion))
      let webhook = AdmissionWebhook(
        .init(
          settings: { Self.settings }, server: { version },
          autoscaler: { target in
            if let lookup = lookup.current { return lookup(target) }
            return SwarmAutoscaler([
              "metadata": ["name": "reviewers", "namespace": .string(target.namespace)],
              "spec": ["embed": ["mode": .string(mode.current)], "drain": ["timeout": "10m"]],
            ])
          }))
      let (ports, listening) = AsyncStream.makeStream(of: Int.self)
      let server = AdmissionServer(
        host: "127.0.0.1", port: 0, certificates: identity, whenReady: { try await identity.whenReady() },
        maximumBody: AdmissionWebhook.maximumBody, logger: logger, onListening: { listening.yield($0) }
      ) { path, body in
        do throws(KubernetesError) {
          let answer = try webhook.answer(body, at: path)
          outcomes.add(answer.outcome)
          return (200, answer.review)
        } catch {
          return (400, Array(error.message.utf8))
        }
      }
      let group = ServiceGroup(services: [keeper, server], logger: logger)
      return try await withThrowingTaskGroup(of: Result?.self) { tasks in
        tasks.addTask {
          try await group.run()
          return nil
        }
        tasks.addTask {
          do {
            var port: Int?
            for await next in ports {
              port = next
              break
            }
            try await configure(namespace, port: try unwrap(port, "a port"))
            try await keeper.look()
            let running = Running(
              namespace: namespace, keeper: keeper, identity: identity, mode: mode, lookup: lookup, outcomes: outcomes)
            try await becomesEffective(running)
            let result = try await body(running)
            await deconfigure(namespace)
            await group.triggerGracefulShutdown()
            return result
          } catch {
            await deconfigure(namespace)
            await group.triggerGracefulShutdown()
            throw error
          }
        }
        var result: Result?
        while let next = try await tasks.next() { if let next { result = next } }
        return try unwrap(result, "the webhook ended before the test")
      }
    }
  }

  private static let configurations = "/apis/admissionregistration.k8s.io/v1"

  private func configure(_ namespace: TestNamespace, port: Int) async throws {
    let name = namespace.name
    try await namespace.api.send(
      .patch, "/api/v1/namespaces/\(name)", #"{"metadata":{"labels":{"swarmscale-test":"\#(name)"}}}"#)
    func configuration(_ kind: String, _ path: String, _ rule: String) -> String {
      #"""
      {"apiVersion":"admissionregistration.k8s.io/v1","kind":"\#(kind)","metadata":{"name":"\#(name)"},"webhooks":[{
       "name":"test.swarmscale.dev","clientConfig":{"url":"https://127.0.0.1:\#(port)\#(path)"},"sideEffects":"None",
       "failurePolicy":"Fail","admissionReviewVersions":["v1"],"namespaceSelector":{"matchLabels":{"swarmscale-test":"\#(name)"}},
       "rules":[\#(rule)]}]}
      """#
    }
    try await namespace.api.send(
      .post, "\(Self.configurations)/mutatingwebhookconfigurations",
      configuration(
        "MutatingWebhookConfiguration", AdmissionWebhook.podPath,
        #"{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}"#))
    try await namespace.api.send(
      .post, "\(Self.configurations)/validatingwebhookconfigurations",
      configuration(
        "ValidatingWebhookConfiguration", AdmissionWebhook.validationPath,
        #"{"apiGroups":["swarmscale.dev"],"apiVersions":["v1alpha1"],"operations":["CREATE","UPDATE"],"resources":["swarmautoscalers","apibudgets"]}"#
      ))
  }

  private func deconfigure(_ namespace: TestNamespace) async {
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
      _ = try? await namespace.api.send(.delete, "\(Self.configurations)/\(kind)/\(namespace.name)")
    }
  }

  /// API servers take a moment to learn of a configuration, and of its authorities.
  private func becomesEffective(_ running: Running) async throws {
    let pod = try Self.golden("deployment-1")
    _ = try await eventually("the webhook is called") { () async throws -> JSONValue? in
      guard let answer = try? await running.send(pod) else { return nil }
      return answer["metadata"]?["annotations"]?[EmbeddingNames.embedded]
    }
    let broken = Self.broken(in: running.namespace)
    _ = try await eventually("the validation is called") { () async throws -> Bool? in
      do {
        _ = try await running.namespace.api.send(.post, Self.autoscalers(running.namespace) + "?dryRun=All", broken)
        return nil
      } catch let error as KubernetesError { return error.message.contains("denied") ? true : nil }
    }
  }

  private static func golden(_ file: String) throws -> JSONValue {
    let bytes = [UInt8](try Data(contentsOf: goldenFolder.appendingPathComponent("\(file).yaml")))
    return try #require(YAMLDocument.read(bytes).documents.first).json
  }

  /// Whether everything that was wanted is there; lists of named things may have more, since others add to them.
  private func expectContained(_ wanted: JSONValue, in found: JSONValue?, _ path: String) {
    switch wanted {
    case .object(let members):
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        // The server of 1.20 doesn't know it on init containers.
        if key == "restartPolicy", path.contains("initContainers") { continue }
        expectContained(value, in: found?[key], "\(path).\(key)")
      }
    case .array(let elements):
      let stored = found?.arrayValue ?? []
      let mayGrow = path.hasSuffix("volumes") || path.hasSuffix("volumeMounts")
      #expect(mayGrow || stored.count == elements.count, "\(path): \(stored.count) elements")
      for (index, element) in elements.enumerated() {
        let key = path.hasSuffix("volumeMounts") ? "mountPath" : "name"
        let same = mayGrow ? stored.first { $0[key] == element[key] } : found?[index]
        expectContained(element, in: same, "\(path)[\(index)]")
      }
    default: #expect(found == wanted, "\(path)")
    }
  }

  @Test("Pods come out of the real API server as the golden files say, and again after a second pass")
  func golden() async throws {
    try await withWebhook("golden") { running in
      let files = try FileManager.default.contentsOfDirectory(atPath: Self.goldenFolder.path)
      let names = files.filter { $0.split(separator: ".").count == 2 }.map { String($0.dropLast(5)) }.sorted()
      #expect(names.count >= 19)
      for name in names {
        running.mode.current = name.hasPrefix("library") ? "Library" : "Sidecar"
        let wanted = try Self.golden("\(name).1.20")
        let stored = try await running.send(try Self.golden(name))
        if let reason = wanted["skipped"]?.stringValue {
          #expect(running.outcomes.current.last == "Skipped\(reason)", "\(name)")
          #expect(stored["metadata"]?["annotations"]?[EmbeddingNames.embedded] == nil, "\(name)")
          continue
        }
        expectContained(wanted["spec"] ?? .null, in: stored["spec"], name)
        expectContained(wanted["metadata"]?["annotations"] ?? .null, in: stored["metadata"]?["annotations"], name)
        var again = stored
        for field in ["uid", "name", "creationTimestamp", "managedFields", "selfLink", "resourceVersion"] {
          again["metadata"]?[field] = nil
        }
        again["status"] = nil
        let twice = try await running.send(again)
        #expect(twice["spec"] == stored["spec"], "\(name), a second time")
      }
    }
  }

  @Test(
    "Pods of other namespaces are left alone, though their owners have the same name: others' and the cluster's own")
  func otherNamespaces() async throws {
    try await withWebhook("home") { running in
      let home = running.namespace
      let scaled = SwarmAutoscaler([
        "metadata": ["name": "reviewers", "namespace": .string(home.name)], "spec": ["embed": ["mode": "Sidecar"]],
      ])
      running.lookup.current = { $0.namespace == home.name ? scaled : nil }
      let pod = try Self.golden("deployment-1")
      func label(_ namespace: String, _ value: String) async throws {
        try await home.api.send(
          .patch, "/api/v1/namespaces/\(namespace)", #"{"metadata":{"labels":{"swarmscale-test":\#(value)}}}"#)
      }
      /// Whether a pod of the namespace is embedded, and what the webhook said; nil: it wasn't asked.
      func outcome(in namespace: String) async throws -> (isEmbedded: Bool, said: String?) {
        let before = running.outcomes.current.count
        let stored = try await running.send(pod, in: namespace)
        let said = running.outcomes.current.dropFirst(before).last
        return (stored["metadata"]?["annotations"]?[EmbeddingNames.embedded] != nil, said)
      }
      #expect(try await outcome(in: home.name) == (true, "Embedded"))
      try await TestNamespace.with("away") { away in
        // Its service account has its token a moment later.
        let unasked = try await eventually("a pod to be taken") { try? await outcome(in: away.name) }
        #expect(unasked == (false, nil), "its label isn't that of the configuration")
        for (namespace, word) in [(away.name, "NotManaged"), ("kube-system", "OtherNamespace")] {
          try await label(namespace, "\"\(home.name)\"")
          let asked = try await eventually("a pod of \(namespace) to be asked about") {
            (try? await outcome(in: namespace)).flatMap { $0.said == nil ? nil : $0 }
          }
          try await label(namespace, "null")
          #expect(asked == (false, word))
        }
      }
    }
  }

  @Test("A Deployment's own pods carry the sidecar once its autoscaler asks for it; those of before are told of")
  func deployment() async throws {
    try await withWebhook("owners") { running in
      let namespace = running.namespace
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      running.lookup.current = { controller.service.autoscaler(scaling: $0) }
      try await namespace.createDeployment("web", replicas: 5)
      // All of them before anybody asks for the sidecar: they are made one after the other.
      _ = try await eventually("the pods of before") { () async throws -> Bool? in
        let text = try await namespace.api.send(.get, "/api/v1/namespaces/\(namespace.name)/pods")
        return try KubernetesJSON.parse(Array(text.utf8))["items"]?.arrayValue?.count == 5 ? true : nil
      }
      try await namespace.createAutoscaler("web", spec: #"{\#(deploymentReference("web")),"embed":{}}"#)
      try await controller.run {
        let before = try await controller.awaitPass("a pass that sees them") { $0.unembedded?.pods.count == 5 }
        #expect(before.unembedded?.total == 5)
        try await namespace.api.send(
          .patch, "/apis/apps/v1/namespaces/\(namespace.name)/deployments/web",
          #"{"spec":{"template":{"metadata":{"annotations":{"rollout":"1"}}}}}"#)
        try await controller.awaitPass("a pass that misses none") {
          $0.unembedded?.pods.isEmpty == true && ($0.unembedded?.total ?? 0) >= 5
        }
        let text = try await namespace.api.send(
          .get, "/apis/swarmscale.dev/v1alpha1/namespaces/\(namespace.name)/swarmautoscalers/web")
        #expect(text.contains("EmbedMissing"))
      }
    }
  }

  @Test("Authorities and certificates are exchanged again and again while pods are admitted, and none is lost")
  func rotation() async throws {
    var policy = CertificatePlan.Policy()
    // Due a second after they are made.
    policy.authorityOverlap = policy.authorityLifetime - .seconds(2)
    policy.servingOverlap = policy.servingLifetime - .seconds(1)
    let admitted = try await withWebhook("rotation", policy: policy, interval: .milliseconds(200)) { running in
      let pod = try Self.golden("deployment-1")
      var seen: Set<String> = []
      var admitted = 0
      // failurePolicy is Fail here: whatever goes wrong is an error of the request.
      while seen.count < 5 {
        let stored = try await running.send(pod)
        try #require(stored["metadata"]?["annotations"]?[EmbeddingNames.embedded] == "sidecar")
        admitted += 1
        if let authorities = running.identity.authorities { seen.insert(authorities) }
      }
      return admitted
    }
    #expect(admitted > 10)
  }

  private static func autoscalers(_ namespace: TestNamespace) -> String {
    "/apis/swarmscale.dev/v1alpha1/namespaces/\(namespace.name)/swarmautoscalers"
  }

  private static func broken(in namespace: TestNamespace) -> String {
    #"""
    {"apiVersion":"swarmscale.dev/v1alpha1","kind":"SwarmAutoscaler","metadata":{"name":"broken","namespace":"\#(namespace.name)"},
     "spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"w"},"minReplicas":9,"maxReplicas":3}}
    """#
  }

  @Test("A broken autoscaler is refused in the words of swarmscale validate")
  func refusal() async throws {
    try await withWebhook("refusal") { running in
      let json = Self.broken(in: running.namespace)
      let issue = try #require(SwarmAutoscaler(try KubernetesJSON.parse(Array(json.utf8))).validate().errors.first)
      let error = try await #require(throws: KubernetesError.self) {
        try await running.namespace.api.send(.post, Self.autoscalers(running.namespace), json)
      }
      #expect(error.message.contains(issue.description), "\(error.message)")
      try await running.namespace.api.send(
        .post, Self.autoscalers(running.namespace),
        json.replacingOccurrences(of: "\"minReplicas\":9", with: "\"minReplicas\":2"))
    }
  }

  @Test("What swarmscale inject writes is applied by a server's dry run")
  func inject() async throws {
    try await TestNamespace.with("inject") { namespace in
      let template = "{metadata: {labels: {app: w}}, spec: {RESTART containers: [{name: w, image: none}]}}"
      let always = template.replacingOccurrences(of: "RESTART", with: "")
      var documents = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"].map { kind in
        "apiVersion: apps/v1\nkind: \(kind)\nmetadata: {name: w}\nspec:\n  selector: {matchLabels: {app: w}}\n"
          + (kind == "StatefulSet" ? "  serviceName: w\n" : "") + "  template: \(always)\n"
      }
      documents.append(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: w}\nspec:\n  containers:\n  - {name: w, image: none}\n")
      let job = template.replacingOccurrences(of: "RESTART", with: "restartPolicy: Never,")
      documents.append("apiVersion: batch/v1\nkind: Job\nmetadata: {name: w}\nspec:\n  template: \(job)\n")
      let version = try #require(KubernetesVersion((try await namespace.api.client.serverVersion()).gitVersion))
      var injector = ManifestInjector(.init(settings: Self.settings, server: version))
      try injector.read(Array(documents.joined(separator: "---\n").utf8), file: "fleet.yaml")
      let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(namespace.name).yaml")
      try Data(injector.inject().utf8).write(to: file)
      defer { try? FileManager.default.removeItem(at: file) }
      let result = try await runTool(
        "/usr/bin/env",
        [
          "kubectl", "--kubeconfig", namespace.state.kubeconfig, "-n", namespace.name, "apply", "--dry-run=server",
          "-f", file.path,
        ])
      #expect(result.status == 0, "\(result.err)")
      #expect(injector.remarks.count { $0.contains("carries") } == (version >= .nativeSidecars ? 6 : 5))
    }
  }
}
