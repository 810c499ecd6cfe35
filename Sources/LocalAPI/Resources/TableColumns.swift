import KubernetesCore

/// The columns that `kubectl get` shows, as the API server itself has them.
enum TableColumns {
  static let name = TableColumn(name: "Name", format: "name") { object, _ in object[path: ["metadata", "name"]] ?? "" }
  static let age = column("Age") { object, now in
    .string(age(of: object[path: ["metadata", "creationTimestamp"]], now))
  }

  static let namespace = [name, value("Status", ["status", "phase"]), age]

  static let node = [
    name,
    column("Status") { node, _ in
      let ready = condition("Ready", of: node)?["status"]?.stringValue ?? "Unknown"
      let word = ready == "True" ? "Ready" : ready == "False" ? "NotReady" : "Unknown"
      return .string(node[path: ["spec", "unschedulable"]] == true ? word + ",SchedulingDisabled" : word)
    },
    column("Roles") { node, _ in
      let prefix = "node-role.kubernetes.io/"
      let roles = labels(of: node).keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
      return .string(roles.isEmpty ? "<none>" : roles.sorted().joined(separator: ","))
    },
    age,
    value("Version", ["status", "nodeInfo", "kubeletVersion"]),
    column("Internal-IP", priority: 1) { node, _ in
      let addresses = node[path: ["status", "addresses"]]?.arrayValue ?? []
      return addresses.first { $0["type"] == "InternalIP" }?["address"] ?? "<none>"
    },
    value("OS-Image", ["status", "nodeInfo", "osImage"], priority: 1, otherwise: "<unknown>"),
    value("Kernel-Version", ["status", "nodeInfo", "kernelVersion"], priority: 1, otherwise: "<unknown>"),
    value("Container-Runtime", ["status", "nodeInfo", "containerRuntimeVersion"], priority: 1, otherwise: "<unknown>"),
  ]

  static let pod = [
    name,
    column("Ready") { pod, _ in
      let inits = pod[path: ["spec", "initContainers"]]?.arrayValue ?? []
      let sidecars = inits.count { $0["restartPolicy"] == "Always" }
      let all = (pod[path: ["spec", "containers"]]?.arrayValue?.count ?? 0) + sidecars
      let statuses = PodFacts.containerStatuses(pod) + PodFacts.sidecarStatuses(pod)
      return .string("\(statuses.count { $0["ready"] == true })/\(all)")
    },
    column("Status") { pod, _ in .string(PodFacts.statusText(pod)) },
    column("Restarts") { pod, now in
      let restarts = PodFacts.restarts(pod)
      let ends = PodFacts.containerStatuses(pod).compactMap { $0[path: ["lastState", "terminated", "finishedAt"]] }
      guard restarts > 0, let last = ends.compactMap(\.stringValue).max() else { return .string("\(restarts)") }
      return .string("\(restarts) (\(age(of: .string(last), now)) ago)")
    },
    age,
    value("IP", ["status", "podIP"], priority: 1, otherwise: "<none>"),
    value("Node", ["spec", "nodeName"], priority: 1, otherwise: "<none>"),
    value("Nominated Node", ["status", "nominatedNodeName"], priority: 1, otherwise: "<none>"),
    column("Readiness Gates", priority: 1) { _, _ in "<none>" },
  ]

  static let configMap = [
    name,
    column("Data") { map, _ in
      .string("\((map["data"]?.objectValue?.count ?? 0) + (map["binaryData"]?.objectValue?.count ?? 0))")
    }, age,
  ]

  static let secret = [
    name, value("Type", ["type"], otherwise: "Opaque"),
    column("Data") { secret, _ in .string("\(secret["data"]?.objectValue?.count ?? 0)") }, age,
  ]

  static let serviceAccount = [
    name, column("Secrets") { account, _ in .string("\(account["secrets"]?.arrayValue?.count ?? 0)") }, age,
  ]

