import Foundation
import KubernetesCore
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// Lists and watches fail in each way they can; after each the caches are right again and the controller goes on.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct WatchFaultControlPlaneTests {
  /// An edit is answered, which shows that the watch of the autoscalers is alive.
  private static func answersEdit(_ fleet: WebFleet, minReplicas: Int) async throws {
    let mark = fleet.controller.mark
    try await fleet.namespace.patchAutoscaler("web", #"{"spec":{"minReplicas":\#(minReplicas)}}"#)
    try await fleet.controller.awaitPass("minReplicas \(minReplicas) to be answered", since: mark) {
      $0.plan?.write == minReplicas
    }
  }

  @Test("Dropped watches resume where they were, without a list")
  func dropped() async throws {
    try await WebFleet.with("watch-dropped") { fleet in
      try await fleet.settlesAtFive()
      try await fleet.namespace.dropWatches()
      try await fleet.converges(at: 12)
      try await Self.answersEdit(fleet, minReplicas: 14)
      for resource in ["pods", "swarmautoscalers"] {
        #expect(fleet.controller.number(ControllerMetrics.relists, resource) == 1)
        #expect(fleet.controller.number(ControllerMetrics.watchRestarts, resource) >= 1)
      }
    }
  }

  @Test("Watches that break after a few events lose none")
  func droppedAfterEvents() async throws {
    var options = WebFleet.Options()
    options.prepare = { namespace in
      try await namespace.addRule(
        #"{"name":"cut","watch":true,"path":"/namespaces/NS/pods","times":4,"do":{"dropAfterEvents":3}}"#)
    }
    try await WebFleet.with("watch-cut", options) { fleet in
      try await fleet.settlesAtFive()
      try await fleet.converges(at: 12)
      try await fleet.converges(at: 6)
      let cut = try await fleet.namespace.proxied { $0.rule == "cut" && $0.end == "dropped" }
      #expect(!cut.isEmpty)
      let cached = fleet.controller.number(ControllerMetrics.cachedObjects, "pods")
      #expect(cached == 6)
    }
  }

  @Test("Half-open watches, silent but not closed, are noticed and begun anew")
  func halfOpen() async throws {
    var options = WebFleet.Options()
    options.watch.idleTimeout = .seconds(5)
    try await WebFleet.with("half-open", options) { fleet in
      try await fleet.settlesAtFive()
      try await fleet.namespace.stallWatches()
      try await fleet.converges(at: 12)
      try await Self.answersEdit(fleet, minReplicas: 14)
      let watches = try await fleet.namespace.proxied { $0.kind.hasPrefix("watch") }
      for kind in ["watch pods", "watch swarmscale.dev/swarmautoscalers"] {
        #expect(watches.filter { $0.kind == kind }.count >= 2, "\(kind) was begun anew")
      }
      // What is noticed is not taken for an expired version.
      #expect(fleet.controller.number(ControllerMetrics.relists, "pods") == 1)
    }
  }

  @Test("410 in a watch leads to one new list")
  func expiredWatch() async throws {
    try await WebFleet.with("watch-410") { fleet in
      try await fleet.settlesAtFive()
      for resource in ["pods", "swarmautoscalers"] {
        try await fleet.namespace.addRule(
          #"{"name":"410","watch":true,"path":"/namespaces/NS/\#(resource)\\?","times":1,"do":{"watchError":{"afterEvents":0,"code":410,"reason":"Expired","message":"too old resource version"}}}"#
        )
      }
      try await fleet.namespace.dropWatches()
      let lists = try await eventually("two new lists") {
        let lists = ["pods", "swarmautoscalers"].map { fleet.controller.number(ControllerMetrics.relists, $0) }
        return lists.allSatisfy { $0 >= 2 } ? lists : nil
      }
      #expect(lists == [2, 2])
      try await fleet.converges(at: 12)
      try await Self.answersEdit(fleet, minReplicas: 14)
    }
  }

  @Test("410 on the second page of a list begins the list anew, in one piece")
  func expiredContinuation() async throws {
    var options = WebFleet.Options()
    options.watch.pageSize = 2
    options.prepare = { namespace in
      _ = try await eventually("five pods, which are three pages") {
        let list = try await namespace.api.send(.get, "/api/v1/namespaces/\(namespace.name)/pods")
        return list.components(separatedBy: #""nodeName":"test-node-0""#).count > 5 ? true : nil
      }
      let body = TestNamespace.status(410, "Expired", "The provided continue parameter is too old")
      try await namespace.addRule(
        #"{"name":"page","path":"/namespaces/NS/pods\\?.*continue=","times":1,"do":{"status":410,"body":\#(body)}}"#)
    }
    try await WebFleet.with("page-410", options) { fleet in
      try await fleet.settlesAtFive()
      let lists = try await fleet.namespace.proxied {
        $0.kind == "list pods" && $0.userAgent.hasSuffix("test-a")
      }
      #expect(lists.map(\.status) == [200, 410, 200])
      #expect(lists.last?.path.contains("limit=") == false)
      #expect(fleet.controller.number(ControllerMetrics.cachedObjects, "pods") == 5)
      try await fleet.converges(at: 12)
    }
  }

  @Test("A slow list delays the first decision and nothing else; readiness says what is missing")
  func slowList() async throws {
    var options = WebFleet.Options()
    options.prepare = { namespace in
      try await namespace.addRule(
        #"{"name":"slow","watch":false,"path":"/namespaces/NS/pods\\?","times":1,"do":{"delaySeconds":4}}"#)
    }
    try await WebFleet.with("slow-list", options) { fleet in
      let reason = try await eventually("the reason for not being ready") {
        fleet.controller.service.notReadyReason.flatMap { $0.hasPrefix("pods") ? $0 : nil }
      }
      #expect(reason == "pods not listed yet: the first list is under way")
      #expect(fleet.controller.all.isEmpty)
      try await fleet.settlesAtFive()
      try await fleet.converges(at: 12)
    }
  }

  @Test("Lists with a body that can't be read are asked for again", arguments: ["pods", "swarmautoscalers"])
  func garbageList(_ resource: String) async throws {
    var options = WebFleet.Options()
    options.prepare = { namespace in
      try await namespace.addRule(
        #"{"name":"oops","watch":false,"method":"GET","path":"/namespaces/NS/\#(resource)\\?","times":3,"do":{"replaceBody":"{oops"}}"#
      )
    }
    try await WebFleet.with("garbage-list", options) { fleet in
      let reason = try await eventually("the reason for not being ready") {
        fleet.controller.service.notReadyReason.flatMap { $0.contains("under way") ? nil : $0 }
      }
      #expect(reason.hasPrefix(resource == "pods" ? "pods" : "autoscalers"))
      try await fleet.settlesAtFive()
      try await fleet.converges(at: 12)
    }
  }

  @Test("A watch that carries something that is no event is begun anew")
  func garbageInWatch() async throws {
    try await WebFleet.with("garbage-watch") { fleet in
      try await fleet.settlesAtFive()
      for resource in ["pods", "swarmautoscalers"] {
        try await fleet.namespace.addRule(
          #"{"name":"oops","watch":true,"path":"/namespaces/NS/\#(resource)\\?","times":1,"do":{"watchGarbage":{"afterEvents":0,"line":"{oops"}}}"#
        )
      }
      try await fleet.namespace.dropWatches()
      _ = try await eventually("the garbage to be served") {
        try await fleet.namespace.proxied { $0.rule == "oops" }.count == 2 ? true : nil
      }
      try await fleet.converges(at: 12)
      try await Self.answersEdit(fleet, minReplicas: 14)
    }
  }
}
