import KubernetesCore
import ScalingDecision
import ScalingObservation
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The HPA's golden vectors about the resource metrics API, read by the product's own parser.
@Suite("The HPA's resource metrics")
struct HPAMetricsVectorTests {
  struct Vector: Decodable {
    struct Container: Decodable {
      var name: String
      var usage: [String: String]
    }
    struct Item: Decodable {
      var pod: String
      var timestamp_s: Double
      var window_s: Double
      var containers: [Container]
    }
    struct Input: Decodable {
      var resource: String
      var container: String
      var items: [Item]
    }
    struct Sample: Decodable {
      var value_milli: Int64
      var timestamp_s: Double
      var window_s: Double
    }
    struct Failure: Decodable {
      var kind: String
    }
    struct Expected: Decodable {
      var metrics: [String: Sample]?
      var error: Failure?
    }
    var id: String
    var input: Input
    var expected: Expected
  }

  private static let now = Timestamp(secondsSinceEpoch: 1_790_000_000)

  private static func moment(_ seconds: Double) -> Timestamp { now + duration(seconds) }
  private static func duration(_ seconds: Double) -> Duration { .milliseconds(Int64((seconds * 1000).rounded())) }

  /// The list as a metrics-server writes it.
  private static func list(_ items: [Vector.Item]) throws -> [UInt8] {
    let value: JSONValue = [
      "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1",
      "items": .array(
        items.map { item in
          [
            "metadata": ["name": .string(item.pod), "namespace": "default"],
            "timestamp": .string("\(moment(item.timestamp_s))"), "window": .string("\(item.window_s)s"),
            "containers": .array(
              item.containers.map { container in
                [
                  "name": .string(container.name),
                  "usage": .object(container.usage.mapValues(JSONValue.string)),
                ]
              }),
          ]
        }),
    ]
    return try KubernetesJSON.encode(value)
  }

  @Test("Every list gives the samples that the HPA takes from it; one without items leaves the metric unknown")
  func samples() throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("HPAReferenceTests/Vectors/metrics_resource.json")
    let vectors = try KubernetesJSON.decode([Vector].self, from: [UInt8](try Data(contentsOf: file)))
    var compared = 0
    for vector in vectors {
      let usage = try PodUsage.list(parsing: try Self.list(vector.input.items), now: Self.now)
      let container = vector.input.container.isEmpty ? nil : vector.input.container
      let reading = Observation.reading(of: vector.input.resource, container: container, from: usage)
      let expected = (vector.expected.metrics ?? [:]).map { name, sample in
        WorkerSample(
          worker: name, milli: sample.value_milli, at: Self.moment(sample.timestamp_s),
          window: Self.duration(sample.window_s))
      }
      #expect(reading == .perWorker(expected), "\(vector.id)")
      compared += expected.count
      guard vector.expected.error != nil else { continue }
      let spec = DecisionSpec(
        minReplicas: 1, maxReplicas: 9,
        metrics: [MetricSpec(name: "cpu", source: .resource(.cpu), target: .utilization(percent: 50))])
      let input = DecisionInput(
        now: Self.now, specReplicas: 3, statusReplicas: 3,
        workers: [WorkerObservation(name: "p", createdAt: Self.now, requests: WorkerRequests(podCPU: 1_000))],
        readings: [reading])
      let plan = ScalingDecision.decide(spec, DecisionState(), input)
      #expect(plan.proposals.map(\.outcome) == [.unknown(.noUsableSamples)], "\(vector.id)")
    }
    print("HPA vectors on the product's path: metrics_resource \(vectors.count), 0 differ, \(compared) samples")
    #expect(vectors.count == 82)
    #expect(compared > 200)
  }
}
