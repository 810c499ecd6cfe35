import KubernetesCore
import Synchronization
import Testing

@testable import ScalingController

/// Pods that slipped through the webhook are told of, in a condition, until there are none.
struct EmbedMissingTests {
  private func loop(_ embed: String, embedded: @escaping @Sendable (Int) -> Bool) throws -> ControllerLoop {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking(), more: embed), replicas: 10)
    loop.set("tasks", .number("10"))
    loop.pods = { replicas, _ in
      FakePod.ready(replicas, percent: nil).enumerated().map { index, pod in
        var pod = pod
        pod.hasSidecar = embedded(index)
        return pod
      }
    }
    return loop
  }

  @Test("The condition names how many pods lack the sidecar and the way out, and goes with the last of them")
  func condition() async throws {
    let mended = Atomic(false)
    let loop = try loop(#""embed":{"mode":"Sidecar"}"#) { $0 >= 3 || mended.load(ordering: .relaxed) }
    try await loop.pass()
    let missing = try #require(try loop.condition("EmbedMissing"))
    #expect(missing.status == "True" && missing.reason == "PodsWithoutSidecar")
    #expect(missing.message.hasPrefix("3 of 10 pods run without the sidecar (w-000 for one)"))
    #expect(missing.message.contains("kubectl rollout restart Deployment/fleet"))
    mended.store(true, ordering: .relaxed)
    try await loop.pass()
    let after = try #require(try loop.condition("EmbedMissing"))
    #expect(after.status == "False" && after.reason == "AllEmbedded")
  }

  @Test(
    "A fleet that doesn't ask, or whose pods all have it, has no such condition",
    arguments: ["", "None", "Library", "Sidecar"])
  func none(_ mode: String) async throws {
    let embed = mode.isEmpty ? "" : #""embed":{"mode":"\#(mode)"}"#
    let loop = try loop(embed) { _ in mode == "Sidecar" }
    try await loop.pass()
    #expect(try loop.condition("EmbedMissing") == nil)
  }
}
