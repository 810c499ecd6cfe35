package import KubernetesCore

/// Adds the worker side to a pod: `swarmscale-sidecar`, or what the library needs. Pure: the same pod gives the same result, and
/// a pod that has it all comes back unchanged, so that it may be called again after others have changed the pod.
///
/// Works on the JSON of a Pod and of a pod template alike: whatever else stands there stays.
package struct WorkerEmbedding: Sendable {
  /// What is the same for all pods.
  package var settings: EmbeddingSettings

  /// Ports that are tried, this far apart, and this many times.
  private static let portStep: Int64 = 10
  private static let portTries: Int64 = 11
  /// How much of the grace period is left for the app after its hook, in seconds.
  private static let hookMargin: Int64 = 10
  /// A drain without an end gets a day: a grace period is needed, and none may be infinite.
  private static let longestDrain: Int64 = 86_400
  /// The grace period of a pod that says nothing, in seconds (Kubernetes' default).
  private static let defaultGrace: Int64 = 30

  /// Variables of a worker that the sidecar needs to know.
  private static let sharedVariables = ["ANTHROPIC_UPSTREAM", "SWARMSCALE_SLOTS", "SWARMSCALE_WORKER_KIND"]

  /// Makes it.
  package init(settings: EmbeddingSettings) {
    self.settings = settings
  }

  /// What a pod, or a pod template, becomes.
  package func embed(_ pod: JSONValue, _ request: EmbeddingRequest) -> EmbeddingOutcome {
    if let skip = skip(pod, request) { return .skipped(skip) }
    let own = Self.ownSidecar(in: pod)
    guard let port = own.flatMap(Self.port) ?? freePort(in: pod) else { return .skipped(.noPort) }
    var work = Work(pod: pod, request: request, port: port, grace: Self.grace(of: pod, request))
    work.workers = Self.workers(of: pod, notes: &work.notes)
    addApps(&work)
    if request.mode == .sidecar { addSidecar(own, &work) }
    addVolume(&work)
    work.pod["spec"]?["terminationGracePeriodSeconds"] = .int(work.grace)
    annotate(&work)
    return .embedded(pod: work.pod, notes: work.notes)
  }

  private struct Work {
    var pod: JSONValue
    let request: EmbeddingRequest
    /// The sidecar's port on loopback.
    let port: Int64
    /// The pod's grace period, in seconds.
    let grace: Int64
    /// The containers that are workers.
    var workers: Set<String> = []
    var notes: [EmbeddingNote] = []

    /// What the drain hook waits for, in seconds.
    var hookSeconds: Int64 { max(1, grace - WorkerEmbedding.hookMargin) }
    /// Where the kubelet asks.
    var kubeletPort: Int64 { port + 1 }
  }

  // MARK: Which pods

  /// Whether somebody has refused embedding for a pod.
  package static func isOptedOut(_ pod: JSONValue) -> Bool {
    let metadata = pod["metadata"]
    return ["annotations", "labels"].contains {
      metadata?[$0]?[EmbeddingNames.embed]?.stringValue == EmbeddingNames.disabled
    }
  }

  /// Whether somebody has asked for embedding of a pod.
  package static func isOptedIn(_ pod: JSONValue) -> Bool {
    let metadata = pod["metadata"]
    return ["annotations", "labels"].contains {
      metadata?[$0]?[EmbeddingNames.embed]?.stringValue == EmbeddingNames.enabled
    }
  }

  private func skip(_ pod: JSONValue, _ request: EmbeddingRequest) -> EmbeddingSkip? {
    if Self.isOptedOut(pod) { return .optedOut }
    guard let spec = pod["spec"], let containers = spec["containers"]?.arrayValue, !containers.isEmpty else {
      return .noContainers
    }
    if pod["metadata"]?["annotations"]?["kubernetes.io/config.mirror"] != nil { return .mirror }
    if Self.isForWindows(spec) { return .windows }
    guard request.mode == .sidecar else { return nil }
    if spec["hostNetwork"]?.boolValue == true { return .hostNetwork }
    let isMarked = pod["metadata"]?["annotations"]?[EmbeddingNames.embedded] != nil
    if Self.ownSidecar(in: pod) != nil, !isMarked { return .ownSidecar }
    if !isNative(request), let policy = spec["restartPolicy"]?.stringValue, policy != "Always" {
      return .endsByItself(request.server)
    }
    return nil
  }

  private func isNative(_ request: EmbeddingRequest) -> Bool { request.server >= .nativeSidecars }

  private static func isForWindows(_ spec: JSONValue) -> Bool {
    if spec["os"]?["name"]?.stringValue == "windows" { return true }
    let keys = ["kubernetes.io/os", "beta.kubernetes.io/os"]
    if keys.contains(where: { spec["nodeSelector"]?[$0]?.stringValue == "windows" }) { return true }
    let terms = spec["affinity"]?["nodeAffinity"]?["requiredDuringSchedulingIgnoredDuringExecution"]?[
      "nodeSelectorTerms"]?.arrayValue
    guard let terms, !terms.isEmpty else { return false }
    // Terms are alternatives: only where each one asks for Windows nothing else is possible.
    return terms.allSatisfy { term in
      (term["matchExpressions"]?.arrayValue ?? []).contains { expression in
        keys.contains(expression["key"]?.stringValue ?? "") && expression["operator"]?.stringValue == "In"
          && expression["values"]?.arrayValue == ["windows"]
      }
    }
  }

  private static func ownSidecar(in pod: JSONValue) -> JSONValue? {
    for list in ["initContainers", "containers"] {
      let found = pod["spec"]?[list]?.arrayValue?.first { $0["name"]?.stringValue == EmbeddingNames.sidecar }
      if let found { return found }
    }
    return nil
  }

  private static func workers(of pod: JSONValue, notes: inout [EmbeddingNote]) -> Set<String> {
    let names = (pod["spec"]?["containers"]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
    let apps = Set(names).subtracting([EmbeddingNames.sidecar])
    guard let text = pod["metadata"]?["annotations"]?[EmbeddingNames.containers]?.stringValue else { return apps }
    let chosen = text.split(separator: ",").map { String($0.drop { $0 == " " }.prefix { $0 != " " }) }
    for name in chosen where !apps.contains(name) { notes.append(.unknownContainer(name)) }
    return apps.intersection(chosen)
  }

  // MARK: Ports and times

  /// The port that a sidecar of ours listens at.
  private static func port(_ sidecar: JSONValue) -> Int64? {
    for argument in sidecar["args"]?.arrayValue ?? [] {
      guard let text = argument.stringValue, text.hasPrefix("--listen=") else { continue }
      return text.lastIndex(of: ":").flatMap { Int64(text[text.index(after: $0)...]) }
    }
    return nil
  }

  /// The first pair of ports that no container of the pod declares.
  private func freePort(in pod: JSONValue) -> Int64? {
    var used: Set<Int64> = []
    for list in ["containers", "initContainers"] {
      for container in pod["spec"]?[list]?.arrayValue ?? []
      where container["name"]?.stringValue != EmbeddingNames.sidecar {
        for port in container["ports"]?.arrayValue ?? [] {
          if let number = port["containerPort"]?.intValue { used.insert(number) }
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
          for check in ["httpGet", "tcpSocket", "grpc"] {
            if let number = container[probe]?[check]?["port"]?.intValue { used.insert(number) }
          }
        }
      }
    }
    return (0..<Self.portTries).map { settings.port + $0 * Self.portStep }
      .first { !used.contains($0) && !used.contains($0 + 1) }
  }

  /// The grace period: at least what a drain may take.
  private static func grace(of pod: JSONValue, _ request: EmbeddingRequest) -> Int64 {
    let own = pod["spec"]?["terminationGracePeriodSeconds"]?.intValue ?? defaultGrace
    return max(own, min(request.drainSeconds ?? longestDrain, longestDrain))
  }

  // MARK: Apps

  private func addApps(_ work: inout Work) {
    guard let containers = work.pod["spec"]?["containers"]?.arrayValue else { return }
    var result: [JSONValue] = []
    for container in containers {
      let name = container["name"]?.stringValue ?? ""
      result.append(work.workers.contains(name) ? app(container, name, &work) : container)
    }
    work.pod["spec"]?["containers"] = .array(result)
  }

  private func app(_ container: JSONValue, _ name: String, _ work: inout Work) -> JSONValue {
    var container = container
    switch work.request.mode {
    case .sidecar:
      add(
        [
          Self.variable(EmbeddingNames.baseURL, "http://127.0.0.1:\(work.port)"),
          Self.variable(EmbeddingNames.watchdog, "1"),
        ], to: &container, name, &work)
      addHook(to: &container, name, &work)
    case .library:
      add(identity(work.request), to: &container, name, &work)
      mount(in: &container)
    }
    return container
  }

  private func add(_ variables: [JSONValue], to container: inout JSONValue, _ name: String, _ work: inout Work) {
    var environment = container["env"]?.arrayValue ?? []
    let ignoresSources = work.pod["metadata"]?["annotations"]?[EmbeddingNames.envFrom]?.stringValue == "ignore"
    let sources = ignoresSources ? [] : container["envFrom"]?.arrayValue ?? []
    for variable in variables {
      let key = variable["name"]?.stringValue ?? ""
      if let present = environment.first(where: { $0["name"]?.stringValue == key }) {
        if present != variable { work.notes.append(.variableKept(container: name, name: key)) }
      } else if sources.contains(where: { key.hasPrefix($0["prefix"]?.stringValue ?? "") }) {
        work.notes.append(.variableLeftToEnvFrom(container: name, name: key))
      } else {
        environment.append(variable)
      }
    }
    if !environment.isEmpty { container["env"] = .array(environment) }
  }

  private func addHook(to container: inout JSONValue, _ name: String, _ work: inout Work) {
    var lifecycle = container["lifecycle"] ?? .object([:])
    if let present = lifecycle["preStop"], present != .null {
      if !Self.isDrainHook(present) { work.notes.append(.hookKept(container: name)) }
      return
    }
    lifecycle["preStop"] = hook(work)
    container["lifecycle"] = lifecycle
  }

  /// The kubelet asks the sidecar to wait until the worker is idle: no shell is needed in the worker's image.
  private func hook(_ work: Work) -> JSONValue {
    ["httpGet": ["path": .string("/v1/drain?timeout=\(work.hookSeconds)"), "port": .int(work.kubeletPort)]]
  }

  private static func isDrainHook(_ hook: JSONValue) -> Bool {
    hook["httpGet"]?["path"]?.stringValue?.hasPrefix("/v1/drain") == true
  }

  // MARK: Sidecar

  private func addSidecar(_ own: JSONValue?, _ work: inout Work) {
    if own != nil, !settings.replacesSidecar { return }
    let native = isNative(work.request)
    let container = sidecar(native: native, work)
    let (list, other) = native ? ("initContainers", "containers") : ("containers", "initContainers")
    for name in [list, other] {
      guard let containers = work.pod["spec"]?[name]?.arrayValue else { continue }
      let rest = containers.filter { $0["name"]?.stringValue != EmbeddingNames.sidecar }
      if rest.count < containers.count { work.pod["spec"]?[name] = rest.isEmpty ? nil : .array(rest) }
    }
    // First: init containers may need the API, and what starts first ends last.
    let present = work.pod["spec"]?[list]?.arrayValue ?? []
    work.pod["spec"]?[list] = .array([container] + present)
  }

  private func sidecar(native: Bool, _ work: Work) -> JSONValue {
    let check: JSONValue = ["httpGet": ["path": "/healthz", "port": .int(work.kubeletPort)]]
    // Turns unready as soon as the worker has drained: Kubernetes removes unready pods first, before 1.22 by that alone.
    let readiness: JSONValue = ["httpGet": ["path": "/readyz", "port": .int(work.kubeletPort)]]
    var container: JSONValue = [
      "name": .string(EmbeddingNames.sidecar), "image": .string(settings.image), "command": ["swarmscale-sidecar"],
      "args": [
        .string("--listen=127.0.0.1:\(work.port)"),
        .string("--kubelet-listen=$(SWARMSCALE_POD_IP):\(work.kubeletPort)"),
      ],
      "env": .array(sidecarEnvironment(work)),
      "ports": [["name": "swarm-kubelet", "containerPort": .int(work.kubeletPort), "protocol": "TCP"]],
      "startupProbe": Self.probe(check, period: 1, failures: 60),
      "livenessProbe": Self.probe(check, period: 10, failures: 3),
      "readinessProbe": Self.probe(readiness, period: 2, failures: 1), "lifecycle": ["preStop": hook(work)],
      "resources": [
        "requests": .object(settings.requests.mapValues { .string($0) }),
        "limits": .object(settings.limits.mapValues { .string($0) }),
      ],
      "securityContext": securityContext,
    ]
    if native { container["restartPolicy"] = "Always" }
    if !settings.imagePullPolicy.isEmpty { container["imagePullPolicy"] = .string(settings.imagePullPolicy) }
    mount(in: &container)
    return container
  }

  private static func probe(_ check: JSONValue, period: Int64, failures: Int64) -> JSONValue {
    var probe = check
    probe["periodSeconds"] = .int(period)
    probe["timeoutSeconds"] = 3
    probe["failureThreshold"] = .int(failures)
    return probe
  }

  /// Pod Security "restricted".
  private var securityContext: JSONValue {
    var context: JSONValue = [
      "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
      "capabilities": ["drop": ["ALL"]], "seccompProfile": ["type": "RuntimeDefault"],
    ]
    if let user = settings.user {
      context["runAsUser"] = .int(user)
      context["runAsGroup"] = .int(user)
    }
    return context
  }

  private func sidecarEnvironment(_ work: Work) -> [JSONValue] {
    var variables = identity(work.request) + [Self.variable("SWARMSCALE_POD_IP", field: "status.podIP")]
    // What the worker says of itself, and where it wants the API to be, is for the sidecar now.
    for container in work.pod["spec"]?["containers"]?.arrayValue ?? []
    where work.workers.contains(container["name"]?.stringValue ?? "") {
      for variable in container["env"]?.arrayValue ?? [] {
        guard let name = variable["name"]?.stringValue, Self.sharedVariables.contains(name),
          !variables.contains(where: { $0["name"]?.stringValue == name })
        else { continue }
        variables.append(variable)
      }
    }
    return variables
  }

  /// Who the worker is: the contract of docs/sidecar.md.
  private func identity(_ request: EmbeddingRequest) -> [JSONValue] {
    var variables = [
      Self.variable("SWARMSCALE_NAMESPACE", field: "metadata.namespace"),
      Self.variable("SWARMSCALE_POD", field: "metadata.name"),
      Self.variable("SWARMSCALE_POD_UID", field: "metadata.uid"),
    ]
    if !request.autoscaler.isEmpty { variables.append(Self.variable("SWARMSCALE_AUTOSCALER", request.autoscaler)) }
    if let coordinator = settings.coordinator { variables.append(Self.variable("SWARMSCALE_COORDINATOR", coordinator)) }
    return variables
  }

  private static func variable(_ name: String, _ value: String) -> JSONValue {
    ["name": .string(name), "value": .string(value)]
  }

  /// With its `apiVersion`, which the API server fills in: what is written and what is stored must be equal.
  private static func variable(_ name: String, field: String) -> JSONValue {
    ["name": .string(name), "valueFrom": ["fieldRef": ["apiVersion": "v1", "fieldPath": .string(field)]]]
  }

  // MARK: Token and authorities

  private func mount(in container: inout JSONValue) {
    guard settings.coordinator != nil else { return }
    var mounts = container["volumeMounts"]?.arrayValue ?? []
    guard !mounts.contains(where: { $0["mountPath"]?.stringValue == EmbeddingNames.mountPath }) else { return }
    mounts.append([
      "name": .string(EmbeddingNames.volume), "mountPath": .string(EmbeddingNames.mountPath), "readOnly": true,
    ])
    container["volumeMounts"] = .array(mounts)
  }

  private func addVolume(_ work: inout Work) {
    guard settings.coordinator != nil else { return }
    var volumes = work.pod["spec"]?["volumes"]?.arrayValue ?? []
    guard !volumes.contains(where: { $0["name"]?.stringValue == EmbeddingNames.volume }) else { return }
    var sources: [JSONValue] = [
      [
        "serviceAccountToken": [
          "audience": .string(settings.audience), "expirationSeconds": .int(settings.tokenSeconds),
          "path": .string(EmbeddingNames.tokenFile),
        ]
      ]
    ]
    if settings.authority != nil {
      // Of the pod's own annotation: no ConfigMap is needed in the pod's namespace, nor the right to write one.
      sources.append([
        "downwardAPI": [
          "items": [
            [
              "path": .string(EmbeddingNames.authorityFile),
              "fieldRef": [
                "apiVersion": "v1", "fieldPath": .string("metadata.annotations['\(EmbeddingNames.authority)']"),
              ],
            ]
          ]
        ]
      ])
    }
    volumes.append(["name": .string(EmbeddingNames.volume), "projected": ["sources": .array(sources)]])
    work.pod["spec"]?["volumes"] = .array(volumes)
  }

  private func annotate(_ work: inout Work) {
    var metadata = work.pod["metadata"] ?? .object([:])
    var annotations = metadata["annotations"]?.objectValue ?? [:]
    annotations[EmbeddingNames.embedded] = work.request.mode == .sidecar ? "sidecar" : "library"
    if settings.coordinator != nil, let authority = settings.authority,
      settings.replacesSidecar || annotations[EmbeddingNames.authority] == nil
    {
      annotations[EmbeddingNames.authority] = .string(authority)
    }
    let notes = work.notes.map(\.description).joined(separator: "; ")
    annotations[EmbeddingNames.notes] = notes.isEmpty ? nil : .string(notes)
    let defaultContainer = "kubectl.kubernetes.io/default-container"
    if work.request.mode == .sidecar, !isNative(work.request), annotations[defaultContainer] == nil,
      let first = work.pod["spec"]?["containers"]?.arrayValue?.first(where: {
        $0["name"]?.stringValue != EmbeddingNames.sidecar
      })?["name"]
    {
      // `kubectl logs` and `exec` go on meaning the app.
      annotations[defaultContainer] = first
    }
    metadata["annotations"] = .object(annotations)
    work.pod["metadata"] = metadata
  }
}
