import KubernetesCore

/// The defaults of the built-in types, as Kubernetes sets them (`pkg/apis/*/v1/defaults.go`).
enum Defaults {
  static func apply(to object: inout JSONValue, type: ResourceType) {
    switch type.storage {
    case "deployments":
      edit(&object, "spec") { spec in
        fill(&spec, ["replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600])
        edit(&spec, "strategy") { strategy in
          fill(&strategy, ["type": "RollingUpdate"])
          guard strategy["type"] == "RollingUpdate" else { return }
          edit(&strategy, "rollingUpdate") { fill(&$0, ["maxUnavailable": "25%", "maxSurge": "25%"]) }
        }
        template(&spec)
      }
    case "replicasets":
      edit(&object, "spec") { spec in
        fill(&spec, ["replicas": 1])
        template(&spec)
      }
    case "pods":
      edit(&object, "spec") { spec in
        fill(&spec, ["enableServiceLinks": true])
        podSpec(&spec)
        for field in ["containers", "initContainers"] { editEach(&spec, field, requests) }
      }
    case "services": edit(&object, "spec", service)
    case "secrets":
      fill(&object, ["type": "Opaque"])
      guard let texts = object["stringData"]?.objectValue else { return }
      var data = object["data"]?.objectValue ?? [:]
      for (key, text) in texts { data[key] = .string(Base64.text(Array((text.stringValue ?? "").utf8))) }
      object["data"] = .object(data)
      object["stringData"] = nil
    default: break
    }
  }

  /// Base64, without Foundation.
  enum Base64 {
    static func text(_ bytes: [UInt8]) -> String {
      let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
      var result: [UInt8] = []
      for start in stride(from: 0, to: bytes.count, by: 3) {
        let part = bytes[start..<min(start + 3, bytes.count)]
        let value = part.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - part.count))
        for index in 0..<4 {
          result.append(index <= part.count ? alphabet[Int(value >> UInt32(18 - 6 * index) & 63)] : UInt8(ascii: "="))
        }
      }
      return String(decoding: result, as: UTF8.self)
    }
  }

  private static func fill(_ object: inout JSONValue, _ defaults: [String: JSONValue]) {
    guard case .object(let members) = object else { return }
    object = .object(defaults.merging(members) { $1 })
  }

  private static func edit(_ object: inout JSONValue, _ field: String, _ body: (inout JSONValue) -> Void) {
    var value = object[field] ?? [:]
    guard value.objectValue != nil else { return }
    body(&value)
    object[field] = value
  }

  private static func editEach(_ object: inout JSONValue, _ field: String, _ body: (inout JSONValue) -> Void) {
    guard var elements = object[field]?.arrayValue else { return }
    for index in elements.indices { body(&elements[index]) }
    object[field] = .array(elements)
  }

  private static func editIfPresent(_ object: inout JSONValue, _ field: String, _ body: (inout JSONValue) -> Void) {
    if object[field]?.objectValue != nil { edit(&object, field, body) }
  }

  private static func template(_ spec: inout JSONValue) {
    editIfPresent(&spec, "template") { template in
      edit(&template, "metadata") { fill(&$0, ["creationTimestamp": .null]) }
      template["metadata"]?["creationTimestamp"] = nil
      edit(&template, "spec", podSpec)
    }
  }

  private static func podSpec(_ spec: inout JSONValue) {
    fill(
      &spec,
      [
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler", "securityContext": [:],
      ])
    if let account = spec["serviceAccountName"] ?? spec["serviceAccount"], account != "" {
      spec["serviceAccountName"] = account
      spec["serviceAccount"] = account
    }
    for field in ["containers", "initContainers"] { editEach(&spec, field, container) }
    editEach(&spec, "volumes", volume)
  }

  private static func container(_ container: inout JSONValue) {
    fill(
      &container,
      [
        "resources": [:], "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": .string(pullPolicy(container["image"]?.stringValue ?? "")),
      ])
    editEach(&container, "ports") { fill(&$0, ["protocol": "TCP"]) }
    editEach(&container, "env") { variable in
      editIfPresent(&variable, "valueFrom") { source in
        editIfPresent(&source, "fieldRef") { fill(&$0, ["apiVersion": "v1"]) }
      }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
      editIfPresent(&container, field) { probe in
        fill(&probe, ["timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3])
        editIfPresent(&probe, "httpGet", httpGet)
      }
    }
    editIfPresent(&container, "lifecycle") { lifecycle in
      for hook in ["preStop", "postStart"] {
        editIfPresent(&lifecycle, hook) { editIfPresent(&$0, "httpGet", httpGet) }
      }
    }
  }

  /// In a pod, though not yet in a template, a limit is a request, too, where none is written.
  private static func requests(_ container: inout JSONValue) {
    editIfPresent(&container, "resources") { resources in
      guard let limits = resources["limits"]?.objectValue else { return }
      let requests = resources["requests"]?.objectValue ?? [:]
      resources["requests"] = .object(limits.merging(requests) { $1 })
    }
  }

  private static func httpGet(_ action: inout JSONValue) { fill(&action, ["path": "/", "scheme": "HTTP"]) }

  private static func pullPolicy(_ image: String) -> String {
    let last = image.split(separator: "/").last ?? ""
    if image.contains("@") { return "IfNotPresent" }
    guard let colon = last.lastIndex(of: ":") else { return "Always" }
    return last[last.index(after: colon)...] == "latest" ? "Always" : "IfNotPresent"
  }

  private static func volume(_ volume: inout JSONValue) {
    let sources = ["configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret"]
    if !sources.contains(where: { volume[$0] != nil }) { volume["emptyDir"] = [:] }
    for field in ["configMap", "downwardAPI", "projected", "secret"] {
      editIfPresent(&volume, field) { source in
        fill(&source, ["defaultMode": 420])
        editEach(&source, "items") { item in
          editIfPresent(&item, "fieldRef") { fill(&$0, ["apiVersion": "v1"]) }
        }
        editEach(&source, "sources") { part in
          editIfPresent(&part, "serviceAccountToken") { fill(&$0, ["expirationSeconds": 3600]) }
          editIfPresent(&part, "downwardAPI") { items in
            editEach(&items, "items") { item in
              editIfPresent(&item, "fieldRef") { fill(&$0, ["apiVersion": "v1"]) }
            }
          }
        }
      }
    }
    editIfPresent(&volume, "hostPath") { fill(&$0, ["type": ""]) }
  }

  private static func service(_ spec: inout JSONValue) {
    fill(&spec, ["type": "ClusterIP", "sessionAffinity": "None"])
    editEach(&spec, "ports") { port in
      fill(&port, ["protocol": "TCP"])
      if port["targetPort"] == nil, let number = port["port"] { port["targetPort"] = number }
    }
  }
}
