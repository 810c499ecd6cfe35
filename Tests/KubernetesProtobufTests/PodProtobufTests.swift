import KubernetesCore
import KubernetesProtobuf
import SwiftProtobuf
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The same pods in both encodings: JSON as the API server writes it, and the wire messages made by hand beside it.
enum PodFixture {
  static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]

  static let json = """
    {"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-7d4b9c6f5-x2x4z","generateName":"web-7d4b9c6f5-",
    "namespace":"shop","uid":"0a1b2c3d-0000-1111-2222-333344445555","resourceVersion":"81726",
    "creationTimestamp":"2026-11-25T01:30:00Z","deletionTimestamp":"2026-11-25T01:45:30Z",
    "labels":{"app":"web","pod-template-hash":"7d4b9c6f5"},
    "annotations":{"controller.kubernetes.io/pod-deletion-cost":"-7","other":"x"},
    "ownerReferences":[{"apiVersion":"v1","kind":"Foo","name":"not-the-controller","uid":"f"},
    {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d4b9c6f5","uid":"r","controller":true}]},
    "spec":{"nodeName":"node-with-a-long-name-1","resources":{"requests":{"cpu":"2","memory":"1Gi"}},
    "containers":[{"name":"web","image":"web:1","resources":{"limits":{"cpu":"1"},
    "requests":{"cpu":"250m","memory":"64Mi","nvidia.com/gpu":"1"}}},{"name":"plain","resources":{}}],
    "initContainers":[{"name":"setup"},{"name":"proxy","restartPolicy":"Always",
    "resources":{"requests":{"cpu":"10m"}}}],"volumes":[{"name":"v","emptyDir":{}}]},
    "status":{"phase":"Running","startTime":"2026-11-25T01:30:02Z","hostIP":"10.0.0.1","conditions":[
    {"type":"Ready","status":"False","lastProbeTime":null,"lastTransitionTime":"2026-11-25T01:31:00Z","reason":"x"},
    {"type":"PodScheduled","status":"True","lastTransitionTime":"2026-11-25T01:30:01Z"}],
    "containerStatuses":[{"name":"web","restartCount":3,"ready":false},{"name":"plain","restartCount":0}],
    "initContainerStatuses":[{"name":"proxy","restartCount":2}]}}
    """

  /// The smallest pod that a server stores: pending, without conditions.
  static let bareJSON =
    #"{"metadata":{"name":"bare","namespace":"shop","creationTimestamp":null},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Pending"}}"#

  static func time(_ text: String) throws -> WireTime {
    try WireTime.with { $0.seconds = try Timestamp(rfc3339: text).secondsSinceEpoch }
  }

  static func requests(_ amounts: [String: String]) -> WireResourceRequirements {
    WireResourceRequirements.with { wire in
      wire.requests = amounts.mapValues { text in WireQuantity.with { $0.string = text } }
    }
  }

  static func metadata() throws -> WireObjectMeta {
    try WireObjectMeta.with {
      $0.name = "web-7d4b9c6f5-x2x4z"
      $0.namespace = "shop"
      $0.uid = "0a1b2c3d-0000-1111-2222-333344445555"
      $0.resourceVersion = "81726"
      $0.creationTimestamp = try time("2026-11-25T01:30:00Z")
      $0.deletionTimestamp = try time("2026-11-25T01:45:30Z")
      $0.labels = ["app": "web", "pod-template-hash": "7d4b9c6f5"]
      $0.annotations = ["controller.kubernetes.io/pod-deletion-cost": "-7", "other": "x"]
      $0.ownerReferences = [
        .with {
          $0.kind = "Foo"
          $0.name = "not-the-controller"
          $0.uid = "f"
        },
        .with {
          $0.kind = "ReplicaSet"
          $0.name = "web-7d4b9c6f5"
          $0.uid = "r"
          $0.controller = true
        },
      ]
    }
  }

  static func wire() throws -> WirePod {
    var pod = WirePod()
    pod.metadata = try metadata()
    pod.spec = .with {
      $0.nodeName = "node-with-a-long-name-1"
      $0.resources = requests(["cpu": "2", "memory": "1Gi"])
      $0.containers = [
        .with {
          $0.name = "web"
          $0.resources = requests(["cpu": "250m", "memory": "64Mi", "nvidia.com/gpu": "1"])
        },
        .with {
          $0.name = "plain"
          $0.resources = requests([:])
        },
      ]
      $0.initContainers = [
        .with { $0.name = "setup" },
        .with {
          $0.name = "proxy"
          $0.restartPolicy = "Always"
          $0.resources = requests(["cpu": "10m"])
        },
      ]
    }
    pod.status = try .with {
      $0.phase = "Running"
      $0.startTime = try time("2026-11-25T01:30:02Z")
      $0.conditions = [
        try .with {
          $0.type = "Ready"
          $0.status = "False"
          $0.lastTransitionTime = try time("2026-11-25T01:31:00Z")
        },
        try .with {
          $0.type = "PodScheduled"
          $0.status = "True"
          $0.lastTransitionTime = try time("2026-11-25T01:30:01Z")
        },
      ]
      $0.containerStatuses = [.with { $0.restartCount = 3 }, .with { $0.restartCount = 0 }]
      $0.initContainerStatuses = [.with { $0.restartCount = 2 }]
    }
    return pod
  }

  static func bareWire() -> WirePod {
    .with {
      $0.metadata = .with {
        $0.name = "bare"
        $0.namespace = "shop"
        // Go's zero time: a message without fields.
        $0.creationTimestamp = WireTime()
      }
      $0.spec = .with { $0.containers = [.with { $0.name = "c" }] }
      $0.status = .with { $0.phase = "Pending" }
    }
  }

  static func envelope(_ kind: String, _ message: some SwiftProtobuf.Message) throws -> [UInt8] {
    let raw: Data = try message.serializedBytes()
    let unknown = WireUnknown.with {
      $0.typeMeta = .with {
        $0.apiVersion = "v1"
        $0.kind = kind
      }
      $0.raw = raw
    }
    return magic + (try unknown.serializedBytes() as [UInt8])
  }
}

