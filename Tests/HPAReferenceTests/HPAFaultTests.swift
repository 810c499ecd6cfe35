import HPAReference
import KubernetesCore
import Testing

/// Faults of the original that the product mends: the reference has to have them, or comparisons would flatter it.
@Suite struct HPAFaultTests {
  private static let now = Timestamp(secondsSinceEpoch: 1_800_000_000)

  /// `count` old, ready pods that each request one core and use `percent` of it.
  private static func fleet(
    _ count: Int, percent: Int64
  ) -> (pods: HPAReplicaCalculator.Pods, metrics: HPAReplicaCalculator.PodMetrics) {
    let pods = (0..<count).map { index in
      HPAPod(
        name: "p\(index)", labels: ["app": "x"], phase: .running, startTime: now - .seconds(3600),
        ready: HPAPod.ReadyCondition(status: .true, lastTransitionTime: now - .seconds(3590)),
        containers: [HPAPod.Container(name: "app", requestsMilli: ["cpu": 1000])])
    }
    let sample = HPAPodMetric(timestamp: now - .seconds(15), window: .seconds(30), valueMilli: percent * 10)
    return (.success(pods), .success(Dictionary(uniqueKeysWithValues: pods.map { ($0.name, sample) })))
  }

  private static func replicas(current: Int32, pods: Int, percent: Int64, target: Int32) throws -> Int32 {
    let (pods, metrics) = fleet(pods, percent: percent)
    return try HPAReplicaCalculator().resourceUtilization(
      currentReplicas: current, targetUtilization: target, resource: "cpu",
      tolerances: HPATolerances(up: 0.1, down: 0.1), metrics: metrics, pods: pods, now: now
    ).replicas
  }

  @Test(
    "ready surge pods make the HPA grow although usage is below the target",
    arguments: [(4, 6, 40, 50, 5), (100, 125, 59, 70, 106)] as [(Int32, Int, Int64, Int32, Int32)])
  func surge(current: Int32, pods: Int, percent: Int64, target: Int32, expected: Int32) throws {
    #expect(try Self.replicas(current: current, pods: pods, percent: percent, target: target) == expected)
  }

  @Test(
    "double arithmetic gives one replica too many", arguments: [(70, 29, 30), (77, 90, 100)] as [(Int32, Int64, Int32)])
  func roundingOfUtilization(pods: Int32, percent: Int64, expected: Int32) throws {
    #expect(try Self.replicas(current: pods, pods: Int(pods), percent: percent, target: 70) == expected)
  }

  @Test(
    "double arithmetic moves the limits of percent policies",
    arguments: [(100, 10, 111), (50, 10, 56), (90, 10, 100)] as [(Int32, Int32, Int32)])
  func roundingOfGrowth(current: Int32, percent: Int32, expected: Int32) {
    let rules = HPAScalingRules(
      selectPolicy: .max, policies: [HPAScalingPolicy(type: .percent, value: percent, periodSeconds: 60)])
    #expect(
      HPABehavior.scaleUpLimit(current: current, rules: rules, history: HPAHistory(), now: Self.now) == expected)
  }

  @Test("a shrink of 30 percent from 90 goes to 62, not 63")
  func roundingOfShrinking() {
    let rules = HPAScalingRules(
      selectPolicy: .max, policies: [HPAScalingPolicy(type: .percent, value: 30, periodSeconds: 60)])
    #expect(HPABehavior.scaleDownLimit(current: 90, rules: rules, history: HPAHistory(), now: Self.now) == 62)
  }

  @Test("one negative external sample asks for the largest count there is")
  func negativeExternalSample() throws {
    let proposal = try HPAReplicaCalculator().externalMetricPerPod(
      statusReplicas: 3, targetAverageMilli: 1000, tolerances: HPATolerances(up: 0.1, down: 0.1),
      metric: .success([-1]))
    #expect(proposal.replicas == .max)
    #expect(proposal.usageMilli == .max)
  }

  @Test("an object metric beyond 32 bits asks for the smallest count there is, and so for the minimum")
  func hugeObjectMetric() throws {
    let proposal = try HPAReplicaCalculator().objectMetricPerPod(
      statusReplicas: 5, targetAverageMilli: 1, tolerances: HPATolerances(up: 0.1, down: 0.1),
      metric: .success(9_000_000_000_000))
    #expect(proposal.replicas == .min)
  }

  @Test("within the tolerance of a per-pod target the surging status is written into the spec")
  func statusIsWrittenBack() {
    let target = HPAMetricTarget(type: .averageValue, averageValue: HPAQuantity("1"))
    let metric = HPAMetricSpec(
      type: .external, external: HPANamedMetricSource(metric: HPAMetricIdentifier(name: "queue"), target: target))
    var controller = HPAController(
      spec: HPASpec(
        scaleTargetRef: HPAObjectReference(kind: "Deployment", name: "web", apiVersion: "apps/v1"), minReplicas: 1,
        maxReplicas: 100, metrics: [metric]))
    let result = controller.reconcile(
      HPAStep(specReplicas: 10, statusReplicas: 13, selector: "app=x", pods: [], samples: [.values([13000])]),
      now: Self.now)
    #expect(result.scaledTo == 13)
    #expect(result.status.conditions.first { $0.type == .scalingActive }?.reason == "ValidMetricFound")
  }

  @Test("a pass says what it did, and a malformed target fails before anything is read")
  func malformedTarget() {
    var controller = HPAController(
      spec: HPASpec(
        scaleTargetRef: HPAObjectReference(kind: "Deployment", name: "web", apiVersion: "a/b/c"), maxReplicas: 5))
    let result = controller.reconcile(
      HPAStep(specReplicas: 9, statusReplicas: 9, selector: "app=x", pods: [], samples: []), now: Self.now)
    #expect(result.scaledTo == nil)
    #expect(result.error != nil)
    #expect(result.events.map(\.reason) == ["FailedGetScale"])
    #expect(controller.history == HPAHistory())
  }
}
