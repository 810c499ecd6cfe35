import KubernetesCore
import KubernetesRuntime
import Logging
import TestSupport
import Testing

@Suite("Pod informer codec")
struct PodInformerCodecTests {
  private static let headers = [
    APIRequest.HeaderField("Content-Type", "application/vnd.kubernetes.protobuf;stream=watch")
  ]

  /// One length-delimited protobuf field.
  private func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
    var length: [UInt8] = []
    var rest = content.count
    repeat {
      length.append(UInt8(rest & 0x7F) | (rest > 0x7F ? 0x80 : 0))
      rest >>= 7
    } while rest > 0
    return [number << 3 | 2] + length + content
  }

  private func text(_ number: UInt8, _ content: String) -> [UInt8] { field(number, Array(content.utf8)) }

  private func enveloped(_ kind: String, _ content: [UInt8]) -> [UInt8] {
    Array("k8s\0".utf8) + field(1, text(1, "v1") + text(2, kind)) + field(2, content)
  }

  private func pod(_ name: String, _ version: String) -> [UInt8] {
    field(1, text(1, name) + text(3, "n") + text(5, name) + text(6, version))
  }

  @Test("Pods are listed and watched as protobuf, and a refusal in protobuf is understood")
  func protobuf() async throws {
    let transport = ScriptedTransport()
    let time = ManualTimeSource()
    let notifications = Inbox<InformerNotification>()
    let stream = ScriptedStream(headers: Self.headers)
    let refusal = enveloped("Status", text(2, "Failure") + text(3, "wait a moment") + text(4, "TooManyRequests"))
    let list = enveloped("PodList", field(1, text(2, "5")) + field(2, pod("a", "3")))
    for (status, body) in [(429, refusal), (200, list)] {
      transport.expect(
        .get, "/api/v1/pods", .response(APIResponse(head: .init(status: status, headers: Self.headers), body: body))
      ) {
        $0.headers.contains { $0.name == "Accept" && $0.value.hasPrefix("application/vnd.kubernetes.protobuf") }
      }
    }
    transport.expect(.get, "/api/v1/pods", .stream(stream))
    let informer = Informer(
      transport: transport, codec: PodInformerCodec(), time: time, random: { 0 },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) { notifications.put($0) }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await informer.run() }
      await time.nextSleep()
      #expect(informer.metrics.lastError?.reason == "TooManyRequests")
      time.advanceToNextSleeper()
      #expect(await notifications.next(2) == [.changed(ObjectKey(namespace: "n", name: "a"), .added), .synced])
      let event = text(1, "ADDED") + field(2, field(1, enveloped("Pod", pod("b", "6"))))
      stream.send([0, 0, 0, UInt8(event.count)])
      stream.send(event)
      #expect(await notifications.next() == .changed(ObjectKey(namespace: "n", name: "b"), .added))
      #expect(informer.store.objects().map(\.resourceVersion) == ["3", "6"])
      group.cancelAll()
    }
  }

  @Test("A server that answers with JSON all the same is understood")
  func json() throws {
    let codec = PodInformerCodec()
    let pod = #"{"metadata":{"namespace":"n","name":"a","uid":"u","resourceVersion":"3"}}"#
    let list = try codec.decodeList(
      Array(#"{"metadata":{"resourceVersion":"5"},"items":[\#(pod)]}"#.utf8), contentType: "application/json")
    #expect(list.items.map(\.key.name) == ["a"])
    let event = try codec.decodeEvent(Array(#"{"type":"DELETED","object":\#(pod)}"#.utf8), contentType: nil)
    #expect(event == .deleted(list.items[0]))
  }
}
