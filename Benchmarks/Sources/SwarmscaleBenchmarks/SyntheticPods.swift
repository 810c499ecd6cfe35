import KubernetesCore

/// A list of pods as an API server gives it, in both encodings and with equal content, made without a server.
///
/// A thousand Deployments share the pods. Field numbers: `k8s.io/api/core/v1/generated.proto` and
/// `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
struct SyntheticPods {
  /// How many pods.
  let count: Int

  private static let created = Timestamp(secondsSinceEpoch: 1_790_000_000)
  private static let environment = [
    ("ANTHROPIC_MODEL", "claude-sonnet-4-5"), ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8787"), ("FLEET", "reviewers"),
    ("QUEUE_URL", "nats://nats.messaging.svc.cluster.local:4222"), ("LOG_LEVEL", "info"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector.observability.svc.cluster.local:4317"),
  ]
  private static let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
  private static let image = "registry.example.com/fleet/claude-reviewer:1.42.7"
  private static let imageID =
    "registry.example.com/fleet/claude-reviewer@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

  private static let managedByKCM = """
    {"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}},"f:ownerReferences":\
    {".":{},"k:{\\"uid\\":\\"b8ae6a14-7a4e-4be3-9d39-3bb2a7b9e1c4\\"}":{".":{},"f:apiVersion":{},\
    "f:blockOwnerDeletion":{},"f:controller":{},"f:kind":{},"f:name":{},"f:uid":{}}}},"f:spec":{"f:containers":\
    {"k:{\\"name\\":\\"worker\\"}":{".":{},"f:env":{".":{},"k:{\\"name\\":\\"ANTHROPIC_MODEL\\"}":{".":{},"f:name":\
    {},"f:value":{}},"k:{\\"name\\":\\"QUEUE_URL\\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},\
    "f:imagePullPolicy":{},"f:name":{},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},\
    "f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},\
    "f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},\
    "f:terminationGracePeriodSeconds":{}}}
    """
  private static let managedByKubelet = """
    {"f:status":{"f:conditions":{"k:{\\"type\\":\\"ContainersReady\\"}":{".":{},"f:lastProbeTime":{},\
    "f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\\"type\\":\\"Initialized\\"}":{".":{},\
    "f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\\"type\\":\\"Ready\\"}":{".":{},\
    "f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":\
    {},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\\"ip\\":\\"10.244.1.7\\"}":{".":{},"f:ip":{}}},\
    "f:startTime":{}}}
    """

  /// What tells one pod from the others.
  private struct Identity {
    let fleet: String
    let set: String
    let name: String
    let uid: String
    let setUID: String
    let version: String
    let node: String
    let address: String

    init(_ index: Int) {
      let fleetNumber = index / 10
      fleet = "reviewers-\(fleetNumber)"
      set = "\(fleet)-\(SyntheticPods.letters(fleetNumber &* 7_919 &+ 13, 10))"
      name = "\(set)-\(SyntheticPods.letters(index &* 104_729 &+ 7, 5))"
      uid = SyntheticPods.uid(index)
      setUID = SyntheticPods.uid(fleetNumber &+ 1_000_003)
      version = "\(100_000 + index)"
      node = "ip-10-0-\(index % 100)-17.eu-central-1.compute.internal"
      address = "10.244.\(index % 200).\(index / 200 % 250 + 2)"
    }
  }

  /// `PodList` as JSON.
  func json() -> [UInt8] {
    var text = #"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"200000"},"items":["#
    text.reserveCapacity(count * 6_000)
    for index in 0..<count {
      if index > 0 { text += "," }
      text += Self.json(Identity(index))
    }
    return Array((text + "]}\n").utf8)
  }

  /// `PodList` in Kubernetes' protobuf encoding, with the envelope.
  func protobuf() -> [UInt8] {
    var list = ProtobufWriter()
    list.message(1) { $0.text(2, "200000") }
    for index in 0..<count { list.message(2) { Self.write(Identity(index), to: &$0) } }
    var envelope = ProtobufWriter()
    envelope.message(1) {
      $0.text(1, "v1")
      $0.text(2, "PodList")
    }
    envelope.blob(2, list.bytes)
    envelope.text(3, "")
    envelope.text(4, "")
    return [0x6B, 0x38, 0x73, 0x00] + envelope.bytes
  }

  // MARK: JSON

  private static func json(_ pod: Identity) -> String {
    let time = created.rfc3339
    return
      #"{"metadata":{"name":"\#(pod.name)","generateName":"\#(pod.set)-","namespace":"agents","uid":"\#(pod.uid)","#
      + #""resourceVersion":"\#(pod.version)","creationTimestamp":"\#(time)","labels":{"app":"\#(pod.fleet)","#
      + #""pod-template-hash":"\#(pod.set.suffix(10))"},"annotations":{"prometheus.io/port":"9090","#
      + #""prometheus.io/scrape":"true"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","#
      + #""name":"\#(pod.set)","uid":"\#(pod.setUID)","controller":true,"blockOwnerDeletion":true}],"#
      + #""managedFields":[\#(managed("kube-controller-manager", managedByKCM, time)),"#
      + #"\#(managed("kubelet", managedByKubelet, time))]},"# + spec(pod) + "," + status(pod, time) + "}"
  }

  private static func managed(_ manager: String, _ fields: String, _ time: String) -> String {
    #"{"manager":"\#(manager)","operation":"Update","apiVersion":"v1","time":"\#(time)","fieldsType":"FieldsV1","#
      + #""fieldsV1":\#(fields)}"#
  }

  private static func spec(_ pod: Identity) -> String {
    let variables = environment.map { #"{"name":"\#($0.0)","value":"\#($0.1)"}"# }.joined(separator: ",")
    let token =
      #"{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}"#
    return #""spec":{"volumes":[{"name":"work","emptyDir":{}},{"name":"kube-api-access-x7k2p","projected":{"sources":"#
      + #"[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","#
      + #""items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}],"containers":[{"name":"worker","#
      + #""image":"\#(image)","env":[\#(variables)],"resources":{"limits":{"memory":"1Gi"},"requests":{"cpu":"250m","#
      + #""memory":"512Mi"}},"volumeMounts":[{"name":"work","mountPath":"/work"},\#(token)],"#
      + #""terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","#
      + #""imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":1800,"#
      + #""dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","#
      + #""nodeName":"\#(pod.node)","securityContext":{},"schedulerName":"default-scheduler","tolerations":"#
      + #"[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},"#
      + #"{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"#
      + #""priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}"#
  }

  private static func status(_ pod: Identity, _ time: String) -> String {
    let states = conditions.map {
      #"{"type":"\#($0)","status":"True","lastProbeTime":null,"lastTransitionTime":"\#(time)"}"#
    }
    return #""status":{"phase":"Running","conditions":[\#(states.joined(separator: ","))],"hostIP":"10.0.0.17","#
      + #""podIP":"\#(pod.address)","podIPs":[{"ip":"\#(pod.address)"}],"startTime":"\#(time)","containerStatuses":"#
      + #"[{"name":"worker","state":{"running":{"startedAt":"\#(time)"}},"lastState":{},"ready":true,"#
      + #""restartCount":1,"image":"\#(image)","imageID":"\#(imageID)","#
      + #""containerID":"containerd://\#(pod.uid)\#(pod.uid)","started":true}],"qosClass":"Burstable"}"#
  }

  // MARK: Protobuf

  private static func write(_ pod: Identity, to writer: inout ProtobufWriter) {
    let seconds = Int(created.secondsSinceEpoch)
    writer.message(1) { metadata in
      metadata.text(1, pod.name)
      metadata.text(2, "\(pod.set)-")
      metadata.text(3, "agents")
      metadata.text(4, "")
      metadata.text(5, pod.uid)
      metadata.text(6, pod.version)
      metadata.number(7, 0)
      metadata.time(8, seconds)
      metadata.entry(11, "app", pod.fleet)
      metadata.entry(11, "pod-template-hash", String(pod.set.suffix(10)))
      metadata.entry(12, "prometheus.io/port", "9090")
      metadata.entry(12, "prometheus.io/scrape", "true")
      metadata.message(13) {
        $0.text(1, "ReplicaSet")
        $0.text(3, pod.set)
        $0.text(4, pod.setUID)
        $0.text(5, "apps/v1")
        $0.number(6, 1)
        $0.number(7, 1)
      }
      for (manager, fields) in [("kube-controller-manager", managedByKCM), ("kubelet", managedByKubelet)] {
        metadata.message(17) {
          $0.text(1, manager)
          $0.text(2, "Update")
          $0.text(3, "v1")
          $0.time(4, seconds)
          $0.text(6, "FieldsV1")
          $0.message(7) { $0.text(1, fields) }
        }
      }
    }
    writer.message(2) { writeSpec(pod, to: &$0) }
    writer.message(3) { writeStatus(pod, seconds, to: &$0) }
  }

  private static func writeSpec(_ pod: Identity, to spec: inout ProtobufWriter) {
    spec.message(1) {
      $0.text(1, "work")
      $0.message(2) { $0.message(2) { $0.text(1, "") } }
    }
    spec.message(1) {
      $0.text(1, "kube-api-access-x7k2p")
      $0.message(2) { source in
        source.message(26) { projected in
          projected.message(1) {
            $0.message(4) {
              $0.number(2, 3607)
              $0.text(3, "token")
            }
          }
          projected.number(2, 420)
        }
      }
    }
    spec.message(2) { writeContainer(to: &$0) }
    spec.text(3, "Always")
    spec.number(4, 1800)
    spec.text(6, "ClusterFirst")
    spec.text(8, "default")
    spec.text(9, "default")
    spec.text(10, pod.node)
    spec.message(14) { _ in }
    spec.text(19, "default-scheduler")
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
      spec.message(22) {
        $0.text(1, key)
        $0.text(2, "Exists")
        $0.text(3, "")
        $0.text(4, "NoExecute")
        $0.number(5, 300)
      }
    }
    spec.number(25, 0)
    spec.number(30, 1)
    spec.text(31, "PreemptLowerPriority")
  }

  private static func writeContainer(to container: inout ProtobufWriter) {
    container.text(1, "worker")
    container.text(2, image)
    for (name, value) in environment { container.entry(7, name, value) }
    container.message(8) {
      $0.quantity(1, "memory", "1Gi")
      $0.quantity(2, "cpu", "250m")
      $0.quantity(2, "memory", "512Mi")
    }
    container.message(9) {
      $0.text(1, "work")
      $0.number(2, 0)
      $0.text(3, "/work")
    }
    container.message(9) {
      $0.text(1, "kube-api-access-x7k2p")
      $0.number(2, 1)
      $0.text(3, "/var/run/secrets/kubernetes.io/serviceaccount")
    }
    container.text(13, "/dev/termination-log")
    container.text(14, "IfNotPresent")
    container.text(20, "File")
  }

  private static func writeStatus(_ pod: Identity, _ seconds: Int, to status: inout ProtobufWriter) {
    status.text(1, "Running")
    for condition in conditions {
      status.message(2) {
        $0.text(1, condition)
        $0.text(2, "True")
        $0.message(3) { _ in }
        $0.time(4, seconds)
        $0.text(5, "")
        $0.text(6, "")
      }
    }
    status.text(5, "10.0.0.17")
    status.text(6, pod.address)
    status.time(7, seconds)
    status.message(8) {
      $0.text(1, "worker")
      $0.message(2) { $0.message(2) { $0.time(1, seconds) } }
      $0.message(3) { _ in }
      $0.number(4, 1)
      $0.number(5, 1)
      $0.text(6, image)
      $0.text(7, imageID)
      $0.text(8, "containerd://\(pod.uid)\(pod.uid)")
      $0.number(9, 1)
    }
    status.text(9, "Burstable")
    status.message(12) { $0.text(1, pod.address) }
  }

  // MARK: Names

  private static func letters(_ seed: Int, _ count: Int) -> String {
    let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")
    var rest = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15
    var text = ""
    for _ in 0..<count {
      text.append(alphabet[Int(rest % UInt64(alphabet.count))])
      rest /= UInt64(alphabet.count)
    }
    return text
  }

  private static func uid(_ seed: Int) -> String {
    let hash = UInt64(bitPattern: Int64(seed &+ 1)) &* 0xBF58_476D_1CE4_E5B9
    let digits = String(repeating: "0", count: 16 - String(hash, radix: 16).count) + String(hash, radix: 16)
    let tail = String(hash ^ 0xFFFF_0000, radix: 16).suffix(12)
    return "\(digits.prefix(8))-\(digits.dropFirst(8).prefix(4))-4\(digits.suffix(3))-9abc-"
      + String(repeating: "0", count: 12 - tail.count) + tail
  }
}
