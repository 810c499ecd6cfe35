import KubernetesCore
import ScalingAPI

extension ClusterState {
  /// How a write is meant.
  struct WriteOptions {
    var isDryRun: Bool
    var manager: String
    /// `Strict`, `Warn` or `Ignore`.
    var fieldValidation: String
    var force: Bool

    init(_ call: APICall) throws(APIFailure) {
      switch call["dryRun"] {
      case nil, "": isDryRun = false
      case "All": isDryRun = true
      case let other?:
        throw .invalid(
          kind: "WriteOptions", group: "meta.k8s.io",
          [.notSupported("dryRun", .string(String(other.prefix(64))), ["All"])])
      }
      manager = call.fieldManager
      fieldValidation = call["fieldValidation"] ?? "Ignore"
      force = call.isSet("force")
    }
  }

  /// A document that has been read by its type's schema.
  struct ReadObject {
    var json: JSONValue
    var warnings: [String] = []
    /// Faults that the schema found, for `invalid`.
    var faults: [FieldFault] = []
  }

  // MARK: Bodies

  func parse(_ call: APICall) throws(APIFailure) -> JSONValue {
    guard call.body.count <= limits.bodyBytes else {
      throw APIFailure(
        413, "RequestEntityTooLarge", "Request entity too large: limit is \(limits.bodyBytes)", details: [:])
    }
    do throws(JSONSyntaxError) {
      return try JSONValue(parsing: call.body)
    } catch {
      throw .badRequest("the body isn't JSON: \(error)")
    }
  }

  func parseDocument(_ call: APICall) throws(APIFailure) -> JSONValue {
    guard call.bodyType != "application/vnd.kubernetes.protobuf" else {
      throw APIFailure(
        415, "UnsupportedMediaType",
        "the local cluster reads JSON and no protobuf, which this command sends; to create an object this way end the command "
          + "with: --dry-run=client -o yaml | kubectl apply -f -")
    }
    guard ["application/json", "", "*/*", "text/plain"].contains(call.bodyType) else {
      throw .unsupportedMediaType(["application/json"])
    }
    guard !call.body.isEmpty else { throw .badRequest("the request has no body") }
    return try parse(call)
  }

  /// Reads a document as an object of a type: right kind, known fields, right JSON types, defaults.
  func read(
    _ document: JSONValue, as type: ResourceType, options: WriteOptions
  ) throws(APIFailure) -> ReadObject {
    var document = document
    guard document.objectValue != nil else { throw .badRequest("the object is not a JSON object") }
    try checkKind(&document, type)
    var findings = SchemaFindings()
    var json = type.schema.reading(document, &findings)
    if json["metadata"]?.objectValue == nil { json["metadata"] = [:] }
    guard findings.wrongTypes.isEmpty || type.isCustom else {
      let text = findings.wrongTypes.map { "\($0.field): \($0.message)" }.joined(separator: ", ")
      throw .badRequest(
        "\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): \(text)")
    }
    var result = ReadObject(json: json)
    if !findings.unknown.isEmpty {
      let texts = findings.unknown.map { "unknown field \"\($0)\"" }
      switch options.fieldValidation {
      case "Strict":
        throw .badRequest(
          "\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): strict decoding error: "
            + texts.joined(separator: ", "))
      case "Warn": result.warnings += texts
      default: break
      }
    }
    result.faults = findings.wrongTypes + findings.missing + findings.outOfBounds
    if !type.isCustom { result.faults.removeAll { $0.reason == .required } }
    if type.group == "events.k8s.io" { result.json = EventForms.core(from: result.json) }
    Defaults.apply(to: &result.json, type: type)
    return result
  }

  private func checkKind(_ document: inout JSONValue, _ type: ResourceType) throws(APIFailure) {
    let kind = document["kind"]?.stringValue ?? ""
    let version = document["apiVersion"]?.stringValue ?? ""
    if !kind.isEmpty, kind != type.kind {
      throw .badRequest(
        "\(kind) in version \"\(version)\" cannot be handled as a \(type.kind): no kind \"\(kind)\" is registered here")
    }
    if !version.isEmpty, version != type.apiVersion {
      throw .badRequest(
        "the API version in the data (\(version)) does not match the expected API version (\(type.apiVersion))")
    }
    document["kind"] = .string(type.kind)
    document["apiVersion"] = .string(type.apiVersion)
  }

  /// What our own types' validation says beyond the schema: texts for faults, and warnings for what the CRD lets pass.
  func advice(on object: JSONValue, _ type: ResourceType, faults: inout [FieldFault]) -> [String] {
    guard type.isCustom else { return [] }
    let issues =
      type.kind == SwarmAutoscaler.kind ? SwarmAutoscaler(object).validate() : APIBudget(object).validate()
    var warnings: [String] = []
    for issue in issues {
      if let index = faults.firstIndex(where: { $0.field == issue.path }) {
        faults[index].message += " (\(issue.message); \(issue.fix))"
      } else {
        warnings.append(issue.description)
      }
    }
    return Array(warnings.prefix(20))
  }

