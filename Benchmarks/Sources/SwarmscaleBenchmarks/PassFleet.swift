import KubernetesCore
import ScalingDecision
import ScalingObservation

/// Autoscalers whose observation is made from raw inputs at each pass, as the controller makes it, and then decided from.
///
/// Raw are the pods of the informer's cache and the bytes of a list of pod metrics; everything that is pure about a pass
/// happens here: read the list, take the samples of CPU and memory, look at the pods, join, decide. The bytes were made
/// long ahead, where the controller's have just arrived: memory comes slower here than there.
struct PassFleet {
  private struct Object {
    var spec: DecisionSpec
    var state = DecisionState()
    /// The target's pods, sorted by name, as the cache gives them.
    var pods: [Pod]
    /// The answer of `metrics.k8s.io` about these pods; empty where one answer is about all.
    var body: [UInt8]
  }

  /// The answer about all pods of the namespace, where autoscalers share it; the controller does so from four on.
  private var sharedBody: [UInt8]?

  private var objects: [Object]
  private var pass = 0
  private static let start = Timestamp(secondsSinceEpoch: 1_790_000_000)

  /// Makes `objects` autoscalers of `pods` workers each, with CPU and memory in the band 70–85 and a load inside it.
  init(objects: Int, pods: Int, sharesList: Bool) {
    self.objects = (0..<objects).map { Self.object($0, pods, hasBody: !sharesList) }
    guard sharesList else { return }
    // Sorted by name, as the metrics-server does it.
    let items = (0..<objects).flatMap { number in (0..<pods).map { (Self.name(number, $0), Self.item(number, $0)) } }
    sharedBody = Self.list(items.sorted { $0.0 < $1.0 }.map(\.1))
  }

  /// One pass over each object; gives the sum of the counts, so that nothing can be left out as unused.
  mutating func passAll() throws -> Int {
    pass &+= 1
    let now = Self.start + .seconds(15) * pass
    var sum = 0
    let shared = try sharedBody.map { try PodUsage.list(parsing: $0, now: now) }
    for index in objects.indices {
      let usage = try shared ?? PodUsage.list(parsing: objects[index].body, now: now)
      sum &+= Self.pass(&objects[index], usage, now)
    }
    return sum
  }

  private static func pass(_ object: inout Object, _ usage: [PodUsage], _ now: Timestamp) -> Int {
    let names = object.pods.map(\.key.name)
    let readings = ["cpu", "memory"].map { Observation.reading(of: $0, container: nil, from: usage, pods: names) }
    let input = Observation.input(
      now: now, specReplicas: object.pods.count, statusReplicas: object.pods.count, pods: object.pods,
      metrics: object.spec.metrics, readings: readings)
    let plan = ScalingDecision.decide(object.spec, object.state, input)
    object.state = plan.state
    return plan.desiredReplicas
  }

  private static func name(_ object: Int, _ pod: Int) -> String {
    "reviewers-\(object)-7d4b9c6f5d-\(String(10_000 + pod, radix: 36))"
  }

  private static func list(_ items: [String]) -> [UInt8] {
    let head = #"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":["#
    return Array((head + items.joined(separator: ",") + "]}").utf8)
  }

  private static func item(_ number: Int, _ pod: Int) -> String {
    let percent = 74 + (number &* 7 &+ pod &* 3) % 5
    return """
      {"metadata":{"name":"\(name(number, pod))","namespace":"agents","creationTimestamp":"\(start)",\
      "labels":{"app":"reviewers-\(number)"}},"timestamp":"\(start)","window":"15.021s","containers":[{"name":"worker",\
      "usage":{"cpu":"\(250 * percent * 10_000)n","memory":"\(5_000 * percent)Ki"}}]}
      """
  }

  private static func object(_ number: Int, _ count: Int, hasBody: Bool) -> Object {
    let template = PodTemplate(containers: [
      PodContainer(name: "worker", requests: ResourceRequests(cpu: 250, memory: 512_000_000_000))
    ])
    let pods = (0..<count).map { index in
      Pod(
        key: ObjectKey(namespace: "agents", name: name(number, index)), labels: ["app": "reviewers-\(number)"],
        template: template, creationTimestamp: start - .seconds(3_600), startTime: start - .seconds(3_590),
        phase: .running, ready: .init(status: .true, lastTransitionTime: start - .seconds(3_500)),
        nodeName: "node-\(number % 50)")
    }
    let body = hasBody ? list((0..<count).map { item(number, $0) }) : []
    var metrics = [
      MetricSpec(name: "cpu", source: .resource(.cpu), target: .utilizationBand(lower: 70, upper: 85)),
      MetricSpec(name: "memory", source: .resource(.memory), target: .utilizationBand(lower: 70, upper: 85)),
    ]
    // Samples are made once, and must not grow stale while time goes on.
    for index in metrics.indices { metrics[index].freshness = .seconds(1_000_000_000) }
    return Object(
      spec: DecisionSpec(minReplicas: 5, maxReplicas: 200, metrics: metrics), pods: pods, body: body)
  }
}
