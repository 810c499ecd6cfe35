package import KubernetesCore

extension ClusterState {
  mutating func answer(
    _ subresource: String, _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let isGet = call.method == "GET" || call.method == "HEAD"
    switch (subresource, call.method) {
    case ("status", _) where isGet: return try shown(try object(place), place.type, call, moment.now)
    case ("status", "PUT"): return try update(place, call, &moment)
    case ("status", "PATCH"): return try patch(place, call, &moment)
    case ("scale", _) where isGet:
      return .document(status: 200, Self.scale(of: try object(place)), warnings: [])
    case ("scale", "PUT"), ("scale", "PATCH"): return try writeScale(place, call, &moment)
    case ("log", _) where isGet: return try log(place, call)
    case ("token", "POST"): return try requestToken(place, call, &moment)
    case ("eviction", "POST"): return try evict(place, call, &moment)
    case ("binding", "POST"): return try bind(place, call, moment.now)
    case ("finalize", "PUT"): return try finalize(place, call, moment.now)
    default: throw .methodNotAllowed(call.method)
    }
  }

  private static func success(_ code: Int = 201) -> APIAnswer {
    .document(
      status: code,
      ["apiVersion": "v1", "kind": "Status", "metadata": [:], "status": "Success", "code": .int(Int64(code))],
      warnings: [])
  }

  // MARK: Scale

