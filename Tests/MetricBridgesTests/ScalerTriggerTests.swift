import KubernetesCore
import Testing

@testable import MetricBridges

struct ScalerTriggerTests {
  @Test("A trigger with an autoscaler follows its count, one replica for each")
  func autoscaler() throws {
    let trigger = try ScalerTrigger(
      namespace: "fleet", settings: ["autoscaler": "web", "scalerAddress": "swarmscale-bridges.swarmscale-system:9090"])
    #expect(trigger.metric == .desiredReplicas)
    #expect(trigger.target == 1)
    #expect(trigger.selector.description == "autoscaler=web")
    #expect(trigger.namespace == "fleet")
  }

  @Test("A trigger with a budget follows one dimension's headroom")
  func budget() throws {
    let trigger = try ScalerTrigger(
      namespace: "fleet", settings: ["budget": "claude", "dimension": "outputTokens", "unitsPerReplica": "20000"])
    #expect(trigger.metric == .apiHeadroom)
    #expect(trigger.target == 20_000)
    #expect(trigger.selector.matches(["budget": "claude", "dimension": "outputTokens"]))
    #expect(!trigger.selector.matches(["budget": "claude", "dimension": "requests"]))
  }

  @Test(
    "Settings that can't be used are refused with what to change",
    arguments: [
      ([:], "name the SwarmAutoscaler"), (["autoscaler": "a", "budget": "b"], "two triggers"),
      (["budget": "b"], "dimension is missing"), (["budget": "b", "dimension": ""], "dimension is missing"),
      (["budget": "b", "dimension": "requests"], "unitsPerReplica"),
      (["budget": "b", "dimension": "requests", "unitsPerReplica": "0"], "positive"),
      (["budget": "b", "dimension": "requests", "unitsPerReplica": "-1"], "positive"),
      (["budget": "b", "dimension": "requests", "unitsPerReplica": "1.5"], "whole"),
      (["autoscaler": "a", "dimension": "requests"], "remove it"), (["autoscaler": "not a name"], "not a name"),
    ] as [([String: String], String)])
  func refused(settings: [String: String], words: String) {
    let error = #expect(throws: ScalerTriggerError.self) {
      try ScalerTrigger(namespace: "fleet", settings: settings)
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }

  @Test(
    "KEDA's names of the metric are known, others aren't",
    arguments: [
      ("swarmscale-desired-replicas", true), ("s0-swarmscale-desired-replicas", true),
      ("s12-swarmscale-desired-replicas", true), ("", true), ("s-swarmscale-desired-replicas", false),
      ("sx-swarmscale-desired-replicas", false), ("swarmscale-api-headroom", false), ("s0-", false),
    ])
  func names(name: String, isCalled: Bool) throws {
    #expect(try ScalerTrigger(namespace: "n", settings: ["autoscaler": "web"]).isCalled(name) == isCalled)
  }
}
