/// A dictionary that forgets what was not used for longest when it is full.
struct LRUTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private struct Node: Sendable {
    var key: Key
    var value: Value
    var newer: Int?
    var older: Int?
  }

  private let capacity: Int
  private var nodes: [Node] = []
  private var index: [Key: Int] = [:]
  private var newest: Int?
  private var oldest: Int?

  /// Makes a table for at most `capacity` entries.
  init(capacity: Int) {
    self.capacity = max(capacity, 1)
  }

  /// How many entries there are.
  var count: Int { nodes.count }

  /// The value of a key; doesn't count as use.
  func peek(_ key: Key) -> Value? {
    index[key].map { nodes[$0].value }
  }

  /// Changes the value of a key, which starts as `initial`, and counts as use.
  mutating func update(_ key: Key, initial: Value, _ body: (inout Value) -> Void) {
    let place: Int
    if let known = index[key] {
      place = known
      unlink(place)
    } else if nodes.count < capacity {
      place = nodes.count
      nodes.append(Node(key: key, value: initial))
    } else if let victim = oldest {
      place = victim
      unlink(victim)
      index[nodes[victim].key] = nil
      nodes[victim] = Node(key: key, value: initial)
    } else {
      return
    }
    index[key] = place
    nodes[place].older = newest
    nodes[place].newer = nil
    if let newest { nodes[newest].newer = place }
    newest = place
    if oldest == nil { oldest = place }
    body(&nodes[place].value)
  }

  private mutating func unlink(_ place: Int) {
    let (newer, older) = (nodes[place].newer, nodes[place].older)
    if let newer { nodes[newer].older = older } else { newest = older }
    if let older { nodes[older].newer = newer } else { oldest = newer }
  }
}