@Suite("Pods in protobuf")
struct PodProtobufTests {
  @Test("A pod has the same value from protobuf as from JSON")
  func equalPods() throws {
    var interner = PodInterner()
    let fromJSON = try PodJSON.decode(Array(PodFixture.json.utf8), interner: &interner)
    let fromProtobuf = try PodProtobuf.decode(PodFixture.envelope("Pod", PodFixture.wire()), interner: &interner)
    #expect(fromProtobuf == fromJSON)
    #expect(fromProtobuf.template === fromJSON.template)
    #expect(fromJSON.controller == ControllerReference(kind: "ReplicaSet", name: "web-7d4b9c6f5", uid: "r"))
    #expect(fromJSON.containers.map(\.role) == [.app, .app, .`init`, .sidecar])
    #expect(fromJSON.containers[0].requests.cpu == 250)
    #expect(fromJSON.containers[0].requests["memory"] == 67_108_864_000)
    #expect(fromJSON.containers[0].requests["nvidia.com/gpu"] == 1_000)
    #expect(fromJSON.template.podRequests?.cpu == 2_000)
    #expect(fromJSON.deletionCost == -7)
    #expect(fromJSON.restartCount == 5)
    #expect(fromJSON.ready?.status == .false)
    #expect(fromJSON.isTerminating && !fromJSON.isReady)
    let bare = try PodProtobuf.decode(PodFixture.envelope("Pod", PodFixture.bareWire()), interner: &interner)
    #expect(try bare == PodJSON.decode(Array(PodFixture.bareJSON.utf8), interner: &interner))
    #expect(bare.creationTimestamp == nil && bare.ready == nil)
  }

  @Test("A list has the same items, version and token")
  func equalLists() throws {
    var interner = PodInterner()
    let json =
      #"{"kind":"PodList","metadata":{"resourceVersion":"99","continue":"tok","remainingItemCount":4},"items":[\#(PodFixture.json),\#(PodFixture.bareJSON)]}"#
    let wire = try WirePodList.with {
      $0.metadata = .with {
        $0.resourceVersion = "99"
        $0.continue = "tok"
        $0.remainingItemCount = 4
      }
      $0.items = [try PodFixture.wire().serializedData(), try PodFixture.bareWire().serializedData()]
    }
    let fromProtobuf = try PodProtobuf.decodeList(PodFixture.envelope("PodList", wire), interner: &interner)
    #expect(try fromProtobuf == PodJSON.decodeList(Array(json.utf8), interner: &interner))
    #expect(fromProtobuf.metadata.continueToken == "tok")
  }

