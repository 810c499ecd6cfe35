import KubernetesCore

extension ClusterState {
  /// The version of Kubernetes whose behaviour clients may expect.
  static let kubernetesMinor = 36

  /// The answers that don't depend on objects; nil for other paths.
  func fixedAnswer(_ parts: [String], _ call: APICall) throws(APIFailure) -> APIAnswer? {
    switch (parts.first ?? "", parts.count) {
    case ("", 0):
      return .document(status: 200, ["paths": .array(Self.roots.map { .string($0) })], warnings: [])
    case ("healthz", _), ("livez", _), ("readyz", _): return .text(status: 200, "ok")
    case ("version", 1): return .document(status: 200, Self.version, warnings: [])
    case ("api", 1):
      return .document(
        status: 200,
        [
          "kind": "APIVersions", "versions": ["v1"],
          "serverAddressByClientCIDRs": [["clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"]],
        ], warnings: [])
    case ("apis", 1):
      let names = catalog.groups.filter { !$0.isEmpty } + (externalMetrics.isEmpty ? [] : [Self.externalGroup])
      let groups = names.map(group)
      return .document(
        status: 200, ["kind": "APIGroupList", "apiVersion": "v1", "groups": .array(groups)], warnings: [])
    case ("apis", 2):
      guard catalog.groups.contains(parts[1]) else { throw .noSuchPath(call.path) }
      var json = group(parts[1])
      json["kind"] = "APIGroup"
      json["apiVersion"] = "v1"
      return .document(status: 200, json, warnings: [])
    case ("api", 2): return try resources(group: "", version: parts[1], call)
    case ("apis", 3): return try resources(group: parts[1], version: parts[2], call)
    case ("openapi", _): return try openAPI(Array(parts.dropFirst()), call)
    default: return nil
    }
  }

  private static let roots = [
    "/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version",
  ]

  private static let version: JSONValue = [
    "major": "1", "minor": .string("\(kubernetesMinor)"), "gitVersion": .string("v1.\(kubernetesMinor).0+local"),
    "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none (Swift)",
    "compiler": "swiftc", "platform": "local-cluster",
  ]

  func group(_ name: String) -> JSONValue {
    let version = catalog.types.first { $0.group == name }?.version ?? Self.externalVersion
    let entry: JSONValue = ["groupVersion": .string("\(name)/\(version)"), "version": .string(version)]
    return ["name": .string(name), "versions": [entry], "preferredVersion": entry]
  }

  private func resources(group: String, version: String, _ call: APICall) throws(APIFailure) -> APIAnswer {
    let types = catalog.types.filter { $0.group == group && $0.version == version }
    guard !types.isEmpty else { throw .noSuchPath(call.path) }
    var list: [JSONValue] = []
    for type in types {
      var entry: JSONValue = [
        "name": .string(type.plural), "singularName": .string(type.singular), "namespaced": .bool(type.isNamespaced),
        "kind": .string(type.kind), "verbs": .array(type.verbs.map { .string($0) }),
      ]
      if !type.shortNames.isEmpty { entry["shortNames"] = .array(type.shortNames.map { .string($0) }) }
      if !type.categories.isEmpty { entry["categories"] = .array(type.categories.map { .string($0) }) }
      list.append(entry)
      for subresource in type.subresources {
        var entry: JSONValue = [
          "name": .string("\(type.plural)/\(subresource.name)"), "singularName": "",
          "namespaced": .bool(type.isNamespaced), "kind": .string(subresource.kind),
          "verbs": .array(subresource.verbs.map { .string($0) }),
        ]
        if !subresource.version.isEmpty {
          entry["group"] = .string(subresource.group)
          entry["version"] = .string(subresource.version)
        }
        list.append(entry)
      }
    }
    return .document(
      status: 200,
      [
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": .string(types[0].apiVersion),
        "resources": .array(list),
      ], warnings: [])
  }

  // MARK: OpenAPI

  private func openAPI(_ parts: [String], _ call: APICall) throws(APIFailure) -> APIAnswer {
    let documents = OpenAPIDocuments(catalog)
    switch (parts.first ?? "", parts.count) {
    case ("v2", 1):
      guard call.accept.contains("json") || call.accept.contains("*/*") else {
        throw APIFailure(
          406, "NotAcceptable", "the local cluster writes OpenAPI as JSON only; accept application/json", details: [:])
      }
      return .document(status: 200, documents.version2, warnings: [])
    case ("v3", 1): return .document(status: 200, documents.index, warnings: [])
    case ("v3", 3...):
      let group = parts[1] == "api" ? "" : parts[2]
      let version = parts.last ?? ""
      guard let document = documents.version3(group: group, version: version) else { throw .noSuchPath(call.path) }
      return .document(status: 200, document, warnings: [])
    default: throw .noSuchPath(call.path)
    }
  }
}

/// What the server says of its types: for `kubectl explain`, for validation and for the patches that `kubectl apply` makes.
struct OpenAPIDocuments {
  private let catalog: ResourceCatalog

  init(_ catalog: ResourceCatalog) {
    self.catalog = catalog
  }

  /// The table of the documents of version 3.
  var index: JSONValue {
    var paths: [String: JSONValue] = [:]
    for group in catalog.groups {
      guard let type = catalog.types.first(where: { $0.group == group }) else { continue }
      let path = group.isEmpty ? "api/\(type.version)" : "apis/\(group)/\(type.version)"
      paths[path] = ["serverRelativeURL": .string("/openapi/v3/\(path)")]
    }
    return ["paths": .object(paths)]
  }

