import KubernetesCore

extension ResourceCatalog {
  static func coreTypes(_ builder: inout SchemaBuilder) -> [ResourceType] {
    func schema(_ kind: String) -> Schema { builder.definition("io.k8s.api.core.v1.\(kind)") }
    func type(
      _ plural: String, _ singular: String, _ kind: String, _ shortNames: [String] = [], columns: [TableColumn]
    ) -> ResourceType {
      ResourceType(
        group: "", version: "v1", plural: plural, singular: singular, kind: kind, shortNames: shortNames,
        schema: schema(kind), columns: columns, storage: plural)
    }
    var namespaces = type("namespaces", "namespace", "Namespace", ["ns"], columns: TableColumns.namespace)
    namespaces.isNamespaced = false
    namespaces.verbs.removeAll { $0 == "deletecollection" }
    namespaces.subresources = [
      .status("Namespace"), .init(name: "finalize", kind: "Namespace", verbs: ["update"]),
    ]
    var nodes = type("nodes", "node", "Node", ["no"], columns: TableColumns.node)
    nodes.isNamespaced = false
    nodes.subresources = [.status("Node")]
    var pods = type("pods", "pod", "Pod", ["po"], columns: TableColumns.pod)
    pods.categories = ["all"]
    pods.subresources = [
      .init(name: "binding", kind: "Binding", verbs: ["create"]),
      .init(name: "eviction", kind: "Eviction", group: "policy", version: "v1", verbs: ["create"]),
      .init(name: "log", kind: "Pod", verbs: ["get"]), .status("Pod"),
    ]
    var services = type("services", "service", "Service", ["svc"], columns: TableColumns.service)
    services.categories = ["all"]
    services.subresources = [.status("Service")]
    var accounts = type(
      "serviceaccounts", "serviceaccount", "ServiceAccount", ["sa"], columns: TableColumns.serviceAccount)
    accounts.subresources = [
      .init(name: "token", kind: "TokenRequest", group: "authentication.k8s.io", version: "v1", verbs: ["create"])
    ]
    return [
      type("configmaps", "configmap", "ConfigMap", ["cm"], columns: TableColumns.configMap),
      type("endpoints", "endpoints", "Endpoints", ["ep"], columns: TableColumns.endpoints),
      type("events", "event", "Event", ["ev"], columns: TableColumns.event),
      namespaces, nodes, pods,
      type("secrets", "secret", "Secret", columns: TableColumns.secret),
      accounts, services,
    ]
  }

  static func groupTypes(_ builder: inout SchemaBuilder) -> [ResourceType] {
    var deployments = ResourceType(
      group: "apps", version: "v1", plural: "deployments", singular: "deployment", kind: "Deployment",
      shortNames: ["deploy"], categories: ["all"], schema: builder.definition("io.k8s.api.apps.v1.Deployment"),
      columns: TableColumns.deployment, storage: "deployments")
    deployments.subresources = [.scale, .status("Deployment")]
    deployments.hasGeneration = true
    var sets = ResourceType(
      group: "apps", version: "v1", plural: "replicasets", singular: "replicaset", kind: "ReplicaSet",
      shortNames: ["rs"], categories: ["all"], schema: builder.definition("io.k8s.api.apps.v1.ReplicaSet"),
      columns: TableColumns.replicaSet, storage: "replicasets")
    sets.subresources = [.scale, .status("ReplicaSet")]
    sets.hasGeneration = true
    let leases = ResourceType(
      group: "coordination.k8s.io", version: "v1", plural: "leases", singular: "lease", kind: "Lease",
      schema: builder.definition("io.k8s.api.coordination.v1.Lease"), columns: TableColumns.lease, storage: "leases")
    // Both groups show the same events; the newer group's fields have names of their own (`note` for `message`).
    let events = ResourceType(
      group: "events.k8s.io", version: "v1", plural: "events", singular: "event", kind: "Event", shortNames: ["ev"],
      schema: builder.definition("io.k8s.api.events.v1.Event"), columns: TableColumns.newEvent, storage: "events")
    let reviews = ResourceType(
      group: "authentication.k8s.io", version: "v1", plural: "tokenreviews", singular: "tokenreview",
      kind: "TokenReview",
      isNamespaced: false, verbs: ["create"], schema: builder.definition("io.k8s.api.authentication.v1.TokenReview"),
      storage: "tokenreviews")
    let access = ResourceType(
      group: "authorization.k8s.io", version: "v1", plural: "selfsubjectaccessreviews",
      singular: "selfsubjectaccessreview",
      kind: "SelfSubjectAccessReview", isNamespaced: false, verbs: ["create"],
      schema: builder.definition("io.k8s.api.authorization.v1.SelfSubjectAccessReview"),
      storage: "selfsubjectaccessreviews")
    return [deployments, sets, reviews, access, leases, events]
  }

  static func customTypes(_ parts: [String: JSONValue], _ builder: inout SchemaBuilder) -> [ResourceType] {
    func type(_ plural: String, _ kind: String, _ shortName: String) -> ResourceType {
      var type = ResourceType(
        group: "swarmscale.dev", version: "v1alpha1", plural: plural, singular: kind.lowercased(), kind: kind,
        shortNames: [shortName], categories: ["all", "swarmscale"],
        schema: builder.definition("dev.swarmscale.v1alpha1.\(plural)"),
        columns: TableColumns.printed(parts[plural]?["columns"]?.arrayValue ?? []), storage: plural)
      type.subresources = [.status(kind)]
      type.isCustom = true
      type.hasGeneration = true
      return type
    }
    return [type("apibudgets", "APIBudget", "abud"), type("swarmautoscalers", "SwarmAutoscaler", "swa")]
  }

  static func metricsTypes() -> [ResourceType] {
    let anything = Schema([:], name: nil, shape: .any)
    return [
      ResourceType(
        group: "metrics.k8s.io", version: "v1beta1", plural: "nodes", singular: "", kind: "NodeMetrics",
        isNamespaced: false, verbs: ["get", "list"], schema: anything, storage: "metrics.nodes"),
      ResourceType(
        group: "metrics.k8s.io", version: "v1beta1", plural: "pods", singular: "", kind: "PodMetrics",
        verbs: ["get", "list"], schema: anything, storage: "metrics.pods"),
    ]
  }
}