  static let service = [
    name, value("Type", ["spec", "type"], otherwise: "ClusterIP"),
    value("Cluster-IP", ["spec", "clusterIP"], otherwise: "None"),
    value("External-IP", ["spec", "externalName"], otherwise: "<none>"),
    column("Port(s)") { service, _ in
      let ports = (service[path: ["spec", "ports"]]?.arrayValue ?? []).map { port in
        "\(port["port"]?.intValue ?? 0)/\(port["protocol"]?.stringValue ?? "TCP")"
      }
      return .string(ports.isEmpty ? "<none>" : ports.joined(separator: ","))
    },
    age, column("Selector", priority: 1) { service, _ in .string(selectorText(service[path: ["spec", "selector"]])) },
  ]

  static let endpoints = [
    name,
    column("Endpoints") { endpoints, _ in
      var texts: [String] = []
      for subset in endpoints["subsets"]?.arrayValue ?? [] {
        for address in subset["addresses"]?.arrayValue ?? [] {
          for port in subset["ports"]?.arrayValue ?? [] {
            texts.append("\(address["ip"]?.stringValue ?? ""):\(port["port"]?.intValue ?? 0)")
          }
        }
      }
      return .string(texts.isEmpty ? "<none>" : texts.joined(separator: ","))
    },
    age,
  ]

  static let lease = [name, value("Holder", ["spec", "holderIdentity"]), age]

  static let deployment =
    [
      name,
      column("Ready") { object, _ in
        let ready = object[path: ["status", "readyReplicas"]]?.intValue ?? 0
        return .string("\(ready)/\(object[path: ["spec", "replicas"]]?.intValue ?? 0)")
      },
      count("Up-to-date", ["status", "updatedReplicas"]), count("Available", ["status", "availableReplicas"]), age,
    ] + templateColumns

  static let replicaSet =
    [
      name, count("Desired", ["spec", "replicas"]), count("Current", ["status", "replicas"]),
      count("Ready", ["status", "readyReplicas"]), age,
    ] + templateColumns

  private static let templateColumns = [
    column("Containers", priority: 1) { object, _ in containers(object, "name") },
    column("Images", priority: 1) { object, _ in containers(object, "image") },
    column("Selector", priority: 1) { object, _ in
      .string(selectorText(object[path: ["spec", "selector", "matchLabels"]]))
    },
  ]

  static let event = [
    column("Last Seen") { event, now in .string(lastSeen(event, now)) },
    value("Type", ["type"]), value("Reason", ["reason"]),
    column("Object") { event, _ in .string(reference(event["involvedObject"])) },
    value("Subobject", ["involvedObject", "fieldPath"], priority: 1),
    column("Source", priority: 1) { event, _ in
      event[path: ["source", "component"]] ?? event["reportingComponent"] ?? ""
    },
    value("Message", ["message"]),
    column("First Seen", priority: 1) { event, now in
      .string(age(of: event["firstTimestamp"] ?? event["eventTime"], now))
    },
    column("Count", priority: 1) { event, _ in event["count"] ?? event[path: ["series", "count"]] ?? 1 },
    TableColumn(name: "Name", format: "name", priority: 1) { event, _ in event[path: ["metadata", "name"]] ?? "" },
  ]

  /// The same columns for the newer form of events.
  static let newEvent = event.map { column in
    TableColumn(
      name: column.name, type: column.type, format: column.format, priority: column.priority
    ) { event, now in column.cell(EventForms.core(from: event), now) }
  }

  /// The columns that a CRD names.
  static func printed(_ columns: [JSONValue]) -> [TableColumn] {
    [name]
      + columns.map { json in
        let path = (json["jsonPath"]?.stringValue ?? "").split(separator: ".").map(String.init)
        let isDate = json["type"]?.stringValue == "date"
        return TableColumn(
          name: json["name"]?.stringValue ?? "", type: json["type"]?.stringValue ?? "string",
          priority: Int(clamping: json["priority"]?.intValue ?? 0),
          description: json["description"]?.stringValue ?? ""
        ) { object, now in
          guard let value = object[path: path] else { return isDate ? "<unknown>" : .null }
          return isDate ? .string(age(of: value, now)) : value
        }
      }
  }

  // MARK: Cells

  private static func column(
    _ name: String, priority: Int = 0, _ cell: @escaping @Sendable (JSONValue, Timestamp) -> JSONValue
  ) -> TableColumn {
    TableColumn(name: name, priority: priority, cell: cell)
  }

