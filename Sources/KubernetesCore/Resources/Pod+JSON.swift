/// Reads pods from JSON; the interner of the caller makes equal parts shared.
package enum PodJSON {
  /// Decodes one pod.
  package static func decode(
    _ bytes: some Collection<UInt8>, interner: inout PodInterner
  ) throws(KubernetesError) -> Pod {
    interner.intern(try KubernetesJSON.decode(Pod.self, from: bytes))
  }

  /// Decodes a `PodList`.
  package static func decodeList(
    _ bytes: some Collection<UInt8>, interner: inout PodInterner
  ) throws(KubernetesError) -> ObjectList<Pod> {
    var list = try KubernetesJSON.decodeList(of: Pod.self, from: bytes)
    for index in list.items.indices { list.items[index] = interner.intern(list.items[index]) }
    return list
  }

  /// Decodes one frame of a watch.
  package static func decodeWatchFrame(
    _ frame: some Collection<UInt8>, interner: inout PodInterner
  ) throws(KubernetesError) -> WatchEvent<Pod> {
    try KubernetesJSON.decode(WatchEvent<Pod>.self, from: frame).map { interner.intern($0) }
  }
}

extension Pod: Decodable {
  private enum CodingKeys: String, CodingKey { case metadata, spec, status }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let metadata = try container.decode(.metadata, default: WireMetadata())
    let spec = try container.decodeOptional(.spec) as WireSpec?
    let status = try container.decodeOptional(.status) as WireStatus?
    let conditions = status?.conditions ?? []
    func condition(_ type: String) -> Condition? {
      conditions.first { $0.type == type }.map {
        Condition(status: ConditionStatus(text: $0.status ?? ""), lastTransitionTime: $0.lastTransitionTime)
      }
    }
    let restarts = (status?.initContainerStatuses ?? []) + (status?.containerStatuses ?? [])
    self.init(
      key: ObjectKey(namespace: metadata.namespace ?? "", name: metadata.name ?? ""),
      uid: metadata.uid ?? "", resourceVersion: metadata.resourceVersion ?? "", labels: metadata.labels ?? [:],
      template: PodTemplate(
        containers: spec?.podContainers ?? [], podRequests: spec?.resources?.podRequests,
        controller: (metadata.ownerReferences ?? []).first { $0.isController }.map {
          ControllerReference(kind: $0.kind, name: $0.name, uid: $0.uid)
        }),
      creationTimestamp: metadata.creationTimestamp, deletionTimestamp: metadata.deletionTimestamp,
      startTime: status?.startTime, phase: Phase(text: status?.phase ?? ""), ready: condition("Ready"),
      scheduled: condition("PodScheduled"), nodeName: spec?.nodeName ?? "",
      deletionCost: metadata.annotations?[Self.deletionCostAnnotation].flatMap(Self.deletionCost(fromAnnotation:)),
      restartCount: Int32(clamping: restarts.reduce(0) { $0 + Int64($1.restartCount ?? 0) }))
  }
}

// The fields of a pod's JSON that scaling needs; the many others are skipped by the decoder.

private struct WireMetadata: Decodable {
  var name: String?
  var namespace: String?
  var uid: String?
  var resourceVersion: String?
  var creationTimestamp: Timestamp?
  var deletionTimestamp: Timestamp?
  var labels: [String: String]?
  var annotations: [String: String]?
  var ownerReferences: [OwnerReference]?
}

private struct WireSpec: Decodable {
  var nodeName: String?
  var containers: [WireContainer]?
  var initContainers: [WireContainer]?
  var resources: WireResources?

  var podContainers: [PodContainer] {
    let initial = (initContainers ?? []).map { container in
      PodContainer(
        name: container.name ?? "", role: container.restartPolicy == "Always" ? .sidecar : .`init`,
        requests: container.resources?.requestedAmounts ?? ResourceRequests())
    }
    let apps = (containers ?? []).map { container in
      PodContainer(
        name: container.name ?? "", role: .app, requests: container.resources?.requestedAmounts ?? ResourceRequests())
    }
    return apps + initial
  }
}

private struct WireContainer: Decodable {
  var name: String?
  var restartPolicy: String?
  var resources: WireResources?
}

private struct WireResources: Decodable {
  var requests: [String: Quantity]?

  var requestedAmounts: ResourceRequests {
    var amounts = ResourceRequests()
    for (name, quantity) in requests ?? [:] { amounts[name] = quantity.milliValue }
    return amounts
  }

  var podRequests: ResourceRequests? { requests?.isEmpty == false ? requestedAmounts : nil }
}

private struct WireStatus: Decodable {
  var phase: String?
  var startTime: Timestamp?
  var conditions: [WireCondition]?
  var containerStatuses: [WireContainerStatus]?
  var initContainerStatuses: [WireContainerStatus]?
}

private struct WireCondition: Decodable {
  var type: String?
  var status: String?
  var lastTransitionTime: Timestamp?
}

private struct WireContainerStatus: Decodable {
  var restartCount: Int32?
}
