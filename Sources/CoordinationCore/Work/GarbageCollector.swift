import PriorityQueue

/// What becomes of what agents leave behind: running → committed → tombstone → gone, with reference counts for blobs and a reaper for what dead
/// owners had.
///
/// Memory is freed at the commit; the store keeps a tombstone for a while, so that a late repetition is known as one, and then forgets it. Nothing is
/// scanned: all is due at a time or by an event, and each step does a bounded part. Pure.
package struct GarbageCollector: Sendable {
  /// How long things are kept, and how much is done at once.
  package struct Policy: Hashable, Sendable {
    /// How long a finished thing is known.
    package var tombstone = Duration.seconds(86_400)
    /// How long a blob without references stays: one that is being written is not referenced yet.
    package var blobGrace = Duration.seconds(600)
    /// Deletions of one step.
    package var batch = 256

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// Something that an owner has in the engine, such as a consumer, a watch or a lease.
  package struct Resource: Hashable, Sendable, Comparable {
    /// What it is.
    package var kind: String
    /// Its name.
    package var name: String

    /// Names a resource.
    package init(kind: String, name: String) {
      self.kind = kind
      self.name = name
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { (lhs.kind, lhs.name) < (rhs.kind, rhs.name) }
  }

  /// What happens.
  package enum Event: Hashable, Sendable {
    /// An agent began a task, or whatever ends in a commit.
    case started(String)
    /// A thing refers to these blobs from now on and to no others.
    case refers(String, to: [String])
    /// A blob was written.
    case wrote(blob: String)
    /// A thing's result is committed: its blobs but these are done with.
    case committed(String, keeps: [String])
    /// A thing is in the store no more, whoever removed it: it refers to nothing.
    case gone(String)
    /// An owner made a resource.
    case owns(String, Resource)
    /// An owner let it go in order.
    case released(String, Resource)
    /// An owner is dead.
    case ownerEnded(String)
    /// The shell is done with a batch and time has passed.
    case tick
  }

  /// What the shell does.
  package enum Effect: Hashable, Sendable {
    /// Frees what the process holds of it.
    case free(String)
    /// Keeps no more of it in the store than that it was.
    case bury(String)
    /// Deletes that too.
    case forget(String)
    /// Deletes a blob.
    case deleteBlob(String)
    /// Deletes a resource of an owner that is dead.
    case reap(owner: String, Resource)
  }

  private enum Stage: Hashable, Sendable {
    /// Exits: `tombstone`.
    case running
    /// Exit: gone.
    case tombstone
  }

  private struct Due: Comparable, Sendable {
    enum What: Int, Sendable { case forget, blob }
    var at: Duration
    var what: What
    var name: String
    static func < (lhs: Due, rhs: Due) -> Bool {
      (lhs.at, lhs.what.rawValue, lhs.name) < (rhs.at, rhs.what.rawValue, rhs.name)
    }
  }

  private let policy: Policy
  private var things: [String: (stage: Stage, blobs: Set<String>)] = [:]
  /// References of each blob, and since when it has had none.
  private var blobs: [String: (references: Int, freeSince: Duration?)] = [:]
  private var owners: [String: Set<Resource>] = [:]
  /// Resources of dead owners that are still to be reaped.
  private var reaping: [(owner: String, resource: Resource)] = []
  private var due = BinaryHeap<Due>()

  /// A collector that knows of nothing.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// How much it knows of: things, blobs, resources. All zero when everything is gone.
  package var counts: (things: Int, blobs: Int, resources: Int) {
    (things.count, blobs.count, owners.values.reduce(0) { $0 + $1.count } + reaping.count)
  }

  /// When to call `tick`; nil: never.
  package var nextDeadline: Duration? { reaping.isEmpty ? due.first?.at : .zero }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    switch event {
    case .started(let name):
      if things[name] == nil { things[name] = (.running, []) }
    case .refers(let name, let references):
      // What is done refers to what its commit kept.
      if things[name]?.stage != .tombstone { refer(name, Set(references), now) }
    case .wrote(let blob):
      // Written anew, its reference may be on the way once more.
      if blobs[blob]?.references ?? 0 == 0 { note(blob, by: 0, now) }
    case .committed(let name, let keeps):
      guard things[name]?.stage != .tombstone else { return [] }
      refer(name, Set(keeps), now)
      things[name]?.stage = .tombstone
      due.push(Due(at: now + policy.tombstone, what: .forget, name: name))
      return [.free(name), .bury(name)]
    case .gone(let name):
      guard things[name] != nil else { break }
      refer(name, [], now)
      things[name] = nil
    case .owns(let owner, let resource): owners[owner, default: []].insert(resource)
    case .released(let owner, let resource):
      owners[owner]?.remove(resource)
      if owners[owner]?.isEmpty == true { owners[owner] = nil }
    case .ownerEnded(let owner):
      reaping += (owners.removeValue(forKey: owner) ?? []).sorted().map { (owner, $0) }
    case .tick: return collect(now)
    }
    return []
  }

  private mutating func refer(_ name: String, _ references: Set<String>, _ now: Duration) {
    let before = things[name] ?? (.running, [])
    for blob in references.subtracting(before.blobs) { note(blob, by: 1, now) }
    for blob in before.blobs.subtracting(references) { note(blob, by: -1, now) }
    things[name] = (before.stage, references)
  }

  private mutating func note(_ blob: String, by change: Int, _ now: Duration) {
    var entry = blobs[blob] ?? (0, nil)
    entry.references += change
    entry.freeSince = entry.references == 0 ? now : nil
    blobs[blob] = entry
    if entry.references == 0 { due.push(Due(at: now + policy.blobGrace, what: .blob, name: blob)) }
  }

  private mutating func collect(_ now: Duration) -> [Effect] {
    var effects: [Effect] = []
    let reaped = reaping.prefix(policy.batch)
    effects += reaped.map { .reap(owner: $0.owner, $0.resource) }
    reaping.removeFirst(reaped.count)
    while effects.count < policy.batch, let next = due.first, next.at <= now {
      due.pop()
      switch next.what {
      case .forget:
        refer(next.name, [], now)
        things[next.name] = nil
        effects.append(.forget(next.name))
      case .blob:
        // An entry of a time without references that has ended says nothing.
        guard let blob = blobs[next.name], let since = blob.freeSince, since + policy.blobGrace <= now else { continue }
        blobs[next.name] = nil
        effects.append(.deleteBlob(next.name))
      }
    }
    return effects
  }
}