  static func scale(of object: JSONValue) -> JSONValue {
    let metadata = object["metadata"] ?? [:]
    var kept: JSONValue = [:]
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] { kept[field] = metadata[field] }
    var spec: JSONValue = [:]
    let replicas = object[path: ["spec", "replicas"]]?.intValue ?? 0
    // Go leaves a zero out.
    if replicas != 0 { spec["replicas"] = .int(replicas) }
    var status: JSONValue = ["replicas": object[path: ["status", "replicas"]] ?? 0]
    if let selector = Owners.selector(object["spec"] ?? [:]) { status["selector"] = .string(selector.description) }
    return ["apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": kept, "spec": spec, "status": status]
  }

  private mutating func writeScale(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let options = try WriteOptions(call)
    let old = try object(place)
    let before = Self.scale(of: old)
    let scale: JSONValue
    if call.method == "PUT" {
      scale = try parseDocument(call)
    } else {
      let accepted = [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
      ]
      guard accepted.contains(call.bodyType) else { throw .unsupportedMediaType(accepted) }
      let schema = Schema([:], name: nil, shape: .any)
      scale = try Self.patched(before, try parse(call), call.bodyType, schema, place)
    }
    guard scale.objectValue != nil, scale["kind"] == nil || scale["kind"] == "Scale" else {
      throw .badRequest("the object is no Scale of autoscaling/v1")
    }
    if let name = scale[path: ["metadata", "name"]]?.stringValue, name != place.name {
      throw .badRequest("the name of the object (\(name)) does not match the name on the URL (\(place.name ?? ""))")
    }
    let wanted = scale[path: ["spec", "replicas"]] ?? 0
    guard let replicas = wanted.intValue else {
      throw .badRequest("Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is not a number")
    }
    guard (0...Int64(Int32.max)).contains(replicas) else {
      throw .invalid(
        kind: "Scale", group: "autoscaling", name: place.name ?? "",
        [.invalid("spec.replicas", wanted, "must be greater than or equal to 0")])
    }
    var new = old
    new["spec"]?["replicas"] = .int(replicas)
    new["metadata"]?["resourceVersion"] = scale[path: ["metadata", "resourceVersion"]]
    new["metadata"]?["uid"] = scale[path: ["metadata", "uid"]] ?? old[path: ["metadata", "uid"]]
    var objectPlace = place
    objectPlace.subresource = "scale"
    _ = try update(old, to: ReadObject(json: new), objectPlace, options, call, &moment, isPatch: true)
    var now = store[place.key] ?? old
    if options.isDryRun { now["spec"]?["replicas"] = .int(replicas) }
    return .document(status: 200, Self.scale(of: now), warnings: [])
  }

  // MARK: Logs

  private func log(_ place: Place, _ call: APICall) throws(APIFailure) -> APIAnswer {
    let pod = try object(place)
    let containers = (pod[path: ["spec", "containers"]]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
    let inits = (pod[path: ["spec", "initContainers"]]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
    let name = place.name ?? ""
    var container = call["container"] ?? ""
    if container.isEmpty {
      guard containers.count == 1 else {
        throw .badRequest(
          "a container name must be specified for pod \(name), choose one of: [\(containers.joined(separator: " "))]"
            + (inits.isEmpty ? "" : " or one of the init containers: [\(inits.joined(separator: " "))]"))
      }
      container = containers[0]
    }
    guard (containers + inits).contains(container) else {
      throw .badRequest("container \(container.prefix(100)) is not valid for pod \(name)")
    }
    func number(_ parameter: String, from least: Int) throws(APIFailure) -> Int? {
      guard let text = call[parameter] else { return nil }
      guard let value = Int(text), value >= least else {
        throw .invalid(
          kind: "PodLogOptions", name: name,
          [.invalid(parameter, .string(String(text.prefix(64))), "must be greater than or equal to \(least)")])
      }
      return value
    }
    var sinceTime: Timestamp?
    if let text = call["sinceTime"] {
      do throws(TimestampError) {
        sinceTime = try Timestamp(rfc3339: text)
      } catch { throw .badRequest("sinceTime: \(error)") }
    }
    let request = LogRequest(
      namespace: place.namespace, pod: name, container: container, follow: call.isSet("follow"),
      previous: call.isSet("previous"), tailLines: try number("tailLines", from: 0),
      limitBytes: try number("limitBytes", from: 1), sinceSeconds: try number("sinceSeconds", from: 1),
      sinceTime: sinceTime, timestamps: call.isSet("timestamps"))
    // As the real server: an empty log for a pod that runs nowhere yet.
    return PodFacts.node(pod).isEmpty ? .text(status: 200, "") : .log(request)
  }

  // MARK: Pods and namespaces

  private mutating func evict(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let eviction = try parseDocument(call)
    let old = try object(place)
    let options = try DeleteOptions(call, eviction["deleteOptions"] ?? [:])
    try check(options, old, place)
    delete(old, at: place.key, options, moment.now)
    return Self.success()
  }

  private mutating func bind(_ place: Place, _ call: APICall, _ now: Timestamp) throws(APIFailure) -> APIAnswer {
    let binding = try parseDocument(call)
    let pod = try object(place)
    guard let node = binding[path: ["target", "name"]]?.stringValue, !node.isEmpty else {
      throw .badRequest("a binding needs target.name")
    }
    guard PodFacts.node(pod).isEmpty else {
      throw .conflict(
        place.type, place.name ?? "", "pod \(place.name ?? "") is already assigned to node \"\(PodFacts.node(pod))\"")
    }
    store.put(Scheduler.bound(pod, to: node, now), at: place.key)
    return Self.success()
  }

  private mutating func finalize(_ place: Place, _ call: APICall, _ now: Timestamp) throws(APIFailure) -> APIAnswer {
    let wanted = try parseDocument(call)
    var object = try object(place)
    object["spec"] = wanted["spec"] ?? [:]
    let isDone = PodFacts.isDeleting(object) && (object[path: ["spec", "finalizers"]]?.arrayValue ?? []).isEmpty
    if isDone { store.remove(place.key) } else { object = store.put(object, at: place.key) }
    return try shown(object, place.type, call, now)
  }

  // MARK: Metrics

  func metrics(_ place: Place, _ call: APICall) throws(APIFailure) -> APIAnswer {
    guard call.method == "GET" else { throw .methodNotAllowed(call.method) }
    let isNodes = place.type.plural == "nodes"
    guard let type = catalog.type(group: "", version: "v1", plural: place.type.plural) else {
      throw .noSuchPath(call.path)
    }
    let (labels, fields) = try selectors(call, type)
    var candidates: [String: [String: String]] = [:]
    for (key, object) in store.list(type.storage, namespace: place.listedNamespace)
    where Self.matches(object, labels, fields) && (place.name == nil || place.name == key.name) {
      if !isNodes, PodFacts.phase(object) != "Running" { continue }
      candidates["\(key.namespace)/\(key.name)"] = TableColumns.labels(of: object)
    }
    if let name = place.name, candidates.isEmpty {
      throw APIFailure(404, "NotFound", "\(type.plural).metrics.k8s.io \"\(name)\" not found", details: [:])
    }
    return .metrics(
      MetricsRequest(
        isNodes: isNodes, namespace: place.listedNamespace, name: place.name, candidates: candidates))
  }

  /// The answer to a question for usage from what the source measured: `metadata.name`, `timestamp`, `window` and usage.
  package static func metricsDocument(for request: MetricsRequest, measured: [JSONValue]) -> APIAnswer {
    let kind = request.isNodes ? "NodeMetrics" : "PodMetrics"
    var items: [(key: String, json: JSONValue)] = []
    for item in measured {
      let name = item[path: ["metadata", "name"]]?.stringValue ?? ""
      let namespace = item[path: ["metadata", "namespace"]]?.stringValue ?? ""
      guard let labels = request.candidates["\(namespace)/\(name)"] else { continue }
      var json = item
      json["metadata"]?["creationTimestamp"] = item["timestamp"]
      if !labels.isEmpty { json["metadata"]?["labels"] = .object(labels.mapValues { .string($0) }) }
      json["apiVersion"] = "metrics.k8s.io/v1beta1"
      json["kind"] = .string(kind)
      items.append(("\(namespace)/\(name)", json))
    }
    items.sort { $0.key < $1.key }
    if let name = request.name {
      guard let item = items.first else {
        let plural = request.isNodes ? "nodes" : "pods"
        let failure = APIFailure(
          404, "NotFound", "\(plural).metrics.k8s.io \"\(name)\" not found: nothing has been measured yet", details: [:]
        )
        return .document(status: 404, failure.status, warnings: [])
      }
      return .document(status: 200, item.json, warnings: [])
    }
    return .document(
      status: 200,
      [
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": .string(kind + "List"), "metadata": [:],
        "items": .array(items.map(\.json)),
      ], warnings: [])
  }
}
