import KubernetesCore

/// The rules that no schema tells, as far as the served fields need them.
enum Validation {
  static func faults(of object: JSONValue, _ type: ResourceType, isStatus: Bool = false) -> [FieldFault] {
    var faults: [FieldFault] = []
    metadata(object, type, &faults)
    guard !isStatus, !type.isCustom else { return faults }
    switch type.storage {
    case "pods": podSpec(object["spec"] ?? [:], "spec", &faults)
    case "deployments", "replicasets": workload(object, &faults)
    case "configmaps", "secrets": keys(object, &faults)
    case "leases": lease(object["spec"] ?? [:], &faults)
    case "services": service(object["spec"] ?? [:], &faults)
    case "events":
      let namespace = object[path: ["involvedObject", "namespace"]]?.stringValue ?? ""
      let own = object[path: ["metadata", "namespace"]]?.stringValue ?? ""
      if namespace != own, !(namespace.isEmpty && own == "default") {
        faults.append(.invalid("involvedObject.namespace", .string(namespace), "does not match event.namespace"))
      }
    default: break
    }
    return faults
  }

  // MARK: Metadata

  private static func metadata(_ object: JSONValue, _ type: ResourceType, _ faults: inout [FieldFault]) {
    let metadata = object["metadata"] ?? [:]
    let name = metadata["name"]?.stringValue ?? ""
    if name.isEmpty {
      faults.append(.required("metadata.name", "name or generateName is required"))
    } else if ["services", "namespaces"].contains(type.storage) {
      if !isLabel(name) { faults.append(.invalid("metadata.name", .string(name), labelRule)) }
    } else if !LabelSyntax.isDNSSubdomain(name) {
      faults.append(
        .invalid(
          "metadata.name", .string(name),
          "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
            + "end with an alphanumeric character"))
    }
    labels(metadata["labels"], "metadata.labels", &faults)
    var size = 0
    for (key, value) in metadata["annotations"]?.objectValue ?? [:] {
      size += key.utf8.count + (value.stringValue?.utf8.count ?? 0)
      if !LabelSyntax.isKey(key.lowercased()) {
        faults.append(.invalid("metadata.annotations", .string(key), qualifiedRule))
      }
    }
    if size > 256 << 10 {
      faults.append(FieldFault(.tooLong, "metadata.annotations", "Too long: must have at most 262144 bytes"))
    }
    for (index, reference) in (metadata["ownerReferences"]?.arrayValue ?? []).enumerated() {
      for field in ["apiVersion", "kind", "name", "uid"] where (reference[field]?.stringValue ?? "").isEmpty {
        faults.append(
          .invalid("metadata.ownerReferences[\(index)].\(field)", "", "\(field) must not be empty"))
      }
    }
    for (index, finalizer) in (metadata["finalizers"]?.arrayValue ?? []).enumerated() {
      let text = finalizer.stringValue ?? ""
      if !LabelSyntax.isKey(text) {
        faults.append(.invalid("metadata.finalizers[\(index)]", finalizer, qualifiedRule))
      } else if !text.contains("/"), !["orphan", "foregroundDeletion", "kubernetes"].contains(text) {
        faults.append(
          .invalid(
            "metadata.finalizers[\(index)]", finalizer,
            "name is neither a standard finalizer name nor is it fully qualified"))
      }
    }
  }

  private static let labelRule =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    + "alphanumeric character"
  private static let qualifiedRule =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"

  static func isLabel(_ name: String) -> Bool {
    LabelSyntax.isDNSSubdomain(name) && name.utf8.count <= 63 && !name.contains(".")
  }