  @Test("Frames of a watch give the same events, bare and in an envelope")
  func equalFrames() throws {
    var interner = PodInterner()
    func frame(_ type: String, _ object: [UInt8]) -> WireWatchEvent {
      .with {
        $0.type = type
        $0.object = .with { $0.raw = Data(object) }
      }
    }
    let pod = try PodFixture.envelope("Pod", PodFixture.wire())
    for type in ["ADDED", "MODIFIED", "DELETED"] {
      let wire = frame(type, pod)
      let json = #"{"type":"\#(type)","object":\#(PodFixture.json)}"#
      let expected = try PodJSON.decodeWatchFrame(Array(json.utf8), interner: &interner)
      #expect(try PodProtobuf.decodeWatchFrame(wire.serializedBytes(), interner: &interner) == expected)
      let wrapped = try PodFixture.envelope("WatchEvent", wire)
      #expect(try PodProtobuf.decodeWatchFrame(wrapped, interner: &interner) == expected)
    }
    let mark = WirePod.with { $0.metadata = .with { $0.resourceVersion = "123" } }
    let bookmark = frame("BOOKMARK", try PodFixture.envelope("Pod", mark))
    #expect(
      try PodProtobuf.decodeWatchFrame(bookmark.serializedBytes(), interner: &interner)
        == .bookmark(resourceVersion: "123", endsInitialEvents: false))
    let status = WireStatus.with {
      $0.status = "Failure"
      $0.reason = "Expired"
      $0.code = 410
    }
    let error = frame("ERROR", try PodFixture.envelope("Status", status))
    #expect(
      try PodProtobuf.decodeWatchFrame(error.serializedBytes(), interner: &interner)
        == .error(APIStatus(reason: "Expired", code: 410)))
  }

  @Test("Fields that aren't named in the messages are skipped")
  func skipsUnknownFields() throws {
    var interner = PodInterner()
    var raw: [UInt8] = try PodFixture.wire().serializedBytes()
    // Field 99, length-delimited, three bytes.
    raw += [0x9A, 0x06, 0x03, 1, 2, 3]
    let unknown = WireUnknown.with {
      $0.typeMeta = .with { $0.kind = "Pod" }
      $0.raw = Data(raw)
    }
    let bytes = PodFixture.magic + (try unknown.serializedBytes() as [UInt8])
    #expect(
      try PodProtobuf.decode(bytes, interner: &interner)
        == PodJSON.decode(Array(PodFixture.json.utf8), interner: &interner))
  }

  @Test("JSON, a wrong kind, cut bytes and a wrong quantity are errors that say so")
  func refuses() throws {
    var interner = PodInterner()
    func message(_ bytes: [UInt8]) -> String? {
      var interner = PodInterner()
      let error = #expect(throws: KubernetesError.self) { try PodProtobuf.decode(bytes, interner: &interner) }
      return error?.code == .malformedResponse ? error?.message : nil
    }
    #expect(message(Array(PodFixture.json.utf8))?.contains("Content-Type") == true)
    #expect(message(try PodFixture.envelope("PodList", WirePodList()))?.contains("PodList") == true)
    let whole = try PodFixture.envelope("Pod", PodFixture.wire())
    for count in 0..<whole.count { #expect(message(Array(whole[..<count])) != nil) }
    let wrong = WirePod.with {
      $0.spec.containers = [.with { $0.resources = PodFixture.requests(["cpu": "1x"]) }]
    }
    #expect(message(try PodFixture.envelope("Pod", wrong))?.contains("1x") == true)
    #expect(throws: KubernetesError.self) {
      try PodProtobuf.decodeWatchFrame(
        WireWatchEvent.with { $0.type = "FOO" }.serializedBytes(), interner: &interner)
    }
  }
}
