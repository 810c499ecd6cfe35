import Foundation
import KubernetesCore
import ScalingAPI
import ScalingController
import Testing
import WorkerEmbedding

@testable import AdmissionWebhook

/// Reviews and their answers, without a server.
struct AdmissionWebhookTests {
  private static func autoscaler(_ mode: String?) -> SwarmAutoscaler {
    var json: JSONValue = [
      "metadata": ["name": "review", "namespace": "fleet"],
      "spec": ["scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "reviewers"]],
    ]
    if let mode { json["spec"]?["embed"] = ["mode": .string(mode)] }
    return SwarmAutoscaler(json)
  }

  private func webhook(
    _ mode: String? = "Sidecar", server: KubernetesVersion? = KubernetesVersion(1, 30), namespace: String? = nil
  ) -> AdmissionWebhook {
    let target = TargetIdentity(namespace: "fleet", group: "apps", kind: "Deployment", name: "reviewers")
    return AdmissionWebhook(
      .init(
        settings: { EmbeddingSettings() }, server: { server },
        autoscaler: { $0 == target ? Self.autoscaler(mode) : nil },
        namespace: namespace, excludedNamespaces: ["kube-system", "own"]))
  }

  private static let pod: JSONValue = [
    "metadata": [
      "generateName": "reviewers-5d4f-", "labels": ["pod-template-hash": "5d4f"],
      "ownerReferences": [
        ["apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "reviewers-5d4f", "controller": true]
      ],
    ],
    "spec": ["containers": [["name": "worker", "image": "w"]]],
  ]

  private static func review(
    _ object: JSONValue, kind: String = "Pod", operation: String = "CREATE", namespace: String = "fleet",
    old: JSONValue = .null
  ) -> [UInt8] {
    let review: JSONValue = [
      "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
      "request": [
        "uid": "u-1", "operation": .string(operation), "kind": ["group": "", "version": "v1", "kind": .string(kind)],
        "namespace": .string(namespace), "object": object, "oldObject": old,
      ],
    ]
    return review.text
  }

  private func labelled(_ key: String, _ value: String) -> JSONValue {
    var pod = Self.pod
    pod["metadata"]?["labels"]?[key] = .string(value)
    return pod
  }

  @Test("A managed pod gets a patch that API servers read: base64, with the review's uid")
  func patch() throws {
    let answer = try webhook().answer(Self.review(Self.pod), at: "/mutate-pods")
    #expect(answer.outcome == "Embedded")
    let response = try #require(KubernetesJSON.parse(answer.review)["response"])
    #expect(response["uid"] == "u-1" && response["allowed"] == true && response["patchType"] == "JSONPatch")
    let patch = try #require(response["patch"]?.stringValue.flatMap { Data(base64Encoded: $0) })
    let paths = try #require(KubernetesJSON.parse([UInt8](patch)).arrayValue).compactMap { $0["path"]?.stringValue }
    #expect(paths.contains("/spec/initContainers"))
  }

  @Test("Which pods are embedded is decided by owner, label, namespace and mode")
  func which() throws {
    func outcome(_ webhook: AdmissionWebhook, _ pod: JSONValue, _ namespace: String = "fleet") throws -> String {
      try webhook.answer(Self.review(pod, namespace: namespace), at: "/mutate-pods").outcome
    }
    let enabled = labelled(EmbeddingNames.embed, "enabled")
    #expect(try outcome(webhook(), Self.pod) == "Embedded")
    #expect(try outcome(webhook("Library"), Self.pod) == "Embedded")
    #expect(try outcome(webhook("None"), Self.pod) == "NotManaged")
    #expect(try outcome(webhook(nil), Self.pod) == "NotManaged")
    #expect(try outcome(webhook(nil), enabled) == "Embedded")
    #expect(try outcome(webhook(), Self.pod, "other") == "NotManaged")
    #expect(try outcome(webhook(), enabled, "other") == "Embedded")
    #expect(try outcome(webhook(), enabled, "kube-system") == "OtherNamespace")
    #expect(try outcome(webhook(), enabled, "own") == "OtherNamespace")
    #expect(try outcome(webhook(namespace: "fleet"), enabled, "other") == "OtherNamespace")
    #expect(try outcome(webhook(), labelled(EmbeddingNames.embed, "disabled")) == "SkippedOptedOut")
    #expect(try outcome(webhook(server: nil), Self.pod) == "ServerUnknown")
    #expect(try webhook().answer(Self.review(Self.pod, operation: "UPDATE"), at: "/mutate-pods").outcome == "NotAPod")
  }

  @Test("Owners lead to targets without a request")
  func owners() {
    func targets(_ apiVersion: String, _ kind: String, _ name: String, _ labels: JSONValue = [:]) -> [String] {
      let pod: JSONValue = [
        "metadata": [
          "labels": labels,
          "ownerReferences": [
            ["apiVersion": "v1", "kind": "Node", "name": "n"],
            ["apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(name), "controller": true],
          ],
        ]
      ]
      return PodOwner.targets(of: pod, inNamespace: "a").map { "\($0.group)/\($0.kind)/\($0.name)" }
    }
    #expect(
      targets("apps/v1", "ReplicaSet", "web-5d4f", ["pod-template-hash": "5d4f"]) == [
        "apps/Deployment/web", "apps/ReplicaSet/web-5d4f",
      ])
    #expect(
      targets("apps/v1", "ReplicaSet", "web-5d4f", ["rollouts-pod-template-hash": "5d4f"])
        == ["argoproj.io/Rollout/web", "apps/ReplicaSet/web-5d4f"])
    #expect(targets("apps/v1", "ReplicaSet", "web", ["pod-template-hash": "5d4f"]) == ["apps/ReplicaSet/web"])
    #expect(targets("apps/v1", "StatefulSet", "db") == ["apps/StatefulSet/db"])
    #expect(targets("batch/v1", "Job", "nightly") == ["batch/Job/nightly"])
    #expect(targets("v1", "ReplicationController", "old") == ["/ReplicationController/old"])
    #expect(PodOwner.targets(of: ["metadata": [:]], inNamespace: "a").isEmpty)
  }

  @Test("A broken object is refused in the words of validation; one that was broken before keeps its metadata free")
  func validation() throws {
    let broken: JSONValue = [
      "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler",
      "metadata": ["name": "a", "namespace": "fleet"],
      "spec": [
        "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "w"], "minReplicas": 9,
        "maxReplicas": 3,
      ],
    ]
    let issues = SwarmAutoscaler(broken).validate().errors
    #expect(!issues.isEmpty)
    let answer = try webhook().answer(Self.review(broken, kind: "SwarmAutoscaler"), at: "/validate")
    let response = try #require(KubernetesJSON.parse(answer.review)["response"])
    #expect(response["allowed"] == false)
    #expect(response["status"]?["message"]?.stringValue == issues.map(\.description).joined(separator: "\n"))
    var labelled = broken
    labelled["metadata"]?["labels"] = ["a": "b"]
    let update = Self.review(labelled, kind: "SwarmAutoscaler", operation: "UPDATE", old: broken)
    #expect(try webhook().answer(update, at: "/validate").outcome == "Valid")
    var other = broken
    other["spec"]?["minReplicas"] = 8
    let worse = Self.review(other, kind: "SwarmAutoscaler", operation: "UPDATE", old: broken)
    #expect(try webhook().answer(worse, at: "/validate").outcome == "Refused")
    #expect(try webhook().answer(Self.review([:], kind: "ConfigMap"), at: "/validate").outcome == "NotChecked")
  }

  @Test(
    "What is no review is refused, not answered", arguments: ["", "{", "[]", "{\"kind\":\"AdmissionReview\"}", "null"])
  func garbage(_ text: String) {
    #expect(throws: KubernetesError.self) { try webhook().answer(Array(text.utf8), at: "/mutate-pods") }
  }
}
