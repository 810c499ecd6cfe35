package import KubernetesCore
import SwiftProtobuf

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Reads pods from Kubernetes' protobuf encoding: the same values as `PodJSON` gives, for a fraction of the time.
///
/// A message is `k8s\0` and a `runtime.Unknown` around the object. In a watch each length-delimited frame is a
/// `WatchEvent`, bare or in an envelope, whose object is again in an envelope.
package enum PodProtobuf {
  /// Decodes one pod.
  package static func decode(_ bytes: [UInt8], interner: inout PodInterner) throws(KubernetesError) -> Pod {
    interner.intern(try pod(from: message(WirePod.self, in: unwrap(Data(bytes), expecting: "Pod"))))
  }

  /// Decodes a `PodList`.
  package static func decodeList(
    _ bytes: [UInt8], interner: inout PodInterner
  ) throws(KubernetesError) -> ObjectList<Pod> {
    let list = try message(WirePodList.self, in: unwrap(Data(bytes), expecting: "PodList"))
    var items: [Pod] = []
    items.reserveCapacity(list.items.count)
    for item in list.items { items.append(interner.intern(try pod(from: message(WirePod.self, in: item)))) }
    return ObjectList(
      metadata: ListMeta(
        resourceVersion: list.metadata.resourceVersion, continueToken: list.metadata.continue,
        remainingItemCount: list.metadata.hasRemainingItemCount ? list.metadata.remainingItemCount : nil),
      items: items)
  }

  /// Decodes one frame of a watch.
  package static func decodeWatchFrame(
    _ frame: [UInt8], interner: inout PodInterner
  ) throws(KubernetesError) -> WatchEvent<Pod> {
    var data = Data(frame)
    if data.starts(with: magic) { data = try unwrap(data, expecting: "WatchEvent") }
    let event = try message(WireWatchEvent.self, in: data)
    let raw = event.object.raw
    switch event.type {
    case "ADDED": return .added(try interned(raw, &interner))
    case "MODIFIED": return .modified(try interned(raw, &interner))
    case "DELETED": return .deleted(try interned(raw, &interner))
    case "BOOKMARK":
      let metadata = try message(WirePartialObject.self, in: unwrap(raw, expecting: nil)).metadata
      let ends = metadata.annotations[WatchEvent<Pod>.initialEventsEndAnnotation] == "true"
      return .bookmark(resourceVersion: metadata.resourceVersion, endsInitialEvents: ends)
    case "ERROR":
      return .error(status(from: try message(WireStatus.self, in: unwrap(raw, expecting: "Status"))))
    default:
      throw KubernetesError(
        .malformedResponse, "\"\(event.type.prefix(32))\" is not a type of watch event. Try JSON instead of protobuf.")
    }
  }

  /// Decodes a `Status`, as the body of a failed request has it.
  package static func decodeStatus(_ bytes: [UInt8]) throws(KubernetesError) -> APIStatus {
    status(from: try message(WireStatus.self, in: unwrap(Data(bytes), expecting: "Status")))
  }

  /// The four bytes before each envelope.
  static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]

  private static func interned(_ raw: Data, _ interner: inout PodInterner) throws(KubernetesError) -> Pod {
    interner.intern(try pod(from: message(WirePod.self, in: unwrap(raw, expecting: "Pod"))))
  }

  /// Takes the envelope off; a kind other than `expected` (nil for any) is an error.
  private static func unwrap(_ data: Data, expecting expected: String?) throws(KubernetesError) -> Data {
    guard data.starts(with: magic) else {
      throw KubernetesError(
        .malformedResponse,
        "The response is not in Kubernetes' protobuf encoding: it doesn't begin with \"k8s\\0\". "
          + "Decode it by its Content-Type.")
    }
    let envelope = try message(WireUnknown.self, in: data.dropFirst(magic.count))
    if let expected, envelope.typeMeta.kind != expected {
      throw KubernetesError(
        .malformedResponse,
        "The server sent a \(envelope.typeMeta.kind.prefix(64)) where a \(expected) was expected.")
    }
    guard envelope.contentEncoding.isEmpty else {
      throw KubernetesError(
        .malformedResponse,
        "The server sent a protobuf object in the encoding \"\(envelope.contentEncoding.prefix(32))\"; none is supported."
      )
    }
    // Every object has content; an envelope without is one that was cut off.
    guard envelope.hasRaw else {
      throw KubernetesError(.malformedResponse, "The protobuf object is empty; the response was cut off.")
    }
    return envelope.raw
  }

  private static func message<Wire: SwiftProtobuf.Message>(
    _ type: Wire.Type, in data: Data
  ) throws(KubernetesError) -> Wire {
    var options = BinaryDecodingOptions()
    options.discardUnknownFields = true
    do {
      return try Wire(serializedBytes: data, options: options)
    } catch {
      throw KubernetesError(
        .malformedResponse, "The response is no valid protobuf \(Wire.protoMessageName): \(error)")
    }
  }
}

