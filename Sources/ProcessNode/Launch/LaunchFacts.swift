package import KubernetesCore

/// What a pod's fields, paths and addresses stand for on this machine.
package struct LaunchFacts: Hashable, Sendable {
  /// The pod's address.
  package var podIP: String
  /// The node's address.
  package var hostIP: String
  /// What the node has to give, for limits that a container doesn't set.
  package var allocatable: [String: Quantity]
  /// The real folder of each volume, by name.
  package var volumes: [String: String]
  /// Variables that every container has, in order.
  package var base: [Variable]
  /// Whether `127.0.0.1` and `localhost` in a manifest mean the pod's address, as they do in a pod with a network of its own.
  package var mapsLoopback: Bool

  /// Collects facts.
  package init(
    podIP: String, hostIP: String, allocatable: [String: Quantity] = [:], volumes: [String: String] = [:],
    base: [Variable] = [], mapsLoopback: Bool = true
  ) {
    self.podIP = podIP
    self.hostIP = hostIP
    self.allocatable = allocatable
    self.volumes = volumes
    self.base = base
    self.mapsLoopback = mapsLoopback
  }
}

/// One variable of an environment.
package struct Variable: Hashable, Sendable {
  /// The name.
  package var name: String
  /// The value.
  package var value: String

  /// Makes a variable.
  package init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// A ConfigMap or Secret that a pod refers to.
package struct DataReference: Hashable, Sendable {
  /// Whether it is a Secret; otherwise a ConfigMap.
  package var isSecret: Bool
  /// Its name, in the pod's namespace.
  package var name: String

  /// Makes a reference.
  package init(isSecret: Bool, name: String) {
    self.isSecret = isSecret
    self.name = name
  }

  /// As messages name it.
  package var words: String { "\(isSecret ? "secret" : "configmap") \"\(name)\"" }
}

/// Something that a container refers to and that isn't there, or isn't what local mode can give.
package struct LaunchProblem: Error, Hashable, Sendable {
  /// `CreateContainerConfigError` or `CreateContainerError`.
  package var reason: String
  /// What is wrong and what to do.
  package var message: String

  static func configuration(_ message: String) -> LaunchProblem {
    LaunchProblem(reason: "CreateContainerConfigError", message: message)
  }
}

extension PodManifest {
  /// The value of a field of the downward API.
  func field(_ path: String, _ facts: LaunchFacts) throws(LaunchProblem) -> String {
    switch path {
    case "metadata.name": return key.name
    case "metadata.namespace": return key.namespace
    case "metadata.uid": return uid
    case "metadata.labels": return Self.lines(labels)
    case "metadata.annotations": return Self.lines(annotations)
    case "spec.nodeName": return nodeName
    case "spec.serviceAccountName": return serviceAccountName
    case "status.podIP", "status.podIPs": return facts.podIP
    case "status.hostIP", "status.hostIPs": return facts.hostIP
    default: break
    }
    for (prefix, values) in [("metadata.labels['", labels), ("metadata.annotations['", annotations)]
    where path.hasPrefix(prefix) && path.hasSuffix("']") {
      return values[String(path.dropFirst(prefix.count).dropLast(2))] ?? ""
    }
    throw .configuration("the field \"\(path)\" can't be given to a container")
  }

  /// A request or limit, in units of `divisor`, rounded up; what isn't set is what the node can give, as the kubelet has it.
  func resource(
    of container: String, _ resource: String, _ divisor: Quantity, _ facts: LaunchFacts
  ) throws(LaunchProblem) -> String {
    guard let index = index(of: container) else { throw .configuration("there is no container \"\(container)\"") }
    let parts = resource.split(separator: ".", maxSplits: 1).map(String.init)
    guard parts.count == 2, parts[0] == "limits" || parts[0] == "requests" else {
      throw .configuration("the resource \"\(resource)\" can't be given to a container")
    }
    let manifest = containers[index]
    let value =
      parts[0] == "limits"
      ? manifest.limits[parts[1]] ?? facts.allocatable[parts[1]] ?? .zero
      : manifest.requests[parts[1]] ?? manifest.limits[parts[1]] ?? .zero
    guard divisor.nanoUnits > 0 else { return "0" }
    let (quotient, remainder) = value.nanoUnits.quotientAndRemainder(dividingBy: divisor.nanoUnits)
    return String(remainder > 0 ? quotient + 1 : quotient)
  }

  private static func lines(_ values: [String: String]) -> String {
    values.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: "\n")
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
