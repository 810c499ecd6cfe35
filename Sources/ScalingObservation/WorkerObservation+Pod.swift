package import KubernetesCore
package import ScalingDecision

extension WorkerObservation {
  /// The name of the container that embeds the worker side (`ScalingGroup.sidecarContainer`).
  private static let sidecar = "swarmscale-sidecar"

  /// Reads what decisions look at from a cached pod.
  package init(_ pod: Pod) {
    self.init(
      name: pod.key.name,
      phase: Phase(pod.phase),
      isDeleting: pod.isTerminating,
      readiness: pod.ready.map { condition in
        Readiness(
          isReady: condition.status == .true,
          since: condition.lastTransitionTime ?? pod.startTime ?? pod.creationTimestamp
            ?? Timestamp(secondsSinceEpoch: 0),
          isUnknown: condition.status == .unknown)
      },
      createdAt: pod.creationTimestamp ?? Timestamp(secondsSinceEpoch: 0),
      startedAt: pod.startTime,
      isScheduled: !pod.nodeName.isEmpty || pod.scheduled?.status == .true,
      requests: WorkerRequests(pod.template),
      deletionCost: pod.deletionCost ?? 0,
      owner: pod.controller?.uid,
      hasSidecar: pod.containers.contains { $0.name == Self.sidecar } ? true : nil)
  }
}

extension WorkerObservation.Phase {
  fileprivate init(_ phase: Pod.Phase) {
    self =
      switch phase {
      case .pending: .pending
      case .running: .running
      case .succeeded: .succeeded
      case .failed: .failed
      case .unknown: .unknown
      }
  }
}

extension WorkerRequests {
  /// The requests of all containers that run beside each other: apps and sidecars, not plain init containers.
  ///
  /// Where the pod requests something as a whole (`spec.resources`), be it only one resource, the totals are what Kubernetes
  /// reserves for the pod, as in the HPA: the pod's own request, else what its containers reserve together.
  fileprivate init(_ template: PodTemplate) {
    let own = template.podRequests
    self.init(
      podCPU: own.flatMap { $0.cpu ?? template.reserved(\.cpu) },
      podMemory: own.flatMap { $0.memory ?? template.reserved(\.memory) },
      containers: template.containers.filter { $0.role != .`init` }.map { container in
        Container(name: container.name, cpu: container.requests.cpu, memory: container.requests.memory)
      })
  }
}

extension PodTemplate {
  /// What the scheduler reserves for the containers (`AggregateContainerRequests` of Kubernetes); nil: none requests it.
  ///
  /// That is the sum over those that run beside each other, containers without a request left out, or what the dearest
  /// moment of the start takes: an init container beside the sidecars that were started before it.
  fileprivate func reserved(_ request: (ResourceRequests) -> Int64?) -> Int64? {
    var running: Int64?
    var sidecars: Int64 = 0
    var dearest: Int64?
    for container in containers {
      guard let amount = request(container.requests) else { continue }
      if container.role != .`init` { running = (running ?? 0).addingSaturated(amount) }
      if container.role == .sidecar { sidecars = sidecars.addingSaturated(amount) }
      if container.role == .`init` { dearest = max(dearest ?? 0, sidecars.addingSaturated(amount)) }
    }
    guard let running else { return dearest }
    return max(running, dearest ?? running)
  }
}
