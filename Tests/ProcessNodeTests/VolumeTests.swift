import Foundation
import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@testable import ProcessNode

@Suite struct VolumeTests {
  private func with(_ volumes: [VolumeManifest], _ body: (PodVolumes, FakePodAPI) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("volumes-\(UUID().uuidString)").path
    defer { Files.remove(folder) }
    let api = FakePodAPI()
    // The API in memory gives tokens that are good until an hour after this clock's beginning.
    let time = ManualTimeSource()
    var pod = LifecycleRig.pod([container("main")])
    pod.volumes = volumes
    try await body(
      PodVolumes(
        objects: PodObjects(client: APIClient(transport: api, time: time)), time: time, pod: pod, folder: folder), api)
  }

  private let facts = LaunchFacts(podIP: "127.64.0.1", hostIP: "127.0.0.1")

  @Test("A token is renewed after four fifths of its life, in place")
  func tokens() async throws {
    let source = FileSource.token(audience: nil, expirationSeconds: 3_600, path: "a/token")
    try await with([VolumeManifest(name: "t", content: .files([source], mode: 0o600))]) { volumes, _ in
      var token = try #require(try await volumes.make(facts).tokens.first)
      #expect(token.renewAt == MonotonicTime(sinceOrigin: .seconds(2_880)))
      #expect(Files.read(token.path) == Array("token-1".utf8))
      try await volumes.renew(&token)
      #expect(Files.read(token.path) == Array("token-2".utf8))
      let mode = try FileManager.default.attributesOfItem(atPath: token.path)[.posixPermissions] as? Int
      #expect(mode == 0o600)
    }
  }

  @Test(
    "What can't be made, or leads out of the volume, says which volume it is",
    arguments: [
      VolumeManifest.Content.unsupported("nfs"), .hostPath(path: "/no/such/folder", type: "Directory"),
      .files([.object(isSecret: true, name: "absent", items: [], isOptional: false)], mode: 0o644),
      .files([.downward([DownwardItem(path: "../x", source: .field("metadata.name"))])], mode: 0o644),
      .files([.token(audience: nil, expirationSeconds: 600, path: "/etc/token")], mode: 0o644),
    ])
  func refused(_ content: VolumeManifest.Content) async throws {
    try await with([VolumeManifest(name: "broken", content: content)]) { volumes, _ in
      do {
        _ = try await volumes.make(facts)
        Issue.record("it was made")
      } catch let error as NodeError {
        #expect(error.message.hasPrefix("volume \"broken\": "))
      }
    }
  }

  @Test("Keys become files, chosen ones under their own paths and modes")
  func files() async throws {
    let items = [FileItem(key: "b", path: "deep/b", mode: 0o400)]
    let sources: [FileSource] = [
      .object(isSecret: true, name: "s", items: [], isOptional: false),
      .object(isSecret: false, name: "m", items: items, isOptional: false),
      .object(isSecret: false, name: "absent", items: [], isOptional: true),
      .downward([DownwardItem(path: "name", source: .field("metadata.name"))]),
    ]
    try await with([VolumeManifest(name: "v", content: .files(sources, mode: 0o640))]) { volumes, api in
      api.put("secrets/s", ["data": ["x": "//79"]])
      api.put("configmaps/m", ["data": ["a": "no", "b": "yes"]])
      let folder = try #require(try await volumes.make(facts).folders["v"])
      #expect(Files.names(in: folder) == ["deep", "name", "x"])
      #expect(Files.read("\(folder)/x") == [0xff, 0xfe, 0xfd])
      #expect(Files.read("\(folder)/deep/b") == Array("yes".utf8))
      #expect(Files.read("\(folder)/name") == Array("pod".utf8))
      let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/deep/b")[.posixPermissions] as? Int
      #expect(mode == 0o400)
    }
  }
}
