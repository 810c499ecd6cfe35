package import KubernetesCore

extension PodManifest {
  /// Reads a pod as the API server has it; nil when it has no name or identity.
  package init?(json: JSONValue) {
    guard let name = json.text("metadata", "name"), let uid = json.text("metadata", "uid") else { return nil }
    let spec = json["spec"] ?? [:]
    let initial = spec.list("initContainers").map { container in
      ContainerManifest(json: container, role: container.text("restartPolicy") == "Always" ? .sidecar : .initial)
    }
    self.init(
      key: ObjectKey(namespace: json.text("metadata", "namespace") ?? "", name: name), uid: uid,
      labels: json.texts("metadata", "labels"), annotations: json.texts("metadata", "annotations"),
      serviceAccountName: spec.text("serviceAccountName") ?? "default", nodeName: spec.text("nodeName") ?? "",
      usesHostNetwork: spec["hostNetwork"]?.boolValue ?? false,
      restartPolicy: spec.text("restartPolicy").flatMap(RestartPolicy.init(rawValue:)) ?? .always,
      gracePeriod: .seconds(max(0, spec["terminationGracePeriodSeconds"]?.intValue ?? 30)),
      activeDeadline: spec["activeDeadlineSeconds"]?.intValue.map { .seconds($0) },
      readinessGates: spec.list("readinessGates").compactMap { $0.text("conditionType") },
      containers: initial + spec.list("containers").map { ContainerManifest(json: $0, role: .app) },
      volumes: spec.list("volumes").compactMap(VolumeManifest.init(json:)))
  }
}

extension ContainerManifest {
  fileprivate init(json: JSONValue, role: Role) {
    let ports = json.list("ports").compactMap { port -> (String, Int)? in
      guard let name = port.text("name"), let number = port["containerPort"]?.intValue else { return nil }
      return (name, Int(number))
    }
    self.init(
      name: json.text("name") ?? "", image: json.text("image") ?? "", role: role,
      command: json.list("command").compactMap(\.stringValue), arguments: json.list("args").compactMap(\.stringValue),
      workingDirectory: json.text("workingDir"), environment: json.list("env").compactMap(EnvironmentEntry.init(json:)),
      environmentSources: json.list("envFrom").compactMap(EnvironmentSource.init(json:)),
      mounts: json.list("volumeMounts").compactMap { mount in
        guard let name = mount.text("name"), let path = mount.text("mountPath") else { return nil }
        return VolumeMount(name: name, path: path, subPath: mount.text("subPath") ?? "")
      },
      startupProbe: json["startupProbe"].map { Probe(json: $0, of: json) },
      readinessProbe: json["readinessProbe"].map { Probe(json: $0, of: json) },
      livenessProbe: json["livenessProbe"].map { Probe(json: $0, of: json) },
      preStop: json[path: ["lifecycle", "preStop"]].map(ProbeAction.init(json:)),
      namedPorts: Dictionary(ports) { first, _ in first },
      requests: json.quantities("resources", "requests"), limits: json.quantities("resources", "limits"))
  }
}

extension EnvironmentEntry {
  fileprivate init?(json: JSONValue) {
    guard let name = json.text("name") else { return nil }
    guard let from = json["valueFrom"] else {
      self.init(name, .value(json.text("value") ?? ""))
      return
    }
    guard let source = Source(json: from) else { return nil }
    self.init(name, source)
  }
}

extension EnvironmentEntry.Source {
  fileprivate init?(json: JSONValue) {
    if let path = json.text("fieldRef", "fieldPath") {
      self = .field(path)
    } else if let reference = json["resourceFieldRef"], let resource = reference.text("resource") {
      let divisor = reference["divisor"].flatMap { try? KubernetesJSON.decode(Quantity.self, from: $0) } ?? .zero
      self = .resource(
        container: reference.text("containerName"), resource: resource,
        divisor: divisor.isZero ? Quantity(1) : divisor)
    } else if let reference = json["configMapKeyRef"], let key = reference.text("key") {
      self = .configMapKey(
        name: reference.text("name") ?? "", key: key, isOptional: reference["optional"]?.boolValue ?? false)
    } else if let reference = json["secretKeyRef"], let key = reference.text("key") {
      self = .secretKey(
        name: reference.text("name") ?? "", key: key, isOptional: reference["optional"]?.boolValue ?? false)
    } else {
      return nil
    }
  }
}

extension EnvironmentSource {
  fileprivate init?(json: JSONValue) {
    guard let reference = json["secretRef"] ?? json["configMapRef"] else { return nil }
    self.init(
      isSecret: json["secretRef"] != nil, name: reference.text("name") ?? "", prefix: json.text("prefix") ?? "",
      isOptional: reference["optional"]?.boolValue ?? false)
  }
}

