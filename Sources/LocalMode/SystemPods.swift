import KubernetesCore

/// The pods that local mode itself starts: the controller and the stand-in for the API.
struct SystemPods {
  static let namespace = "swarmscale-system"

  /// The folder of our programs.
  var folder: String
  /// Where the cluster is found.
  var kubeconfig: String
  /// HOST:PORT of the page.
  var listen: String
  /// HOST:PORT at which workers find the coordinator.
  var coordinator: String
  /// `mock-claude`, and HOST:PORT's port for it; nil: the API is elsewhere.
  var mock: (program: String, port: Int, configuration: String?)?

  /// The objects, in the order in which they are to be applied.
  var objects: [JSONValue] {
    var objects: [JSONValue] = [
      ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": .string(Self.namespace)]]
    ]
    if let mock {
      objects.append(
        pod(
          "mock-claude",
          [mock.program, "--port", "\(mock.port)"] + (mock.configuration.map { ["--config", $0] } ?? []), ready: nil))
    }
    objects.append(
      pod(
        "swarmscale-controller",
        [
          "\(folder)/swarmscale", "controller", "--kubeconfig", kubeconfig, "--no-leader-election", "--listen", listen,
          "--coordinator-listen", coordinator, "--coordinator-authentication", "None",
        ], ready: listen))
    return objects
  }

  private func pod(_ name: String, _ command: [String], ready listen: String?) -> JSONValue {
    var container: [String: JSONValue] = [
      "name": "main", "image": "local", "command": .array(command.map { .string($0) }),
    ]
    if let listen, let port = listen.split(separator: ":").last.flatMap({ Int64($0) }) {
      container["readinessProbe"] = [
        "httpGet": ["path": "/readyz", "port": .int(port)], "periodSeconds": 1,
      ]
    }
    return [
      "apiVersion": "v1", "kind": "Pod",
      "metadata": ["name": .string(name), "namespace": .string(Self.namespace)],
      // The machine's own addresses: they are meant as they stand.
      "spec": ["hostNetwork": true, "restartPolicy": "Always", "containers": [.object(container)]],
    ]
  }
}
