import KubernetesCore
import ScalingDecision
import ScalingObservation
import TestSupport
import Testing

@testable import HPAReference

/// What a pod requests is what the HPA takes it to request, whatever stands at the pod's level and in its containers.
@Suite("Requests of whole pods")
struct PodRequestTests {
  private static func container(_ name: String, _ role: PodContainer.Role, cpu: Int64?, memory: Int64? = nil)
    -> PodContainer
  {
    PodContainer(name: name, role: role, requests: ResourceRequests(cpu: cpu, memory: memory))
  }

  private static func observed(_ containers: [PodContainer], pod: ResourceRequests?) -> WorkerRequests {
    WorkerObservation(
      Pod(
        key: ObjectKey(namespace: "n", name: "p"), template: PodTemplate(containers: containers, podRequests: pod))
    ).requests
  }

  @Test("A pod-level request for memory alone makes CPU what the containers reserve, those without a request left out")
  func oneResource() {
    let containers = [
      Self.container("app", .app, cpu: 500), Self.container("helper", .app, cpu: nil),
      Self.container("proxy", .sidecar, cpu: 100),
    ]
    #expect(Self.observed(containers, pod: nil).cpu == nil)
    let requests = Self.observed(containers, pod: ResourceRequests(memory: 4_000))
    #expect(requests.cpu == 600)
    #expect(requests.memory == 4_000)
    #expect(requests.request(of: .cpu, container: "helper") == nil)
  }

  @Test("Then an init container counts where the start reserves more than the run")
  func initContainers() {
    let containers = [
      Self.container("app", .app, cpu: 500), Self.container("proxy", .sidecar, cpu: 100),
      Self.container("setup", .`init`, cpu: 2_000),
    ]
    #expect(Self.observed(containers, pod: nil).cpu == 600)
    #expect(Self.observed(containers, pod: ResourceRequests(memory: 1)).cpu == 2_100)
    #expect(Self.observed(containers, pod: ResourceRequests(cpu: 700, memory: 1)).cpu == 700)
  }

  @Test("Any mixture of levels, roles and gaps gives the HPA's request, or none where the HPA fails")
  func againstTheReference() {
    var random = SeededGenerator(seed: 7)
    var counts = (equal: 0, missing: 0, podLevel: 0)
    for _ in 0..<4_000 {
      func amount() -> Int64? { Bool.random(using: &random) ? Int64.random(in: 0...4_000, using: &random) : nil }
      let roles: [PodContainer.Role] = [.app, .sidecar, .`init`]
      var containers = [Self.container("c0", .app, cpu: amount(), memory: amount())]
      for index in 1..<Int.random(in: 1...5, using: &random) + 1 {
        containers.append(
          Self.container("c\(index)", roles.randomElement(using: &random) ?? .app, cpu: amount(), memory: amount()))
      }
      let pod: ResourceRequests? =
        Bool.random(using: &random) ? ResourceRequests(cpu: amount(), memory: amount()) : nil
      // The API server has no empty request at the pod's level.
      if let pod, pod.cpu == nil, pod.memory == nil { continue }
      let ours = Self.observed(containers, pod: pod)
      let theirs = HPAPod(
        name: "p", labels: [:], phase: .running,
        containers: containers.map {
          HPAPod.Container(
            name: $0.name, role: $0.role == .app ? .app : $0.role == .sidecar ? .sidecar : .`init`,
            requestsMilli: Self.amounts($0.requests))
        }, podRequestsMilli: pod.map(Self.amounts))
      for (resource, value) in [("cpu", ours.cpu), ("memory", ours.memory)] {
        let expected = try? HPAReplicaCalculator().requests(of: [theirs], container: "", resource: resource)["p"]
        #expect(value == expected, "\(resource) of \(containers), pod \(String(describing: pod))")
        if expected == nil { counts.missing += 1 } else { counts.equal += 1 }
        if pod != nil { counts.podLevel += 1 }
      }
    }
    #expect(counts.equal > 1_000 && counts.missing > 1_000 && counts.podLevel > 1_000)
  }

  private static func amounts(_ requests: ResourceRequests) -> [String: Int64] {
    var amounts: [String: Int64] = [:]
    amounts["cpu"] = requests.cpu
    amounts["memory"] = requests.memory
    return amounts
  }
}