extension Probe {
  fileprivate init(json: JSONValue, of container: JSONValue) {
    func seconds(_ field: String, _ standard: Int64) -> Duration {
      let given = json[field]?.intValue ?? 0
      return .seconds(given > 0 ? given : standard)
    }
    func count(_ field: String, _ standard: Int) -> Int { max(1, json[field]?.intValue.map { Int($0) } ?? standard) }
    self.init(
      ProbeAction(json: json), initialDelay: seconds("initialDelaySeconds", 0), period: seconds("periodSeconds", 10),
      timeout: seconds("timeoutSeconds", 1), successThreshold: count("successThreshold", 1),
      failureThreshold: count("failureThreshold", 3),
      gracePeriod: json["terminationGracePeriodSeconds"]?.intValue.map { .seconds($0) })
  }
}

extension ProbeAction {
  fileprivate init(json: JSONValue) {
    if let exec = json["exec"] {
      self = .exec(exec.list("command").compactMap(\.stringValue))
    } else if let get = json["httpGet"] {
      let path = get.text("path") ?? "/"
      self = .httpGet(
        host: get.text("host"), port: ProbePort(json: get["port"]), path: path.hasPrefix("/") ? path : "/" + path,
        isTLS: get.text("scheme") == "HTTPS",
        headers: get.list("httpHeaders").map { HTTPHeader($0.text("name") ?? "", $0.text("value") ?? "") })
    } else if let socket = json["tcpSocket"] {
      self = .tcpSocket(host: socket.text("host"), port: ProbePort(json: socket["port"]))
    } else if let seconds = json[path: ["sleep", "seconds"]]?.intValue {
      self = .exec(["sleep", String(seconds)])
    } else {
      self = .unsupported("local mode has exec, httpGet and tcpSocket only")
    }
  }
}

extension ProbePort {
  fileprivate init(json: JSONValue?) {
    self = json?.intValue.map { .number(Int($0)) } ?? .name(json?.stringValue ?? "")
  }
}

extension VolumeManifest {
  fileprivate init?(json: JSONValue) {
    guard let name = json.text("name") else { return nil }
    func mode(_ source: JSONValue) -> Int { source["defaultMode"]?.intValue.map { Int($0) } ?? 0o644 }
    if json["emptyDir"] != nil {
      self.init(name: name, content: .emptyDir)
    } else if let source = json["hostPath"] {
      self.init(name: name, content: .hostPath(path: source.text("path") ?? "", type: source.text("type") ?? ""))
    } else if let source = json["configMap"] {
      self.init(name: name, content: .files([.object(json: source, isSecret: false)], mode: mode(source)))
    } else if let source = json["secret"] {
      self.init(name: name, content: .files([.object(json: source, isSecret: true)], mode: mode(source)))
    } else if let source = json["downwardAPI"] {
      self.init(name: name, content: .files([.downward(json: source)], mode: mode(source)))
    } else if let source = json["projected"] {
      self.init(
        name: name, content: .files(source.list("sources").compactMap(FileSource.init(json:)), mode: mode(source)))
    } else {
      // Each volume has its name and one member that says its kind.
      let kind = json.objectValue?.keys.filter { $0 != "name" }.sorted().first
      self.init(name: name, content: kind.map { .unsupported($0) } ?? .emptyDir)
    }
  }
}

extension FileSource {
  fileprivate init?(json: JSONValue) {
    if let source = json["configMap"] {
      self = .object(json: source, isSecret: false)
    } else if let source = json["secret"] {
      self = .object(json: source, isSecret: true)
    } else if let source = json["downwardAPI"] {
      self = .downward(json: source)
    } else if let source = json["serviceAccountToken"] {
      self = .token(
        audience: source.text("audience"), expirationSeconds: source["expirationSeconds"]?.intValue ?? 3_600,
        path: source.text("path") ?? "token")
    } else {
      return nil
    }
  }

  fileprivate static func object(json: JSONValue, isSecret: Bool) -> FileSource {
    .object(
      // A secret volume names its object in another field than a projected one.
      isSecret: isSecret, name: json.text("secretName") ?? json.text("name") ?? "",
      items: json.list("items").map {
        FileItem(key: $0.text("key") ?? "", path: $0.text("path") ?? "", mode: $0["mode"]?.intValue.map { Int($0) })
      },
      isOptional: json["optional"]?.boolValue ?? false)
  }

  fileprivate static func downward(json: JSONValue) -> FileSource {
    .downward(
      json.list("items").compactMap { item in
        guard let path = item.text("path"), let source = EnvironmentEntry.Source(json: item) else { return nil }
        return DownwardItem(path: path, source: source)
      })
  }
}

extension JSONValue {
  /// The text at a path of keys; nil for an empty one, which the API treats as absent.
  func text(_ path: String...) -> String? {
    guard let text = self[path: path]?.stringValue, !text.isEmpty else { return nil }
    return text
  }

  /// The elements of an array; none when it is absent.
  func list(_ key: String) -> [JSONValue] { self[key]?.arrayValue ?? [] }

  /// The texts of an object, such as labels.
  func texts(_ path: String...) -> [String: String] {
    self[path: path]?.objectValue?.compactMapValues(\.stringValue) ?? [:]
  }

  /// The quantities of an object; what isn't one is left out.
  func quantities(_ path: String...) -> [String: Quantity] {
    self[path: path]?.objectValue?.compactMapValues { try? KubernetesJSON.decode(Quantity.self, from: $0) } ?? [:]
  }
}