  func version3(group: String, version: String) -> JSONValue? {
    let types = catalog.types.filter { $0.group == group && $0.version == version }
    guard !types.isEmpty else { return nil }
    return [
      "openapi": "3.0.0", "info": Self.info, "paths": paths(of: types, isVersion3: true),
      "components": [
        "schemas": .object(definitions(of: types).mapValues { Self.moved($0) })
      ],
    ]
  }

  var version2: JSONValue {
    [
      "swagger": "2.0", "info": Self.info, "paths": paths(of: catalog.types, isVersion3: false),
      "definitions": .object(definitions(of: catalog.types).mapValues { Self.withoutVersion3($0) }),
    ]
  }

  private static let info: JSONValue = [
    "title": "Swarmscale's local cluster", "version": .string("v1.\(ClusterState.kubernetesMinor).0"),
  ]

  // MARK: Definitions

  /// The definitions that types need, each type's own marked with its group, version and kind.
  private func definitions(of types: [ResourceType]) -> [String: JSONValue] {
    var result: [String: JSONValue] = [:]
    var todo: [String] = []
    for type in types where type.group != "metrics.k8s.io" {
      let name = ResourceCatalog.definitionName(type)
      var definition = catalog.definitions[name] ?? [:]
      definition["x-kubernetes-group-version-kind"] = [Self.kind(type)]
      if type.isCustom {
        definition["properties"]?["metadata"] = [
          "$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        ]
      }
      result[name] = definition
      Self.references(definition, &todo)
    }
    while let name = todo.popLast() {
      guard result[name] == nil, let definition = catalog.definitions[name] else { continue }
      result[name] = definition
      Self.references(definition, &todo)
    }
    return result
  }

  private static func kind(_ type: ResourceType) -> JSONValue {
    ["group": .string(type.group), "version": .string(type.version), "kind": .string(type.kind)]
  }

  private static func references(_ json: JSONValue, _ found: inout [String]) {
    switch json {
    case .object(let members):
      if let reference = members["$ref"]?.stringValue {
        found.append(String(reference.split(separator: "/").last ?? ""))
      }
      for member in members.values { references(member, &found) }
    case .array(let elements): for element in elements { references(element, &found) }
    default: break
    }
  }

  /// The same schema with references as version 3 writes them.
  private static func moved(_ json: JSONValue) -> JSONValue {
    switch json {
    case .object(var members):
      for (key, member) in members { members[key] = moved(member) }
      if let reference = json["$ref"]?.stringValue {
        members["$ref"] = .string("#/components/schemas/\(reference.split(separator: "/").last ?? "")")
      }
      return .object(members)
    case .array(let elements): return .array(elements.map(moved))
    default: return json
    }
  }

  /// The same schema without what version 2 can't say.
  private static func withoutVersion3(_ json: JSONValue) -> JSONValue {
    switch json {
    case .object(let members):
      return .object(members.filter { $0.key != "anyOf" || $0.value.arrayValue == nil }.mapValues(withoutVersion3))
    case .array(let elements): return .array(elements.map(withoutVersion3))
    default: return json
    }
  }

  // MARK: Paths

  private func paths(of types: [ResourceType], isVersion3: Bool) -> JSONValue {
    var result: [String: JSONValue] = [:]
    for type in types {
      let root = type.group.isEmpty ? "/api/\(type.version)" : "/apis/\(type.group)/\(type.version)"
      let collection = type.isNamespaced ? "\(root)/namespaces/{namespace}/\(type.plural)" : "\(root)/\(type.plural)"
      var many: JSONValue = [:]
      var one: JSONValue = [:]
      for verb in type.verbs {
        switch verb {
        case "list": many["get"] = operation("list", type, isVersion3)
        case "create": many["post"] = operation("post", type, isVersion3)
        case "get": one["get"] = operation("get", type, isVersion3)
        case "update": one["put"] = operation("put", type, isVersion3)
        case "patch": one["patch"] = operation("patch", type, isVersion3)
        case "delete": one["delete"] = operation("delete", type, isVersion3)
        default: break
        }
      }
      result[collection] = many
      if one.objectValue?.isEmpty == false { result["\(collection)/{name}"] = one }
    }
    return .object(result)
  }

  private func operation(_ action: String, _ type: ResourceType, _ isVersion3: Bool) -> JSONValue {
    var json: JSONValue = [
      "x-kubernetes-action": .string(action), "x-kubernetes-group-version-kind": Self.kind(type),
      "operationId": .string("\(action)_\(type.plural)_\(type.apiVersion)"),
      "responses": ["200": ["description": "OK"]],
    ]
    guard ["patch", "post", "put"].contains(action) else { return json }
    json["parameters"] = .array(
      ["dryRun", "fieldManager", "fieldValidation"].map { name in
        var parameter: JSONValue = ["name": .string(name), "in": "query"]
        if isVersion3 { parameter["schema"] = ["type": "string"] } else { parameter["type"] = "string" }
        return parameter
      })
    guard action == "patch" else { return json }
    var media = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
    if !type.isCustom { media.append("application/strategic-merge-patch+json") }
    if isVersion3 {
      let contents = media.map { ($0, JSONValue.object(["schema": ["type": "object"]])) }
      json["requestBody"] = ["content": .object(Dictionary(contents) { $1 })]
    } else {
      json["consumes"] = .array(media.map { .string($0) })
    }
    return json
  }
}
