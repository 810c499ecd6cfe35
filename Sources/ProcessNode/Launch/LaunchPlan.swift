import KubernetesCore

/// A container's command line, environment and folder, worked out from its manifest.
package struct LaunchPlan: Hashable, Sendable {
  /// The program and its arguments.
  package var arguments: [String]
  /// The environment, each name once, in the order in which they were first named.
  package var environment: [Variable]
  /// Where it starts; nil for the pod's folder.
  package var workingDirectory: String?

  /// Works out how a container is started.
  ///
  /// - Parameters:
  ///   - container: The container of `pod`.
  ///   - facts: What fields, paths and addresses stand for.
  ///   - objects: The ConfigMaps and Secrets that it refers to (``references(of:)``); those that don't exist are absent.
  package init(
    _ container: ContainerManifest, of pod: PodManifest, _ facts: LaunchFacts,
    objects: [DataReference: [String: String]]
  ) throws(LaunchProblem) {
    guard !container.command.isEmpty else {
      throw LaunchProblem(
        reason: "CreateContainerError",
        message: "container \"\(container.name)\" has no `command`. Local mode doesn't pull images: it runs `command` "
          + "on this machine. Name a program that is installed here.")
    }
    let paths = Self.paths(container, facts)
    func literal(_ text: String) -> String {
      let mapped = Expansion.mapPaths(text, paths)
      return facts.mapsLoopback ? Expansion.mapLoopback(mapped, to: facts.podIP) : mapped
    }
    var table = VariableTable(facts.base)
    for source in container.environmentSources {
      guard let values = objects[DataReference(isSecret: source.isSecret, name: source.name)] else {
        if source.isOptional { continue }
        throw .configuration("\(DataReference(isSecret: source.isSecret, name: source.name).words) not found")
      }
      for (key, value) in values.sorted(by: { $0.key < $1.key }) { table[source.prefix + key] = value }
    }
    for entry in container.environment {
      if case .value(let text) = entry.source {
        table[entry.name] = Expansion.expand(literal(text)) { table[$0] }
      } else if let value = try Self.value(entry.source, container, pod, facts, objects) {
        table[entry.name] = value
      }
    }
    environment = table.variables
    arguments = (container.command + container.arguments).map { text in Expansion.expand(literal(text)) { table[$0] } }
    workingDirectory = container.workingDirectory.map { Expansion.mapPaths($0, paths) }
  }

  /// Where a container's mounts really are.
  package static func paths(_ container: ContainerManifest, _ facts: LaunchFacts) -> [(from: String, to: String)] {
    container.mounts.compactMap { mount in
      guard let folder = facts.volumes[mount.name] else { return nil }
      let path = mount.path.hasSuffix("/") && mount.path != "/" ? String(mount.path.dropLast()) : mount.path
      return (path, mount.subPath.isEmpty ? folder : "\(folder)/\(mount.subPath)")
    }
  }

  /// The ConfigMaps and Secrets that a container's environment refers to, in a fixed order.
  package static func references(of container: ContainerManifest) -> [DataReference] {
    var references = container.environmentSources.map { DataReference(isSecret: $0.isSecret, name: $0.name) }
    for entry in container.environment {
      switch entry.source {
      case .configMapKey(let name, _, _): references.append(DataReference(isSecret: false, name: name))
      case .secretKey(let name, _, _): references.append(DataReference(isSecret: true, name: name))
      case .value, .field, .resource: break
      }
    }
    var seen: Set<DataReference> = []
    return references.filter { seen.insert($0).inserted }
  }

  /// The value of anything but a text; nil for an optional key that isn't there.
  static func value(
    _ source: EnvironmentEntry.Source, _ container: ContainerManifest, _ pod: PodManifest, _ facts: LaunchFacts,
    _ objects: [DataReference: [String: String]]
  ) throws(LaunchProblem) -> String? {
    switch source {
    case .value(let text): return text
    case .field(let path): return try pod.field(path, facts)
    case .resource(let name, let resource, let divisor):
      return try pod.resource(of: name ?? container.name, resource, divisor, facts)
    case .configMapKey(let name, let key, let isOptional):
      return try keyed(DataReference(isSecret: false, name: name), key, isOptional, objects)
    case .secretKey(let name, let key, let isOptional):
      return try keyed(DataReference(isSecret: true, name: name), key, isOptional, objects)
    }
  }

  private static func keyed(
    _ reference: DataReference, _ key: String, _ isOptional: Bool, _ objects: [DataReference: [String: String]]
  ) throws(LaunchProblem) -> String? {
    guard let values = objects[reference] else {
      if isOptional { return nil }
      throw .configuration("\(reference.words) not found")
    }
    guard let value = values[key] else {
      if isOptional { return nil }
      throw .configuration("couldn't find key \"\(key)\" in \(reference.words)")
    }
    return value
  }
}

/// Variables in the order in which they were first set.
struct VariableTable {
  private(set) var variables: [Variable]
  private var places: [String: Int] = [:]

  init(_ variables: [Variable]) {
    self.variables = []
    for variable in variables { self[variable.name] = variable.value }
  }

  subscript(name: String) -> String? {
    get { places[name].map { variables[$0].value } }
    set {
      guard let newValue else { return }
      if let place = places[name] {
        variables[place].value = newValue
      } else {
        places[name] = variables.count
        variables.append(Variable(name, newValue))
      }
    }
  }
}

extension PodManifest {
  /// The variable that tells a process where a volume is.
  package static func volumeVariable(_ name: String) -> String {
    "SWARMSCALE_VOLUME_" + String(name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
  }
}
