import KubernetesCore
import ScalingAPI
import Testing

@Suite("Decoding and defaults")
struct DecodingTests {
  @Test("one broken object of a list keeps its name, its readable fields and the others")
  func brokenInList() throws {
    let list = """
      {"metadata": {"resourceVersion": "7"}, "items": [
        {"metadata": {"name": "a"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"},
          "maxReplicas": "many", "minReplicas": 7, "metrics": ["cpu"], "colour": "red"}},
        {"metadata": {"name": "b", "labels": 5}, "spec": "nonsense", "status": {"conditions": "none"}},
        {"metadata": {"name": "c"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "c", "apiVersion": "apps/v1"}}}
      ]}
      """
    let items = try KubernetesJSON.decode(ObjectList<SwarmAutoscaler>.self, from: Array(list.utf8)).items
    #expect(items.map(\.metadata.name) == ["a", "b", "c"])
    #expect(items[0].spec.minReplicas == 7 && items[0].spec.maxReplicas == nil && items[0].spec.metrics?.count == 1)
    #expect(items[0].decodingIssues.map(\.path) == ["spec.colour", "spec.maxReplicas", "spec.metrics[0]"])
    #expect(items[1].decodingIssues.map(\.path) == ["metadata", "spec", "status"])
    #expect(items[1].status == nil && items[1].decodingIssues.last?.severity == .warning)
    #expect(items[2].decodingIssues.isEmpty)
    #expect(throws: Never.self) { try items[2].resolved() }
  }

  @Test("an unknown choice is kept as it was written")
  func unknownChoice() throws {
    let object = autoscaler(spec: ["embed": ["mode": "Operator"], "metrics": [["type": "Oracle"]]])
    #expect(object.spec.embed?.mode == .unknown("Operator"))
    let again = try KubernetesJSON.value(of: object)
    #expect(again[path: ["spec", "embed", "mode"]] == "Operator")
    #expect(again[path: ["spec", "metrics", "0", "type"]] == "Oracle")
  }

  @Test("the smallest spec gets the project's defaults")
  func defaults() throws {
    let spec: JSONValue = ["scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"]]
    let resolved = try autoscaler(spec: spec).resolved()
    #expect(resolved.minReplicas == 5 && resolved.maxReplicas == 100)
    #expect(resolved.metrics == ResolvedAutoscaler.defaultMetrics && resolved.usesDefaultMetrics)
    #expect(resolved.syncPeriod == .seconds(15) && !resolved.isDryRun && resolved.embedMode == .disabled)
    #expect(resolved.drain.strategy == .idleFirst && resolved.drain.timeout == .seconds(1800))
    #expect(resolved.fallback == nil && !resolved.hasBehavior)
    #expect(resolved.scaleDown.stabilizationWindow == .seconds(300) && resolved.scaleUp.stabilizationWindow == .zero)
  }

  @Test(
    "a bound that is given moves the default of the other",
    arguments: [(nil, 3, 3, 3), (150, nil, 150, 150), (nil, nil, 5, 100), (2, 9, 2, 9)]
      as [(Int32?, Int32?, Int32, Int32)])
  func bounds(min: Int32?, max: Int32?, effectiveMin: Int32, effectiveMax: Int32) {
    let bounds = SwarmAutoscaler.Spec(minReplicas: min, maxReplicas: max).effectiveBounds
    #expect(bounds == (effectiveMin, effectiveMax))
  }

  @Test("a status goes out and comes back unchanged")
  func statusRoundTrip() throws {
    var object = autoscaler(spec: ["scaleTargetRef": ["kind": "Deployment", "name": "web", "apiVersion": "apps/v1"]])
    object.status = SwarmAutoscaler.Status(
      observedGeneration: 3, lastScaleTime: Timestamp(secondsSinceEpoch: 1_700_000_000), currentReplicas: 20,
      desiredReplicas: 24,
      currentMetrics: [
        .init(
          type: .known(.resource), resource: .init(name: "cpu", current: .init(averageUtilization: 91)), proposal: 22)
      ],
      targets: "cpu: 91%/70-85%", bindingStep: "Ceiling", limitedBy: "API budget claude", reason: "scaled 20→24",
      conditions: [
        .init(type: ScalingGroup.ConditionType.ableToScale, status: .known(.true), reason: "ReadyForNewScale")
      ],
      history: .init(version: 1, state: PackedJSON(["up": [[4, 17]], "tag": "x"])))
    let bytes = try KubernetesJSON.encode(object)
    #expect(try KubernetesJSON.decode(SwarmAutoscaler.self, from: bytes) == object)
  }

  @Test("resolved values go out and come back unchanged, so that a decision log can carry them")
  func resolvedRoundTrip() throws {
    let spec: JSONValue = [
      "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"],
      "metrics": [
        ["type": "APIRate", "apiRate": ["budgetRef": ["name": "claude"], "target": ["lower": 60]]],
        ["type": "Backlog", "backlog": ["target": ["averageValue": 4]]],
        ["type": "Schedule", "schedule": ["start": "0 8 * * *", "end": "0 9 * * *", "replicas": 9]],
      ],
    ]
    let resolved = try autoscaler(spec: spec).resolved()
    #expect(
      resolved.metrics == [
        .apiRate(budget: "claude", target: .init(lower: 60, upper: 95)),
        .backlog(.workers, target: .averageValue(Quantity(4)), onlyWhereReported: false),
        .schedule(timeZone: "UTC", start: "0 8 * * *", end: "0 9 * * *", replicas: 9),
      ])
    #expect(try KubernetesJSON.decode(ResolvedAutoscaler.self, from: KubernetesJSON.encode(resolved)) == resolved)
  }

  @Test("durations are read and written as Go does", arguments: ["30m", "1h30m", "45s", "250ms", "0s", "24000h"])
  func durations(_ text: String) throws {
    #expect(try Duration(goText: text).goText == text)
  }

  @Test(
    "what isn't a duration is refused", arguments: ["", "30", "m", "-5m", "30 m", "1.m", "24001h", "1d", "9999999999h"])
  func badDurations(_ text: String) {
    #expect(throws: DurationTextError.self) { try Duration(goText: text) }
  }
}
