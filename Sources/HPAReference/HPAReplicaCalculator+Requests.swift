extension HPAReplicaCalculator {
  /// The request of each pod in thousandths (`calculateRequests`).
  ///
  /// One pod without a request fails the whole metric, even a pod that does not count.
  func requests(
    of pods: [HPAPod], container: String, resource: String
  ) throws(HPACalculationError) -> [String: Int64] {
    var requests: [String: Int64] = [:]
    requests.reserveCapacity(pods.count)
    for pod in pods {
      // A named container takes precedence over pod-level requests.
      if podLevelResourcesEnabled, container.isEmpty, let podRequests = pod.podRequestsMilli,
        podRequests.keys.contains(where: Self.isPodLevelResource)
      {
        requests[pod.name] = try Self.podLevelRequest(of: pod, podRequests: podRequests, resource: resource)
      } else {
        requests[pod.name] = try Self.containersRequest(of: pod, container: container, resource: resource)
      }
    }
    return requests
  }

  /// `calculatePodRequestsFromContainers`: app containers and sidecars, or the one that is named.
  private static func containersRequest(
    of pod: HPAPod, container: String, resource: String
  ) throws(HPACalculationError) -> Int64 {
    var sum: Int64 = 0
    for role in [HPAPod.Container.Role.app, .sidecar] {
      for candidate in pod.containers where candidate.role == role {
        guard container.isEmpty || container == candidate.name else { continue }
        guard let request = candidate.requestsMilli[resource] else {
          throw .missingContainerRequest(
            "missing request for \(resource) in container \(candidate.name) of Pod \(pod.name)")
        }
        sum &+= request
        if container == candidate.name { return sum }
      }
    }
    if !container.isEmpty { throw .containerNotFound("container \(container) not found in Pod \(pod.name)") }
    return sum
  }

  /// `calculatePodLevelRequests` over `PodRequests` of `k8s.io/component-helpers/resource/helpers.go`.
  ///
  /// A resource that the pod level does not name is what the containers add up to, or what the largest moment of
  /// initialisation takes.
  private static func podLevelRequest(
    of pod: HPAPod, podRequests: [String: Int64], resource: String
  ) throws(HPACalculationError) -> Int64 {
    if isPodLevelResource(resource), let request = podRequests[resource] { return request }
    guard let request = aggregateRequest(of: pod.containers, resource: resource) else {
      throw .missingContainerRequest("missing pod-level request for \(resource) in Pod \(pod.name)")
    }
    return request
  }

  /// `AggregateContainerRequests`; nil where no container requests the resource.
  private static func aggregateRequest(of containers: [HPAPod.Container], resource: String) -> Int64? {
    var running: Int64?
    for container in containers where container.role == .app {
      if let request = container.requestsMilli[resource] { running = (running ?? 0) &+ request }
    }
    // Each init container runs beside the sidecars that stand before it.
    var sidecars: Int64 = 0
    var initialising: Int64?
    for container in containers where container.role != .app {
      guard let request = container.requestsMilli[resource] else { continue }
      if container.role == .sidecar {
        running = (running ?? 0) &+ request
        sidecars &+= request
      }
      let moment = container.role == .sidecar ? sidecars : sidecars &+ request
      initialising = max(initialising ?? moment, moment)
    }
    guard let running else { return initialising }
    return max(running, initialising ?? running)
  }

  /// `IsSupportedPodLevelResource`.
  private static func isPodLevelResource(_ name: String) -> Bool {
    name == "cpu" || name == "memory" || name.hasPrefix("hugepages-")
  }
}
