import KubernetesCore

/// Which parts of an object a write may touch, by type.
enum Strategy {
  /// Whether the status is written through its own subresource.
  private static func separatesStatus(_ type: ResourceType) -> Bool {
    type.subresources.contains { $0.name == "status" }
  }

  /// Takes out what a new object doesn't bring along.
  static func prepareForCreate(_ object: inout JSONValue, _ type: ResourceType) {
    switch type.storage {
    // A node comes with its status, as kubelet registers itself.
    case "nodes": break
    case "namespaces":
      object["status"] = ["phase": "Active"]
      object["spec"] = ["finalizers": ["kubernetes"]]
      var labels = object[path: ["metadata", "labels"]] ?? [:]
      labels["kubernetes.io/metadata.name"] = object[path: ["metadata", "name"]]
      object["metadata"]?["labels"] = labels
    case "pods": object["status"] = ["phase": "Pending", "qosClass": .string(qualityOfService(object))]
    default: if separatesStatus(type) { object["status"] = type.isCustom ? nil : [:] }
    }
  }

  /// Takes from the old object what this write doesn't touch, and counts up the generation.
  static func prepareForUpdate(
    _ new: inout JSONValue, from old: JSONValue, _ type: ResourceType, isStatus: Bool
  ) {
    if isStatus {
      let status = new["status"]
      let metadata = new["metadata"]
      new = old
      new["status"] = status
      if !type.isCustom, var metadata {
        // Labels and annotations may come with a status; who owns the object may not.
        metadata["ownerReferences"] = old[path: ["metadata", "ownerReferences"]]
        metadata["finalizers"] = old[path: ["metadata", "finalizers"]]
        new["metadata"] = metadata
      }
      return
    }
    if separatesStatus(type) { new["status"] = old["status"] }
    if type.storage == "namespaces" { new["spec"] = old["spec"] }
    guard type.hasGeneration, contents(old, type) != contents(new, type) else { return }
    let generation = old[path: ["metadata", "generation"]]?.intValue ?? 0
    new["metadata"]?["generation"] = .int(generation + 1)
  }

  /// What a generation counts the changes of.
  private static func contents(_ object: JSONValue, _ type: ResourceType) -> JSONValue {
    var result: JSONValue = ["spec": object["spec"] ?? [:]]
    if type.isCustom {
      result = object
      result["metadata"] = nil
      result["status"] = nil
    } else if type.storage == "deployments" {
      result["annotations"] = object[path: ["metadata", "annotations"]] ?? [:]
    }
    return result
  }

  /// Keeps what no client may set.
  static func keepMetadata(of old: JSONValue, in new: inout JSONValue) {
    var metadata = new["metadata"] ?? [:]
    for field in [
      "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
      "resourceVersion", "managedFields", "generateName", "selfLink",
    ] where field != "managedFields" || metadata[field] == nil {
      metadata[field] = old["metadata"]?[field]
    }
    new["metadata"] = metadata
  }

  /// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits.
  static func qualityOfService(_ pod: JSONValue) -> String {
    let containers =
      (pod[path: ["spec", "containers"]]?.arrayValue ?? []) + (pod[path: ["spec", "initContainers"]]?.arrayValue ?? [])
    var isGuaranteed = true
    var isEmpty = true
    for container in containers {
      let requests = container[path: ["resources", "requests"]]?.objectValue ?? [:]
      let limits = container[path: ["resources", "limits"]]?.objectValue ?? [:]
      if !requests.isEmpty || !limits.isEmpty { isEmpty = false }
      for name in ["cpu", "memory"] where limits[name] == nil || limits[name] != (requests[name] ?? limits[name]) {
        isGuaranteed = false
      }
    }
    return isEmpty ? "BestEffort" : isGuaranteed ? "Guaranteed" : "Burstable"
  }
}