  // MARK: Create

  mutating func create(_ place: Place, _ call: APICall, _ moment: inout Moment) throws(APIFailure) -> APIAnswer {
    if !place.type.isStored { return try review(place, call, moment.now) }
    let options = try WriteOptions(call)
    let read = try read(parseDocument(call), as: place.type, options: options)
    return try create(read, place, options, call, &moment)
  }

  mutating func create(
    _ read: ReadObject, _ place: Place, _ options: WriteOptions, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    var object = read.json
    let type = place.type
    let key = try name(&object, place, &moment)
    if !(object[path: ["metadata", "resourceVersion"]]?.stringValue ?? "").isEmpty {
      throw .badRequest("resourceVersion should not be set on objects to be created")
    }
    Strategy.prepareForCreate(&object, type)
    var faults = read.faults + Validation.faults(of: object, type)
    let warnings = read.warnings + advice(on: object, type, faults: &faults)
    guard faults.isEmpty else { throw .invalid(type, key.name, faults) }
    try checkNamespace(key, type)
    guard store[key] == nil else { throw .alreadyExists(type, key.name) }
    if type.storage == "services" { assignAddress(&object, isDryRun: options.isDryRun) }
    if !options.isDryRun { try checkRoom() }
    object = ManagedFields.afterUpdate(
      of: nil, to: object, by: writer(options, type, "", moment.now),
      schema: catalog.type(storage: type.storage)?.schema ?? type.schema)
    if !options.isDryRun { object = store.put(object, at: key) }
    return try shown(served(object, type), type, call, moment.now, status: 201, warnings: warnings)
  }

  func writer(_ options: WriteOptions, _ type: ResourceType, _ subresource: String, _ now: Timestamp)
    -> ManagedFields.Writer
  {
    ManagedFields.Writer(
      manager: options.manager, apiVersion: type.apiVersion, subresource: subresource, now: now)
  }

  private func checkRoom() throws(APIFailure) {
    let count = store.storages.reduce(0) { $0 + store.count($1) }
    guard count < limits.objects else {
      throw APIFailure(
        507, "InsufficientStorage",
        "the local cluster holds \(count) objects, which is its limit; delete some, or use a real cluster")
    }
  }

  /// Fills in name, identity and time of a new object; answers its place.
  private func name(
    _ object: inout JSONValue, _ place: Place, _ moment: inout Moment
  ) throws(APIFailure) -> StoreKey {
    var metadata = object["metadata"] ?? [:]
    let namespace = metadata["namespace"]?.stringValue ?? ""
    if place.type.isNamespaced {
      guard namespace.isEmpty || namespace == place.namespace else {
        throw .badRequest(
          "the namespace of the provided object does not match the namespace sent on the request")
      }
      guard !place.namespace.isEmpty else {
        throw .badRequest("an object of \(place.type.qualifiedName) is created within a namespace")
      }
      metadata["namespace"] = .string(place.namespace)
    } else {
      metadata["namespace"] = nil
    }
    var name = metadata["name"]?.stringValue ?? place.name ?? ""
    if let wanted = place.name, name != wanted {
      throw .badRequest("the name of the object (\(name)) does not match the name on the URL (\(wanted))")
    }
    if name.isEmpty, let prefix = metadata["generateName"]?.stringValue, !prefix.isEmpty {
      name = String(prefix.prefix(58)) + moment.suffix()
    }
    metadata["name"] = .string(name)
    metadata["uid"] = .string(moment.uid())
    metadata["creationTimestamp"] = .string(moment.now.rfc3339)
    metadata["deletionTimestamp"] = nil
    metadata["deletionGracePeriodSeconds"] = nil
    metadata["selfLink"] = nil
    metadata["managedFields"] = nil
    metadata["generation"] = place.type.hasGeneration ? 1 : nil
    object["metadata"] = metadata
    return StoreKey(storage: place.type.storage, namespace: place.namespace, name: name)
  }

  private func checkNamespace(_ key: StoreKey, _ type: ResourceType) throws(APIFailure) {
    guard type.isNamespaced else { return }
    let namespace = StoreKey(storage: "namespaces", namespace: "", name: key.namespace)
    guard let object = store[namespace] else {
      guard let type = catalog.type(storage: "namespaces") else { return }
      throw .notFound(type, key.namespace)
    }
    guard !PodFacts.isDeleting(object) else {
      throw .forbidden(
        type, key.name, "unable to create new content in namespace \(key.namespace) because it is being terminated")
    }
  }

  private mutating func assignAddress(_ service: inout JSONValue, isDryRun: Bool) {
    var spec = service["spec"] ?? [:]
    guard spec["type"] != "ExternalName", (spec["clusterIP"]?.stringValue ?? "").isEmpty else { return }
    let number = nextServiceAddress
    if !isDryRun { nextServiceAddress = number % 65_000 + 1 }
    let address = JSONValue.string("10.96.\(number / 255).\(number % 255)")
    spec["clusterIP"] = address
    spec["clusterIPs"] = [address]
    service["spec"] = spec
  }
}
