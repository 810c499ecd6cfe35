package import KubernetesCore
package import ScalingDecision

extension WorkerObservation {
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
      deletionCost: pod.deletionCost ?? 0)
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
  fileprivate init(_ template: PodTemplate) {
    self.init(
      podCPU: template.podRequests?.cpu,
      podMemory: template.podRequests?.memory,
      containers: template.containers.filter { $0.role != .`init` }.map { container in
        Container(name: container.name, cpu: container.requests.cpu, memory: container.requests.memory)
      })
  }
}
