/// An event (core `v1`): a note about an object, for people.
package struct CoreEvent: Hashable, KubernetesObject {
  package static let resource = GroupVersionResource(group: "", version: "v1", resource: "events")
  package static let kind = "Event"
  package static let isNamespaced = true

  /// Whether the note is good or bad news.
  package enum Severity: String, Hashable, Sendable, Codable {
    case normal = "Normal"
    case warning = "Warning"
  }

  /// The event's own metadata.
  package var metadata: ObjectMeta
  /// What the event is about.
  package var involvedObject: ObjectReference
  /// A word in camel case by which events are counted and filtered.
  package var reason: String
  /// The note, at most 1,024 bytes.
  package var message: String
  /// `Normal` or `Warning`.
  package var type: String
  /// How often it happened.
  package var count: Int32
  /// When it first happened.
  package var firstTimestamp: Timestamp?
  /// When it last happened.
  package var lastTimestamp: Timestamp?
  /// When it first happened, for events of the newer kind.
  package var eventTime: MicroTimestamp?
  /// The controller that reports, such as `swarmscale.dev/controller`.
  package var reportingComponent: String
  /// Which instance of it.
  package var reportingInstance: String
  /// The controller that reports, in the older field that `kubectl describe` prints.
  package var source: Source?

  /// The reporting component, in the older field.
  package struct Source: Hashable, Sendable, Codable {
    /// The component.
    package var component: String?
    /// The node it runs on.
    package var host: String?

    /// Makes a source.
    package init(component: String? = nil, host: String? = nil) {
      self.component = component
      self.host = host
    }
  }

  private enum CodingKeys: String, CodingKey {
    case apiVersion, kind, metadata, involvedObject, reason, message, type, count, firstTimestamp, lastTimestamp
    case eventTime, reportingComponent, reportingInstance, source
  }

  /// Makes an event.
  package init(
    metadata: ObjectMeta, involvedObject: ObjectReference, reason: String, message: String, type: Severity = .normal,
    count: Int32 = 1, firstTimestamp: Timestamp? = nil, lastTimestamp: Timestamp? = nil,
    eventTime: MicroTimestamp? = nil, reportingComponent: String = "", reportingInstance: String = "",
    source: Source? = nil
  ) {
    self.metadata = metadata
    self.involvedObject = involvedObject
    self.reason = reason
    self.message = message
    self.type = type.rawValue
    self.count = count
    self.firstTimestamp = firstTimestamp
    self.lastTimestamp = lastTimestamp
    self.eventTime = eventTime
    self.reportingComponent = reportingComponent
    self.reportingInstance = reportingInstance
    self.source = source
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    metadata = try container.decode(.metadata, default: ObjectMeta())
    involvedObject = try container.decode(.involvedObject, default: ObjectReference())
    reason = try container.decode(.reason, default: "")
    message = try container.decode(.message, default: "")
    type = try container.decode(.type, default: "")
    count = try container.decode(.count, default: 0)
    firstTimestamp = try container.decodeTimestamp(.firstTimestamp)
    lastTimestamp = try container.decodeTimestamp(.lastTimestamp)
    eventTime = try container.decodeTimestamp(.eventTime).map(MicroTimestamp.init)
    reportingComponent = try container.decode(.reportingComponent, default: "")
    reportingInstance = try container.decode(.reportingInstance, default: "")
    source = try container.decodeOptional(.source)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Self.apiVersion, forKey: .apiVersion)
    try container.encode(Self.kind, forKey: .kind)
    try container.encode(metadata, forKey: .metadata)
    try container.encode(involvedObject, forKey: .involvedObject)
    try container.encode(reason, forKey: .reason)
    try container.encode(message, forKey: .message)
    try container.encode(type, forKey: .type)
    if count != 0 { try container.encode(count, forKey: .count) }
    try container.encodeIfPresent(firstTimestamp, forKey: .firstTimestamp)
    try container.encodeIfPresent(lastTimestamp, forKey: .lastTimestamp)
    try container.encodeIfPresent(eventTime, forKey: .eventTime)
    try container.encodeUnlessEmpty(reportingComponent, forKey: .reportingComponent)
    try container.encodeUnlessEmpty(reportingInstance, forKey: .reportingInstance)
    try container.encodeIfPresent(source, forKey: .source)
  }
}

/// A reference to any object (core `v1` ObjectReference).
package struct ObjectReference: Hashable, Sendable, Codable {
  /// The object's API version.
  package var apiVersion: String?
  /// The object's kind.
  package var kind: String?
  /// The object's namespace; nil for cluster-scoped objects.
  package var namespace: String?
  /// The object's name.
  package var name: String?
  /// The object's identity.
  package var uid: String?
  /// The object's version.
  package var resourceVersion: String?
  /// The part of the object that is meant, such as `spec.containers{web}`.
  package var fieldPath: String?

  /// Makes a reference.
  package init(
    apiVersion: String? = nil, kind: String? = nil, namespace: String? = nil, name: String? = nil, uid: String? = nil,
    resourceVersion: String? = nil, fieldPath: String? = nil
  ) {
    self.apiVersion = apiVersion
    self.kind = kind
    self.namespace = namespace
    self.name = name
    self.uid = uid
    self.resourceVersion = resourceVersion
    self.fieldPath = fieldPath
  }

  /// Refers to `object`.
  package init<Object: KubernetesObject>(to object: Object) {
    self.init(
      apiVersion: Object.apiVersion, kind: Object.kind,
      namespace: object.metadata.namespace.isEmpty ? nil : object.metadata.namespace, name: object.metadata.name,
      uid: object.uid.isEmpty ? nil : object.uid,
      resourceVersion: object.resourceVersion.isEmpty ? nil : object.resourceVersion)
  }
}
