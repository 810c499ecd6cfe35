import Foundation
import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import ScalingController
import TestSupport
import Testing

/// One thing that a user can get wrong in an autoscaler called `bad`, and how they are told.
struct WrongInput: Sendable, CustomTestStringConvertible {
  /// What is wrong, for the test's name.
  var testDescription: String
  /// The autoscaler's spec.
  var spec: String
  /// The type of the condition that becomes false.
  var condition: String
  /// Its reason, and the event's.
  var reason: String
  /// What its message contains: the fault and the way out.
  var says: [String]
  /// Makes what the spec needs.
  var prepare: @Sendable (TestNamespace) async throws -> Void = { _ in }

  private static func target(_ apiVersion: String, _ kind: String, _ name: String, more: String = "") -> String {
    #"{"scaleTargetRef":{"apiVersion":"\#(apiVersion)","kind":"\#(kind)","name":"\#(name)"},\#(more)"metrics":[\#(band("cpu"))]}"#
  }

  private static let createBad: @Sendable (TestNamespace) async throws -> Void = {
    try await $0.createDeployment("bad", replicas: 5)
  }

  /// Waits for the next second: ages are known in seconds, and of two that are as old the first by name goes first.
  static let becomesYounger: @Sendable (TestNamespace) async throws -> Void = { namespace in
    let created = try await namespace.autoscaler("web").metadata.creationTimestamp
    _ = try await eventually("the next second") {
      created.map { $0.secondsSinceEpoch < SystemTimeSource().wallNow.secondsSinceEpoch } ?? true ? true : nil
    }
  }