  private static func labels(_ labels: JSONValue?, _ path: String, _ faults: inout [FieldFault]) {
    for (key, value) in (labels?.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) {
      if !LabelSyntax.isKey(key) { faults.append(.invalid(path, .string(key), qualifiedRule)) }
      if !LabelSyntax.isValue(value.stringValue ?? "") {
        faults.append(
          .invalid(
            path, value, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'")
        )
      }
    }
  }

  // MARK: Workloads

  private static func workload(_ object: JSONValue, _ faults: inout [FieldFault]) {
    let spec = object["spec"] ?? [:]
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
      if let value = spec[field], (value.intValue ?? 0) < 0 {
        faults.append(.invalid("spec.\(field)", value, "must be greater than or equal to 0"))
      }
    }
    let selector = spec["selector"] ?? .null
    if selector == .null {
      faults.append(.required("spec.selector"))
    } else if (selector["matchLabels"]?.objectValue ?? [:]).isEmpty,
      (selector["matchExpressions"]?.arrayValue ?? []).isEmpty
    {
      faults.append(.invalid("spec.selector", selector, "empty selector is invalid for deployment"))
    }
    let template = spec["template"] ?? [:]
    labels(template[path: ["metadata", "labels"]], "spec.template.metadata.labels", &faults)
    if let parsed = Owners.selector(spec) {
      let labels = (template[path: ["metadata", "labels"]]?.objectValue ?? [:]).compactMapValues(\.stringValue)
      if !parsed.matches(labels) {
        faults.append(
          .invalid(
            "spec.template.metadata.labels", template[path: ["metadata", "labels"]] ?? .null,
            "`selector` does not match template `labels`"))
      }
    } else if selector != .null {
      faults.append(.invalid("spec.selector", selector, "it is not a label selector"))
    }
    podSpec(template["spec"] ?? [:], "spec.template.spec", &faults)
    if let policy = template[path: ["spec", "restartPolicy"]], policy != "Always" {
      faults.append(.notSupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    }
    if object["kind"] == "Deployment" { strategy(spec, &faults) }
  }

  private static func strategy(_ spec: JSONValue, _ faults: inout [FieldFault]) {
    let strategy = spec["strategy"] ?? [:]
    let kind = strategy["type"] ?? ""
    if kind == "Recreate", strategy["rollingUpdate"] != nil {
      faults.append(
        .forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
    } else if kind != "Recreate", kind != "RollingUpdate" {
      faults.append(.notSupported("spec.strategy", kind, ["Recreate", "RollingUpdate"]))
    }
    guard let rolling = strategy["rollingUpdate"] else { return }
    var areZero = true
    for field in ["maxUnavailable", "maxSurge"] {
      guard let value = rolling[field] else { continue }
      guard let (number, _) = DeploymentPlan.intOrPercent(value), number >= 0 else {
        faults.append(
          .invalid(
            "spec.strategy.rollingUpdate.\(field)", value, "a valid percent string must be a number followed by '%'"))
        areZero = false
        continue
      }
      if number != 0 { areZero = false }
    }
    if areZero {
      faults.append(
        .invalid(
          "spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"] ?? 0,
          "may not be 0 when `maxSurge` is 0"))
    }
    let minimum = spec["minReadySeconds"]?.intValue ?? 0
    if let deadline = spec["progressDeadlineSeconds"], (deadline.intValue ?? 0) <= minimum {
      faults.append(.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    }
  }

  private static func podSpec(_ spec: JSONValue, _ path: String, _ faults: inout [FieldFault]) {
    let containers = spec["containers"]?.arrayValue ?? []
    if containers.isEmpty { faults.append(.required("\(path).containers")) }
    var names: Set<String> = []
    for field in ["initContainers", "containers"] {
      for (index, container) in (spec[field]?.arrayValue ?? []).enumerated() {
        self.container(container, "\(path).\(field)[\(index)]", &names, &faults)
      }
    }
    if let policy = spec["restartPolicy"], !["Always", "OnFailure", "Never"].contains(policy.stringValue ?? "") {
      faults.append(.notSupported("\(path).restartPolicy", policy, ["Always", "OnFailure", "Never"]))
    }
    if let grace = spec["terminationGracePeriodSeconds"], (grace.intValue ?? 0) < 0 {
      faults.append(
        .invalid("\(path).terminationGracePeriodSeconds", grace, "must be greater than or equal to 0"))
    }
    var volumes: Set<String> = []
    for (index, volume) in (spec["volumes"]?.arrayValue ?? []).enumerated() {
      let name = volume["name"]?.stringValue ?? ""
      let place = "\(path).volumes[\(index)].name"
      if name.isEmpty {
        faults.append(.required(place))
      } else if !isLabel(name) {
        faults.append(.invalid(place, .string(name), labelRule))
      } else if !volumes.insert(name).inserted {
        faults.append(.duplicate(place, .string(name)))
      }
    }
    for field in ["initContainers", "containers"] {
      for (index, container) in (spec[field]?.arrayValue ?? []).enumerated() {
        for (mount, json) in (container["volumeMounts"]?.arrayValue ?? []).enumerated() {
          let name = json["name"]?.stringValue ?? ""
          guard !volumes.contains(name) else { continue }
          faults.append(
            FieldFault(
              .invalid, "\(path).\(field)[\(index)].volumeMounts[\(mount)].name", "Not found: \"\(name)\""))
        }
      }
    }
  }

  private static func container(
    _ container: JSONValue, _ path: String, _ names: inout Set<String>, _ faults: inout [FieldFault]
  ) {
    let name = container["name"]?.stringValue ?? ""
    if name.isEmpty {
      faults.append(.required("\(path).name"))
    } else if !isLabel(name) {
      faults.append(.invalid("\(path).name", .string(name), labelRule))
    } else if !names.insert(name).inserted {
      faults.append(.duplicate("\(path).name", .string(name)))
    }
    if (container["image"]?.stringValue ?? "").isEmpty { faults.append(.required("\(path).image")) }
    for (index, variable) in (container["env"]?.arrayValue ?? []).enumerated()
    where (variable["name"]?.stringValue ?? "").isEmpty {
      faults.append(.required("\(path).env[\(index)].name"))
    }
    for (index, port) in (container["ports"]?.arrayValue ?? []).enumerated() {
      let number = port["containerPort"]?.intValue ?? 0
      guard !(1...65535).contains(number) else { continue }
      faults.append(
        .invalid("\(path).ports[\(index)].containerPort", .int(number), "must be between 1 and 65535, inclusive"))
    }
    for (name, request) in container[path: ["resources", "requests"]]?.objectValue ?? [:] {
      guard let limit = container[path: ["resources", "limits", name]],
        let asked = try? Quantity(request.stringValue ?? ""), let most = try? Quantity(limit.stringValue ?? ""),
        asked > most
      else { continue }
      faults.append(
        .invalid("\(path).resources.requests", request, "must be less than or equal to \(name) limit"))
    }
  }

  // MARK: Others

  private static func keys(_ object: JSONValue, _ faults: inout [FieldFault]) {
    var size = 0
    for field in ["data", "binaryData"] {
      for (key, value) in (object[field]?.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) {
        size += value.stringValue?.utf8.count ?? 0
        let isKey =
          !key.isEmpty && key.utf8.count <= 253 && key != "." && !key.hasPrefix("..")
          && key.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
              UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
              true
            default: false
            }
          }
        if !isKey {
          faults.append(
            .invalid(
              "\(field)[\(key)]", .string(key),
              "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"))
        }
      }
    }
    if size > 1 << 20 { faults.append(FieldFault(.tooLong, "[]", "Too long: must have at most 1048576 bytes")) }
  }

