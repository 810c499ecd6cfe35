import CoordinationEngine

/// Which blobs there are, and their bytes as long as they are nowhere else.
package struct BlobTable: Sendable {
  /// Blobs that an engine has at most: what is known of each stays in memory, about 150 bytes.
  private static let maximum = 1_000_000
  let limits: BlobLimits
  private var items: [BlobDigest: Item] = [:]
  private var sorted = SortedElements<BlobDigest>()
  private var contents: [BlobDigest: [UInt8]] = [:]
  private var total = 0
  private var isTracked = false
  private var changed: Set<BlobDigest> = []

  /// What is known of a blob.
  package struct Item: Hashable, Sendable {
    /// How many bytes it has.
    package var count: Int
    /// When it was last put.
    package var used: Duration

    /// Puts it together.
    package init(count: Int, used: Duration) {
      self.count = count
      self.used = used
    }
  }

  /// Where a blob is.
  enum Place: Sendable {
    case here([UInt8])
    /// Where the changes are written down.
    case written
  }

  init(limits: BlobLimits) {
    self.limits = limits
  }

  mutating func put(_ bytes: [UInt8], _ digest: BlobDigest, now: Duration) throws(EngineError) {
    guard bytes.count <= limits.blobBytes else {
      throw .tooLarge(what: "blob", bytes: bytes.count, limit: limits.blobBytes)
    }
    if items[digest] == nil {
      guard total + bytes.count <= limits.totalBytes else {
        throw .full(what: "bytes of blobs", limit: limits.totalBytes)
      }
      guard items.count < Self.maximum else { throw .full(what: "blobs", limit: Self.maximum) }
      contents[digest] = bytes
      sorted.insert(digest)
      total += bytes.count
    }
    items[digest] = Item(count: bytes.count, used: now)
    if isTracked { changed.insert(digest) }
  }

  func place(_ digest: BlobDigest) throws(EngineError) -> Place {
    guard items[digest] != nil else { throw .notFound("blob \(digest)") }
    return contents[digest].map { .here($0) } ?? .written
  }

  func info(_ digest: BlobDigest, now: Duration) -> BlobInfo? {
    items[digest].map { BlobInfo(digest: digest, bytes: $0.count, unused: max(.zero, now - $0.used)) }
  }

  mutating func delete(_ digest: BlobDigest, unused: Duration, now: Duration) -> Bool {
    guard let item = items[digest] else { return true }
    guard now - item.used >= unused else { return false }
    items[digest] = nil
    contents[digest] = nil
    sorted.remove(digest)
    total -= item.count
    if isTracked { changed.insert(digest) }
    return true
  }

  func list(after: BlobDigest?, maximum: Int, now: Duration) throws(EngineError) -> [BlobInfo] {
    guard (1...limits.listed).contains(maximum) else {
      throw .invalid("maximum: 1 to \(limits.listed), not \(maximum)")
    }
    var list: [BlobInfo] = []
    sorted.forEach(from: after) { digest in
      if digest != after, let info = info(digest, now: now) { list.append(info) }
      return list.count < maximum
    }
    return list
  }

  mutating func restore(_ saved: [(digest: BlobDigest, item: Item)]) {
    isTracked = true
    for (digest, item) in saved {
      items[digest] = item
      sorted.insert(digest)
      total += item.count
    }
  }

  var hasChanges: Bool { !changed.isEmpty }

  /// The blobs that changed since the last call, sorted, with the bytes of those that are new; they are forgotten here.
  mutating func takeChanges() -> [EngineChanges.Blob] {
    defer { changed.removeAll() }
    return changed.sorted().map {
      EngineChanges.Blob(digest: $0, item: items[$0], bytes: contents.removeValue(forKey: $0))
    }
  }
}