// MARK: Conversion

private func status(from wire: WireStatus) -> APIStatus {
  let details = wire.details
  return APIStatus(
    status: wire.status, message: wire.message, reason: wire.reason,
    details: wire.hasDetails
      ? APIStatus.Details(
        name: details.name, group: details.group, kind: details.kind, uid: details.uid,
        causes: details.causes.map { APIStatus.Cause(reason: $0.reason, message: $0.message, field: $0.field) },
        retryAfterSeconds: details.retryAfterSeconds) : nil,
    code: Int(wire.code))
}

private func pod(from wire: WirePod) throws(KubernetesError) -> Pod {
  let metadata = wire.metadata
  let spec = wire.spec
  let status = wire.status
  let key = ObjectKey(namespace: metadata.namespace, name: metadata.name)
  let restarts = status.initContainerStatuses + status.containerStatuses
  return Pod(
    key: key, uid: metadata.uid, resourceVersion: metadata.resourceVersion, labels: metadata.labels,
    template: try template(spec: spec, owners: metadata.ownerReferences, key: key),
    creationTimestamp: timestamp(metadata.creationTimestamp),
    deletionTimestamp: timestamp(metadata.deletionTimestamp), startTime: timestamp(status.startTime),
    phase: Pod.Phase(text: status.phase), ready: condition("Ready", in: status),
    scheduled: condition("PodScheduled", in: status), nodeName: spec.nodeName,
    deletionCost: metadata.annotations[Pod.deletionCostAnnotation].flatMap(Pod.deletionCost(fromAnnotation:)),
    restartCount: Int32(clamping: restarts.reduce(0) { $0 + Int64($1.restartCount) }))
}

private func template(
  spec: WirePodSpec, owners: [WireOwnerReference], key: ObjectKey
) throws(KubernetesError) -> PodTemplate {
  var containers: [PodContainer] = []
  containers.reserveCapacity(spec.containers.count + spec.initContainers.count)
  for container in spec.containers {
    containers.append(
      PodContainer(name: container.name, role: .app, requests: try requests(container.resources, of: key)))
  }
  for container in spec.initContainers {
    let role: PodContainer.Role = container.restartPolicy == "Always" ? .sidecar : .`init`
    containers.append(
      PodContainer(name: container.name, role: role, requests: try requests(container.resources, of: key)))
  }
  return PodTemplate(
    containers: containers,
    podRequests: spec.resources.requests.isEmpty ? nil : try requests(spec.resources, of: key),
    controller: owners.first { $0.controller }.map {
      ControllerReference(kind: $0.kind, name: $0.name, uid: $0.uid)
    })
}

private func requests(_ wire: WireResourceRequirements, of key: ObjectKey) throws(KubernetesError) -> ResourceRequests {
  var amounts = ResourceRequests()
  for (name, quantity) in wire.requests {
    do {
      // A quantity of zero has no text in some writers.
      amounts[name] = quantity.string.isEmpty ? 0 : try Quantity(quantity.string).milliValue
    } catch {
      throw KubernetesError(
        .malformedResponse, "The pod \(key) requests an amount of \(name) that can't be read: \(error)")
    }
  }
  return amounts
}

private func condition(_ type: String, in status: WirePodStatus) -> Pod.Condition? {
  status.conditions.first { $0.type == type }.map {
    Pod.Condition(
      status: ConditionStatus(text: $0.status), lastTransitionTime: timestamp($0.lastTransitionTime))
  }
}

/// Go's zero time is a message without fields.
private func timestamp(_ wire: WireTime) -> Timestamp? {
  if wire.seconds == 0 && wire.nanos == 0 { return nil }
  return Timestamp(secondsSinceEpoch: wire.seconds) + .nanoseconds(Int64(wire.nanos))
}