  private static func lease(_ spec: JSONValue, _ faults: inout [FieldFault]) {
    if let duration = spec["leaseDurationSeconds"], (duration.intValue ?? 0) <= 0 {
      faults.append(.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    }
    if let count = spec["leaseTransitions"], (count.intValue ?? 0) < 0 {
      faults.append(.invalid("spec.leaseTransitions", count, "must to be greater than or equal to 0"))
    }
  }

  private static func service(_ spec: JSONValue, _ faults: inout [FieldFault]) {
    let kind = spec["type"]?.stringValue ?? ""
    if (spec["ports"]?.arrayValue ?? []).isEmpty, spec["clusterIP"] != "None", kind != "ExternalName" {
      faults.append(.required("spec.ports"))
    }
    for (index, port) in (spec["ports"]?.arrayValue ?? []).enumerated() {
      let number = port["port"]?.intValue ?? 0
      if !(1...65535).contains(number) {
        faults.append(.invalid("spec.ports[\(index)].port", .int(number), "must be between 1 and 65535, inclusive"))
      }
    }
    if !["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].contains(kind) {
      faults.append(
        .notSupported("spec.type", .string(kind), ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]))
    }
  }

  // MARK: Updates

  static func faults(
    ofUpdate new: JSONValue, from old: JSONValue, _ type: ResourceType, isStatus: Bool
  ) -> [FieldFault] {
    guard !isStatus else { return [] }
    switch type.storage {
    case "deployments", "replicasets":
      guard new[path: ["spec", "selector"]] != old[path: ["spec", "selector"]] else { return [] }
      return [.invalid("spec.selector", new[path: ["spec", "selector"]] ?? .null, "field is immutable")]
    case "pods": return podUpdate(new["spec"] ?? [:], old["spec"] ?? [:])
    case "configmaps", "secrets":
      if old["immutable"] == true, new["data"] != old["data"] || new["immutable"] != true {
        return [.forbidden("data", "field is immutable when `immutable` is set")]
      }
      if type.storage == "secrets", new["type"] != old["type"] {
        return [.invalid("type", new["type"] ?? .null, "field is immutable")]
      }
      return []
    default: return []
    }
  }

  private static func podUpdate(_ new: JSONValue, _ old: JSONValue) -> [FieldFault] {
    func frozen(_ spec: JSONValue) -> JSONValue {
      var result = spec
      for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"] {
        result[field] = nil
      }
      for field in ["containers", "initContainers"] {
        guard var containers = result[field]?.arrayValue else { continue }
        for index in containers.indices { containers[index]["image"] = nil }
        result[field] = .array(containers)
      }
      return result
    }
    guard frozen(new) != frozen(old) else { return [] }
    return [
      .forbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
          + "`spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing tolerations)")
    ]
  }
}
