import KubernetesCore
import Testing

@Suite("JSON values")
struct JSONValueTests {
  @Test("Values print with sorted keys and read back")
  func roundTrips() throws {
    let value: JSONValue = ["b": [1, 2.5, .null, true], "a": ["z": "é/\"", "y": [:]]]
    let bytes = try KubernetesJSON.encode(value)
    #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":{"y":{},"z":"é/\""},"b":[1,2.5,null,true]}"#)
    #expect(try KubernetesJSON.decode(JSONValue.self, from: bytes) == value)
    #expect(value[path: ["b", "1"]] == .double(2.5))
    #expect(value[path: ["a", "x"]] == nil)
    #expect(value["b"]?[9] == nil)
  }

  @Test(
    "A merge patch holds only what differs, and applying it gives the new value",
    arguments: [
      (["a": 1, "b": 2], ["a": 1, "b": 3], ["b": 3]), (["a": 1], [:], ["a": .null]),
      (["a": ["x": 1, "y": 2]], ["a": ["x": 1]], ["a": ["y": .null]]), ([:], ["a": ["b": [1]]], ["a": ["b": [1]]]),
      (["a": [1, 2]], ["a": [1]], ["a": [1]]), (["a": 1], ["a": ["b": 1]], ["a": ["b": 1]]), (1, 2, 2),
    ] as [(JSONValue, JSONValue, JSONValue)])
  func mergePatches(_ old: JSONValue, _ new: JSONValue, _ patch: JSONValue) {
    #expect(JSONValue.mergePatch(from: old, to: new) == patch)
    #expect(old.applyingMergePatch(patch) == new)
    #expect(JSONValue.mergePatch(from: new, to: new) == nil)
  }

  @Test("A decoding error names the place in the document")
  func namesPlaces() {
    let error = #expect(throws: KubernetesError.self) {
      try KubernetesJSON.decode(
        ObjectList<PartialObjectMetadata>.self, from: Array(#"{"items":[{},{"metadata":{"name":5}}]}"#.utf8))
    }
    #expect(error?.code == .malformedResponse)
    #expect(error?.message.contains("items[1].metadata.name") == true)
    let itemByItem = #expect(throws: KubernetesError.self) {
      try KubernetesJSON.decodeList(
        of: PartialObjectMetadata.self, from: Array(#"{"items":[{},{"metadata":{"name":5}}]}"#.utf8))
    }
    #expect(itemByItem?.code == .malformedResponse)
    #expect(itemByItem?.message.contains("items[1].metadata.name") == true)
  }

  @Test(
    "A list read item by item is the list read as a document",
    arguments: [
      #"{"kind":"L","metadata":{"resourceVersion":"7","continue":"t","remainingItemCount":3,"x":[{}]},"items":["#
        + #"{"metadata":{"name":"a"}},{"other":{"items":[1]}},{"metadata":{"name":"b","labels":{"k":"v"}}}],"z":[[]]}"#,
      #"{"items":[{"metadata":{"name":"a"}}],"metadata":{"resourceVersion":"7"}}"#, #"{"metadata":{}}"#, "{}",
      #" { "items" : null , "metadata" : null } "#, #"{"items":[]}"#,
    ])
  func listsItemByItem(json: String) throws {
    let bytes = Array(json.utf8)
    let list = try KubernetesJSON.decodeList(of: PartialObjectMetadata.self, from: bytes)
    #expect(try list == KubernetesJSON.decode(ObjectList<PartialObjectMetadata>.self, from: bytes))
  }

  @Test(
    "What is no list, or cut off, is refused item by item as well",
    arguments: ["", "[]", "null", #"{"items":{}}"#, #"{"items":[{}"#, #"{"items":[{}]}x"#, #"{"metadata":5}"#])
  func refusesLists(json: String) {
    let error = #expect(throws: KubernetesError.self) {
      try KubernetesJSON.decodeList(of: PartialObjectMetadata.self, from: Array(json.utf8))
    }
    #expect(error?.code == .malformedResponse)
  }
}

@Suite("Objects")
struct ObjectTests {
  static func decode<T: Decodable>(_ type: T.Type, _ json: String) throws -> T {
    try KubernetesJSON.decode(type, from: Array(json.utf8))
  }

  @Test("Metadata reads with null, absent and unknown fields, and writes only what it has")
  func metadata() throws {
    let json = """
      {"name":"a","namespace":"n","labels":null,"annotations":{"k":"v"},"selfLink":"x","finalizers":null,
      "creationTimestamp":"2026-11-25T01:30:00Z","deletionTimestamp":null,"generation":3,"resourceVersion":"77",
      "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}],
      "managedFields":[{"manager":"m","operation":"Apply","fieldsV1":{"f:spec":{"f:replicas":{}}}}]}
      """
    let metadata = try Self.decode(ObjectMeta.self, json)
    #expect(metadata.key == ObjectKey(namespace: "n", name: "a"))
    #expect(metadata.labels.isEmpty)
    #expect(metadata.controller?.name == "r")
    #expect(metadata.managedFields[0].fieldsV1?[path: ["f:spec", "f:replicas"]] == [:])
    #expect(metadata.creationTimestamp?.rfc3339 == "2026-11-25T01:30:00Z")
    #expect(
      try Self.decode(ObjectMeta.self, String(decoding: KubernetesJSON.encode(metadata), as: UTF8.self)) == metadata)
    #expect(try KubernetesJSON.encode(ObjectMeta(name: "a")) == Array(#"{"name":"a"}"#.utf8))
    #expect(try Self.decode(ObjectMeta.self, #"{"creationTimestamp":null}"#) == ObjectMeta())
  }

  @Test("A scale reads with zero left out and writes what the server needs")
  func scale() throws {
    let scale = try Self.decode(
      Scale.self,
      #"{"kind":"Scale","metadata":{"name":"web","resourceVersion":"5"},"spec":{},"status":{"replicas":2,"selector":"a=b"}}"#
    )
    #expect(
      scale
        == Scale(metadata: .init(name: "web", resourceVersion: "5"), replicas: 0, observedReplicas: 2, selector: "a=b"))
    var wanted = scale
    wanted.replicas = 4
    #expect(
      String(decoding: try KubernetesJSON.encode(wanted), as: UTF8.self)
        == #"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"web","resourceVersion":"5"},"spec":{"replicas":4},"status":{"replicas":2,"selector":"a=b"}}"#
    )
    #expect(try Self.decode(Scale.self, #"{"metadata":{"name":"x"}}"#).replicas == 0)
    #expect(throws: KubernetesError.self) { try Self.decode(Scale.self, #"{"spec":{"replicas":"four"}}"#) }
  }