  private static func value(
    _ name: String, _ path: [String], priority: Int = 0, otherwise: JSONValue = ""
  ) -> TableColumn {
    TableColumn(name: name, priority: priority) { object, _ in object[path: path] ?? otherwise }
  }

  private static func count(_ name: String, _ path: [String]) -> TableColumn {
    TableColumn(name: name, type: "integer") { object, _ in object[path: path] ?? 0 }
  }

  private static func containers(_ object: JSONValue, _ field: String) -> JSONValue {
    let containers = object[path: ["spec", "template", "spec", "containers"]]?.arrayValue ?? []
    return .string(containers.compactMap { $0[field]?.stringValue }.joined(separator: ","))
  }

  private static func selectorText(_ selector: JSONValue?) -> String {
    let pairs = (selector?.objectValue ?? [:]).map { "\($0.key)=\($0.value.stringValue ?? "")" }.sorted()
    return pairs.isEmpty ? "<none>" : pairs.joined(separator: ",")
  }

  private static func reference(_ reference: JSONValue?) -> String {
    "\((reference?["kind"]?.stringValue ?? "").lowercased())/\(reference?["name"]?.stringValue ?? "")"
  }

  private static func lastSeen(_ event: JSONValue, _ now: Timestamp) -> String {
    let time = event[path: ["series", "lastObservedTime"]] ?? event["lastTimestamp"] ?? event["eventTime"]
    return age(of: time ?? event[path: ["metadata", "creationTimestamp"]], now)
  }

  static func condition(_ type: String, of object: JSONValue) -> JSONValue? {
    object[path: ["status", "conditions"]]?.arrayValue?.first { $0["type"]?.stringValue == type }
  }

  static func labels(of object: JSONValue) -> [String: String] {
    (object[path: ["metadata", "labels"]]?.objectValue ?? [:]).compactMapValues(\.stringValue)
  }

  /// How long ago a moment was, in the shape of `duration.HumanDuration`.
  static func age(of time: JSONValue?, _ now: Timestamp) -> String {
    guard let text = time?.stringValue, let moment = try? Timestamp(rfc3339: text) else { return "<unknown>" }
    let seconds = (now - moment).components.seconds
    return seconds < -1 ? "<invalid>" : human(max(seconds, 0))
  }

  static func human(_ seconds: Int64) -> String {
    let minutes = seconds / 60
    let hours = minutes / 60
    let days = hours / 24
    if seconds < 120 { return "\(seconds)s" }
    if minutes < 10 { return seconds % 60 == 0 ? "\(minutes)m" : "\(minutes)m\(seconds % 60)s" }
    if hours < 3 { return "\(minutes)m" }
    if hours < 8 { return minutes % 60 == 0 ? "\(hours)h" : "\(hours)h\(minutes % 60)m" }
    if hours < 48 { return "\(hours)h" }
    if days < 8 { return hours % 24 == 0 ? "\(days)d" : "\(days)d\(hours % 24)h" }
    if days < 365 * 2 { return "\(days)d" }
    if days < 365 * 8 { return days % 365 == 0 ? "\(days / 365)y" : "\(days / 365)y\(days % 365)d" }
    return "\(days / 365)y"
  }
}

/// The two forms of an event: the core group's, in which it is kept, and that of `events.k8s.io`.
enum EventForms {
  private static let renamed = [
    ("regarding", "involvedObject"), ("note", "message"), ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"), ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"), ("deprecatedCount", "count"),
  ]

  /// The core form of a newer event.
  static func core(from event: JSONValue) -> JSONValue {
    rename(event, renamed.map { ($0, $1) }, apiVersion: "v1")
  }

  /// The newer form of a core event.
  static func new(from event: JSONValue) -> JSONValue {
    rename(event, renamed.map { ($1, $0) }, apiVersion: "events.k8s.io/v1")
  }

  private static func rename(_ event: JSONValue, _ names: [(String, String)], apiVersion: String) -> JSONValue {
    var result = event
    for (from, to) in names {
      guard let value = result[from] else { continue }
      result[from] = nil
      result[to] = value
    }
    result["apiVersion"] = .string(apiVersion)
    return result
  }
}
