import KubernetesCore
import TestSupport
import Testing

@testable import KubernetesRuntime

@Suite("Informer store")
struct InformerStoreTests {
  private static func pod(_ namespace: String, _ name: String, uid: String, version: Int, label: String) -> Pod {
    Pod(
      key: ObjectKey(namespace: namespace, name: name), uid: uid, resourceVersion: "\(version)",
      labels: ["app": label])
  }

  /// A store as simple as can be: what the real one must agree with.
  private struct Model {
    var objects: [ObjectKey: Pod] = [:]
    var listed: Set<ObjectKey> = []

    mutating func put(_ pod: Pod) -> [StoreChange] {
      listed.insert(pod.key)
      if let old = objects[pod.key], old.uid == pod.uid, old.resourceVersion == pod.resourceVersion { return [] }
      guard let old = objects.updateValue(pod, forKey: pod.key) else { return [.added] }
      return old.uid == pod.uid ? [.updated] : [.deleted, .added]
    }

    func pods(where isWanted: (Pod) -> Bool = { _ in true }) -> [Pod] {
      objects.values.filter(isWanted).sorted { $0.key < $1.key }
    }
  }

  @Test("Whatever comes, goes, changes its labels or is missing from a list, every view agrees with a plain dictionary")
  func agreesWithADictionary() {
    var random = SeededGenerator(seed: 11)
    let store = InformerStore<Pod>(index: { $0.labels.values.map { $0 } })
    var model = Model()
    for step in 0..<4_000 {
      let pod = Self.pod(
        ["a", "b"][Int.random(in: 0...1, using: &random)], "p\(Int.random(in: 0..<40, using: &random))",
        uid: "\(Int.random(in: 0..<3, using: &random))", version: step / Int.random(in: 1...2, using: &random),
        label: "l\(Int.random(in: 0..<5, using: &random))")
      switch Int.random(in: 0..<20, using: &random) {
      case 0:
        store.beginList()
        model.listed = []
        let pods = model.pods { _ in Bool.random(using: &random) } + [pod]
        for pod in pods { #expect(store.put(pod) == model.put(pod)) }
        let gone = model.objects.keys.filter { !model.listed.contains($0) }.sorted()
        for key in gone { model.objects[key] = nil }
        #expect(store.finishList() == gone)
      case 1...6:
        #expect(store.delete(pod) == (model.objects.removeValue(forKey: pod.key) == nil ? [] : [.deleted]))
      default: #expect(store.put(pod) == model.put(pod))
      }
      #expect(store[pod.key] == model.objects[pod.key])
      #expect(store.storedKey(pod.key) == model.objects[pod.key]?.key)
      #expect(store.count == model.objects.count)
      #expect(store.objects() == model.pods())
      #expect(store.keys == model.pods().map(\.key))
      #expect(store.objects(namespace: "a") == model.pods { $0.key.namespace == "a" })
      for label in ["l0", "l3", "none"] {
        let wanted = model.pods { $0.labels["app"] == label }
        #expect(store.objects(indexedBy: label) == wanted)
        #expect(store.count(indexedBy: label) == wanted.count)
      }
    }
  }

  @Test("A list that was never begun ends without removing anything; one begun anew forgets what was named before")
  func lists() {
    let store = InformerStore<Pod>()
    let (a, b) = (
      Self.pod("n", "a", uid: "1", version: 1, label: "x"), Self.pod("n", "b", uid: "2", version: 1, label: "x")
    )
    _ = (store.put(a), store.put(b))
    #expect(store.finishList().isEmpty)
    store.beginList()
    _ = store.put(a)
    store.beginList()
    _ = store.put(b)
    #expect(store.finishList() == [a.key])
    #expect(store.finishList().isEmpty)
    #expect(store.objects() == [b])
  }
}