  @Test("A lease keeps its microseconds")
  func lease() throws {
    let json =
      #"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","namespace":"n"},"spec":{"acquireTime":"2026-11-25T01:30:00.000001Z","holderIdentity":"me","leaseDurationSeconds":15,"leaseTransitions":2,"renewTime":"2026-11-25T01:30:05.123456Z"}}"#
    let lease = try Self.decode(Lease.self, json)
    #expect(lease.spec.holderIdentity == "me")
    #expect(String(decoding: try KubernetesJSON.encode(lease), as: UTF8.self) == json)
  }

  @Test("An event keeps its fields and refers to its object")
  func event() throws {
    let owner = Lease(metadata: ObjectMeta(name: "l", namespace: "n", uid: "u"))
    let event = CoreEvent(
      metadata: ObjectMeta(name: "e", namespace: "n"), involvedObject: ObjectReference(to: owner), reason: "Scaled",
      message: "20→24", type: .warning, firstTimestamp: Timestamp(secondsSinceEpoch: 1),
      lastTimestamp: Timestamp(secondsSinceEpoch: 2), reportingComponent: "c", source: .init(component: "c"))
    #expect(event.involvedObject.apiVersion == "coordination.k8s.io/v1")
    #expect(try KubernetesJSON.decode(CoreEvent.self, from: KubernetesJSON.encode(event)) == event)
  }

  @Test("Custom metrics of both versions and external metrics read")
  func metrics() throws {
    let old = try Self.decode(
      MetricValueList.self,
      #"{"items":[{"describedObject":{"kind":"Pod","name":"p"},"metricName":"q","window":60,"timestamp":"2026-11-25T01:30:00Z","value":"500m","selector":null}]}"#
    ).items[0]
    #expect(old.metricName == "q" && old.windowSeconds == 60 && old.value.milliValue == 500)
    let new = try Self.decode(
      MetricValueList.self,
      #"{"items":[{"describedObject":{"kind":"Pod","name":"p"},"metric":{"name":"q","selector":{"matchLabels":{"a":"b"}}},"timestamp":"2026-11-25T01:30:00Z","windowSeconds":30,"value":"3"}]}"#
    ).items[0]
    #expect(new.metricName == "q" && new.windowSeconds == 30 && new.selector?.matchLabels == ["a": "b"])
    #expect(try KubernetesJSON.decode(MetricValue.self, from: KubernetesJSON.encode(new)) == new)
    let external = try Self.decode(
      ExternalMetricValueList.self,
      #"{"items":[{"metricName":"m","metricLabels":null,"timestamp":"2026-11-25T01:30:00Z","value":"7"}]}"#)
    #expect(external.items[0].value.value == 7)
  }

  @Test("Discovery tells the plural name of a kind, not its subresource")
  func discovery() throws {
    let list = try Self.decode(
      APIResourceList.self,
      #"{"groupVersion":"apps/v1","resources":[{"name":"deployments/scale","kind":"Deployment","namespaced":true,"verbs":["get"]},{"name":"deployments","kind":"Deployment","namespaced":true,"verbs":["list","watch"]}]}"#
    )
    #expect(list.resource(kind: "Deployment")?.name == "deployments")
    #expect(list.resource(kind: "Foo") == nil)
    #expect(
      try Self.decode(VersionInfo.self, #"{"major":"1","minor":"34+","gitVersion":"v1.34.1-x"}"#).minorNumber == 34)
  }

  @Test(
    "A deletion cost reads as the ReplicaSet controller reads it",
    arguments: [
      ("0", Int32(0)), ("-5", -5), ("2147483647", .max), ("+1", nil), ("01", nil), ("2147483648", nil), ("x", nil),
    ])
  func deletionCost(_ text: String, _ cost: Int32?) {
    #expect(Pod.deletionCost(fromAnnotation: text) == cost)
  }

  @Test("Pods of one workload share one template and one label table; a full interner forgets, no more")
  func interns() throws {
    func pod(_ name: String, _ app: String) -> Pod {
      Pod(
        key: ObjectKey(namespace: "n", name: name), labels: ["app": app],
        template: PodTemplate(containers: [PodContainer(name: app, requests: .init(cpu: 100, memory: 1))]))
    }
    var interner = PodInterner(capacity: 2)
    let first = interner.intern(pod("a", "web"))
    let second = interner.intern(pod("b", "web"))
    #expect(first.template === second.template)
    for index in 0..<5 {
      let other = pod("c\(index)", "app\(index)")
      #expect(interner.intern(other) == other)
    }
    #expect(interner.intern(pod("d", "web")).template == first.template)
  }
}
