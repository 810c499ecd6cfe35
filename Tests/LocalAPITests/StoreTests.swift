import KubernetesCore
import LocalAPI
import Testing

@Suite("The local cluster's store")
struct StoreTests {
  private static func key(_ name: String) -> StoreKey {
    StoreKey(storage: "configmaps", namespace: "default", name: name)
  }

  private static func object(_ name: String, _ value: Int64) -> JSONValue {
    ["metadata": ["name": .string(name), "namespace": "default"], "data": .int(value)]
  }

  @Test("A list of an old version shows what was there then")
  func oldVersions() throws {
    var store = ObjectStore()
    store.put(Self.object("a", 1), at: Self.key("a"))
    let first = store.version
    store.put(Self.object("a", 2), at: Self.key("a"))
    store.put(Self.object("b", 1), at: Self.key("b"))
    store.remove(Self.key("a"))
    let then = try store.list("configmaps", namespace: nil, at: first)
    #expect(then.map(\.key.name) == ["a"])
    #expect(then.first?.object["data"] == 1)
    #expect(store.list("configmaps", namespace: nil).map(\.key.name) == ["b"])
  }

  @Test("The log is bounded, and what it has lost is said to be lost", arguments: [1, 3, 10])
  func boundedLog(limit: Int) throws {
    var store = ObjectStore(logLimit: limit)
    let start = store.version
    for value in 0..<Int64(limit * 3 + 1) {
      store.put(Self.object("a", value), at: Self.key("a"))
      let known = try store.changes(after: store.compacted, limit: .max)
      #expect(known.count <= limit)
      #expect(known.last?.version == store.version)
    }
    #expect(throws: VersionExpired.self) { try store.changes(after: start, limit: 10) }
    #expect(throws: VersionExpired.self) { try store.list("configmaps", namespace: nil, at: start) }
    #expect(try store.changes(after: store.version, limit: 10).isEmpty)
  }

  @Test("A snapshot brings back the objects, and versions go on behind it")
  func snapshot() throws {
    var cluster = Cluster()
    cluster.send("POST", "/apis/apps/v1/namespaces/default/deployments", Cluster.deployment("web", replicas: 2))
    cluster.settle()
    let text = cluster.state.store.snapshot.text
    let restored = Cluster(snapshot: try JSONValue(parsing: text))
    var resumed = try #require(restored)
    let pods = resumed.pods()
    #expect(pods.count == 2)
    #expect(resumed.state.store.version > cluster.state.store.version)
    let version = resumed.state.store.version
    resumed.settle()
    let after = resumed.pods()
    #expect(after.count == 2)
    #expect(resumed.state.store.version == version, "the controllers find nothing to do")
  }

  @Test("What is no snapshot is refused", arguments: [JSONValue.null, [], [:], ["version": "x", "objects": []]])
  func noSnapshot(document: JSONValue) {
    #expect(Cluster(snapshot: document) == nil)
  }
}

@Suite("Watches of the local cluster")
struct WatchTests {
  private let maps = "/api/v1/namespaces/default/configmaps"

  private func map(_ name: String, labels: JSONValue = [:]) -> JSONValue {
    ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": .string(name), "labels": labels]]
  }

  @Test("A watch that lags behind the log is told so")
  func lags() throws {
    var limits = ClusterState.Limits()
    limits.changes = 5
    var cluster = Cluster(limits: limits)
    let opened = cluster.watch(maps)
    let watch = try #require(opened)
    for index in 0..<10 { cluster.send("POST", maps, map("m\(index)")) }
    #expect(throws: VersionExpired.self) {
      try cluster.state.changes(for: watch, after: watch.version, at: cluster.now)
    }
  }

  @Test("After compaction an old version is refused with 410, and the present one is not")
  func compaction() {
    var cluster = Cluster()
    let before = cluster.state.store.version
    cluster.send("POST", maps, map("a"))
    cluster.compact()
    let old = cluster.send(
      "GET", maps, query: [(name: "watch", value: "1"), (name: "resourceVersion", value: "\(before)")])
    #expect(old.status == 410)
    #expect(old.document["reason"] == "Expired")
    let version = "\(cluster.state.store.version)"
    let opened = cluster.watch(maps, query: [(name: "resourceVersion", value: version)])
    #expect(opened != nil)
  }

  @Test("With a limit a watch is told everything in pieces, nothing twice")
  func pieces() throws {
    var cluster = Cluster()
    let opened = cluster.watch(maps)
    let watch = try #require(opened)
    for index in 0..<7 { cluster.send("POST", maps, map("m\(index)")) }
    var version = watch.version
    var names: [String] = []
    var isMore = true
    while isMore {
      let news = try cluster.state.changes(for: watch, after: version, limit: 3, at: cluster.now)
      names += news.frames.compactMap { $0[path: ["object", "metadata", "name"]]?.stringValue }
      version = news.version
      isMore = news.isMore
    }
    #expect(names == (0..<7).map { "m\($0)" })
    #expect(version == cluster.state.store.version)
  }
}