  static let all: [WrongInput] = [
    WrongInput(
      testDescription: "a misspelt kind", spec: target("apps/v1", "Deploymint", "bad"), condition: "AbleToScale",
      reason: "FailedGetScale", says: ["apps/v1 has no kind Deploymint", "did you mean Deployment?"]),
    WrongInput(
      testDescription: "an API that isn't served", spec: target("crews.example.com/v1", "Crew", "bad"),
      condition: "AbleToScale", reason: "FailedGetScale",
      says: ["The API crews.example.com/v1 is not available", "its definition (CRD) is installed"]),
    WrongInput(
      testDescription: "a target without scale", spec: target("batch/v1", "Job", "bad"), condition: "AbleToScale",
      reason: "NoScaleSubresource",
      says: ["Job in batch/v1 has no scale subresource", "add subresources.scale to its CRD"]),
    WrongInput(
      testDescription: "a kind of the core group, which has no scale", spec: target("v1", "ConfigMap", "bad"),
      condition: "Valid", reason: "InvalidSpec",
      says: ["spec.scaleTargetRef.apiVersion", "the core group has nothing to scale", "write the group and version"]),
    WrongInput(
      testDescription: "a target that doesn't exist", spec: target("apps/v1", "Deployment", "gone"),
      condition: "AbleToScale", reason: "FailedGetScale",
      says: [#""gone" not found"#, "Check the name and namespace"]),
    WrongInput(
      testDescription: "workers without a request", spec: target("apps/v1", "Deployment", "bad"),
      condition: "ScalingActive", reason: "FailedGetResourceMetric",
      says: ["set resources.requests.cpu", "pod template"],
      prepare: { try await $0.createDeployment("bad", replicas: 5, cpu: nil) }),
    WrongInput(
      testDescription: "a minimum above the maximum",
      spec: target("apps/v1", "Deployment", "bad", more: #""minReplicas":9,"maxReplicas":6,"#), condition: "Valid",
      reason: "InvalidSpec", says: ["spec.maxReplicas", "it must be at least minReplicas"], prepare: createBad),
    WrongInput(
      testDescription: "a quantity that the schema lets through and nobody can read",
      spec:
        "{\(deploymentReference("bad")),\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"1e1.5\"}}}]}",
      condition: "Valid", reason: "InvalidSpec",
      says: ["spec.metrics[0].resource.target.averageValue", "is not a quantity"], prepare: createBad),
    WrongInput(
      testDescription: "a second autoscaler on the same target", spec: target("apps/v1", "Deployment", "web"),
      condition: "AbleToScale", reason: "AmbiguousTarget",
      says: ["the older autoscaler web scales the same target", "delete one"], prepare: becomesYounger),
  ]
}

/// What users get wrong is told to them in a condition, an event and one log line; everything else goes on.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct WrongInputControlPlaneTests {
  /// Checks the condition, the one event and the one log line about `bad`, after it was looked at three times.
  private static func expectTold(_ fleet: WebFleet, _ wrong: WrongInput) async throws {
    try await fleet.controller.awaitPass("three passes") { _ in fleet.controller.passes(of: "bad").count >= 3 }
    let condition = try await eventually("the condition \(wrong.reason) after\n\(fleet.controller.story)") {
      try await fleet.namespace.autoscaler("bad").status?.conditions?.first {
        $0.type == wrong.condition && $0.reason == wrong.reason
      }
    }
    #expect(condition.status?.text == "False")
    let message = condition.message ?? ""
    for part in wrong.says { #expect(message.contains(part), "the condition says: \(message)") }
    let events = try await eventually("an event") {
      let events = try await fleet.namespace.events(about: "bad").filter { $0.hasPrefix("\(wrong.reason): ") }
      return events.isEmpty ? nil : events
    }
    #expect(events.count == 1)
    for part in wrong.says { #expect(events[0].contains(part), "the event says: \(events[0])") }
    let lines = fleet.controller.log.lines.filter { line in
      line.contains("\(fleet.namespace.name)/bad") && wrong.says.allSatisfy(line.contains)
    }
    #expect(lines.count == 1, "\(lines)")
    #expect(fleet.controller.passes(of: "bad").allSatisfy { !$0.hasWritten })
  }

  private static func createBad(_ fleet: WebFleet, _ wrong: WrongInput) async throws {
    try await wrong.prepare(fleet.namespace)
    try await fleet.namespace.createAutoscaler("bad", spec: wrong.spec)
  }

  @Test("Told, and the others go on", arguments: WrongInput.all)
  func told(_ wrong: WrongInput) async throws {
    try await WebFleet.with("wrong") { fleet in
      try await fleet.settlesAtFive()
      try await Self.createBad(fleet, wrong)
      try await Self.expectTold(fleet, wrong)
      try await fleet.converges(at: 12)
    }
  }

  @Test("Wrong objects that are there before the controller starts don't keep it from its work")
  func allAtStart() async throws {
    var options = WebFleet.Options()
    options.prepare = { namespace in
      // Named so that `web` is the first by name as well as by age.
      for (index, wrong) in WrongInput.all.enumerated() {
        try await namespace.createAutoscaler("worse-\(index)", spec: wrong.spec)
      }
    }
    try await WebFleet.with("wrong-all", options) { fleet in
      try await fleet.settlesAtFive()
      try await fleet.converges(at: 12)
      try await fleet.controller.awaitPass("a pass over each") { _ in
        WrongInput.all.indices.allSatisfy { !fleet.controller.passes(of: "worse-\($0)").isEmpty }
      }
    }
  }

  @Test("A quantity that can't be read is refused by the API server, which names the field")
  func quantityRefused() async throws {
    try await TestNamespace.with("quantity") { namespace in
      let error = await #expect(throws: KubernetesError.self) {
        try await namespace.createAutoscaler(
          "bad",
          spec:
            "{\(deploymentReference("bad")),\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"12 gigs\"}}}]}"
        )
      }
      #expect(error?.code == .invalid)
      #expect(error?.message.contains("averageValue") == true)
      #expect(error?.message.contains("spec.metrics") == true)
    }
  }

  @Test("A duplicate takes over when the older autoscaler is deleted")
  func duplicateTakesOver() async throws {
    try await WebFleet.with("duplicate") { fleet in
      try await fleet.settlesAtFive()
      let wrong = try #require(WrongInput.all.first { $0.reason == "AmbiguousTarget" })
      try await wrong.prepare(fleet.namespace)
      try await fleet.namespace.createAutoscaler(
        "bad", spec: "{\(deploymentReference("web")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      try await Self.expectTold(fleet, wrong)
      try await fleet.converges(at: 12)
      let mark = fleet.controller.mark
      try await fleet.namespace.api.send(
        .delete, "/apis/swarmscale.dev/v1alpha1/namespaces/\(fleet.namespace.name)/swarmautoscalers/web")
      try await fleet.namespace.setLoad("web", cpu: TestNamespace.total("4650m"))
      try await fleet.controller.awaitSettled("bad", at: 6, since: mark)
      _ = try await eventually("the condition to become true") {
        try await fleet.namespace.autoscaler("bad").status?.conditions?.first {
          $0.type == "AbleToScale" && $0.status?.text == "True"
        }
      }
    }
  }

  @Test(
    "Without a metrics API the count is held, and autoscalers with other metrics go on",
    arguments: [#"{"status":503}"#, #"{"status":404,"discovery":true}"#])
  func metricsAbsent(_ fault: String) async throws {
    try await WebFleet.with("no-metrics") { fleet in
      let namespace = fleet.namespace
      try await namespace.createDeployment("other", replicas: 5)
      try await namespace.node.send(
        .put, "/external", #"{"namespace":"\#(namespace.name)","metric":"tasks","value":"50"}"#)
      try await namespace.createAutoscaler(
        "other",
        spec:
          "{\(deploymentReference("other")),\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"tasks\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}],\(immediateBehavior)}"
      )
      try await fleet.settlesAtFive()
      try await fleet.controller.awaitSettled("other", at: 5)
      try await namespace.createDeployment("bad", replicas: 5)
      try await namespace.node.send(.put, "/faults", #"{"metrics":\#(fault)}"#)
      // What would be 12, could it be read.
      try await namespace.setLoad("bad", cpu: TestNamespace.total("9300m"))
      try await namespace.createAutoscaler(
        "bad", spec: "{\(deploymentReference("bad")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      try await Self.expectTold(
        fleet,
        WrongInput(
          testDescription: "", spec: "", condition: "ScalingActive", reason: "FailedGetResourceMetric",
          says: ["metrics.k8s.io", "kubectl get apiservice v1beta1.metrics.k8s.io"]))
      var mark = fleet.controller.mark
      try await namespace.node.send(
        .put, "/external", #"{"namespace":"\#(namespace.name)","metric":"tasks","value":"90"}"#)
      try await fleet.controller.awaitSettled("other", at: 9, since: mark)
      #expect(try await namespace.replicas(of: "bad") == 5)
      #expect(try await namespace.replicas(of: "web") == 5)
      mark = fleet.controller.mark
      try await namespace.node.send(.delete, "/faults")
      try await fleet.controller.awaitSettled("bad", at: 12, since: mark)
    }
  }

  // MARK: RBAC

  @Test("A missing permission is named with the way to grant it; once granted, it is used without restart")
  func forbidden() async throws {
    var options = WebFleet.Options()
    options.goesThroughFaults = false
    options.kubeconfig = { namespace in
      try TestKubeconfig.write(namespace, user: #"{"token":"\#(namespace.state.tokens.nobody)"}"#)
    }
    try await WebFleet.with("forbidden", options) { fleet in
      let controller = fleet.controller
      let lists = #"{"apiGroups":["swarmscale.dev"],"resources":["swarmautoscalers"],"verbs":["list","watch"]}"#
      try await Self.expectNotReady(controller, #"cannot list resource "swarmautoscalers""#)
      try await Self.grant(fleet.namespace, [lists])
      // The answers to lists of pods are protobuf, and as readable.
      try await Self.expectNotReady(controller, #"cannot list resource "pods""#)
      let rest = [
        lists,
        #"{"apiGroups":["swarmscale.dev"],"resources":["swarmautoscalers/status"],"verbs":["patch"]}"#,
        #"{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}"#,
        #"{"apiGroups":[""],"resources":["events"],"verbs":["create","patch"]}"#,
        #"{"apiGroups":["metrics.k8s.io"],"resources":["pods"],"verbs":["list"]}"#,
        #"{"apiGroups":["apps"],"resources":["deployments","deployments/scale"],"verbs":["get","update"],"resourceNames":["web"]}"#,
      ]
      try await Self.grant(fleet.namespace, rest)
      try await fleet.settlesAtFive()
      try await fleet.namespace.createDeployment("bad", replicas: 5)
      try await fleet.namespace.setLoad("bad", cpu: TestNamespace.total("9300m"))
      try await fleet.namespace.createAutoscaler(
        "bad", spec: "{\(deploymentReference("bad")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      try await Self.expectTold(
        fleet,
        WrongInput(
          testDescription: "", spec: "", condition: "AbleToScale", reason: "FailedGetScale",
          says: [#"cannot get resource "deployments/scale""#, "Grant this to the account with a Role"]))
      try await fleet.converges(at: 12)
      let reading = #"{"apiGroups":["apps"],"resources":["deployments","deployments/scale"],"verbs":["get"]}"#
      try await Self.grant(fleet.namespace, rest + [reading])
      try await Self.expectTold(
        fleet,
        WrongInput(
          testDescription: "", spec: "", condition: "AbleToScale", reason: "FailedUpdateScale",
          says: [#"cannot update resource "deployments/scale""#, "can't set Deployment", "Grant this"]))
      let mark = controller.mark
      try await Self.grant(
        fleet.namespace, rest + [reading.replacingOccurrences(of: #""get"]"#, with: #""get","update"]"#)])
      try await controller.awaitSettled("bad", at: 12, since: mark)
    }
  }

  private static func expectNotReady(_ controller: TestController, _ text: String) async throws {
    let reason = try await eventually("the reason \(text), not \(controller.service.notReadyReason ?? "none")") {
      controller.service.notReadyReason.flatMap { $0.contains(text) ? $0 : nil }
    }
    #expect(reason.contains("403"))
    #expect(reason.contains("Grant this to the account with a Role"))
    #expect(controller.all.isEmpty)
  }

  /// Gives the user without rights these rules in the namespace, and no others.
  private static func grant(_ namespace: TestNamespace, _ rules: [String]) async throws {
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/\(namespace.name)"
    let role =
      #"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"limited"},"rules":[\#(rules.joined(separator: ","))]}"#
    // Roles may be created by PUT.
    try await namespace.api.send(.put, "\(path)/roles/limited", role)
    do {
      try await namespace.api.send(
        .post, "\(path)/rolebindings",
        #"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"limited"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"limited"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"nobody"}]}"#
      )
    } catch let error as KubernetesError where error.reason == "AlreadyExists" {}
  }
}
