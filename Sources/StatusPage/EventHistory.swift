/// The events that were sent last, so that a client whose connection broke can go on where it was.
///
/// An event's id is `EPOCH-NUMBER`; the epoch tells runs of the program apart.
struct EventHistory: Sendable {
  /// What a client gets first.
  enum Resumption: Hashable, Sendable {
    /// The events that it has missed; none when it has missed none.
    case events([[UInt8]])
    /// What it missed isn't known any more: it must read everything anew.
    case reset
  }

  /// How many events are kept.
  static let maximumCount = 64
  /// How many bytes they may take together.
  static let maximumBytes = 256 * 1_024

  /// Tells this run's ids from those of others.
  let epoch: String
  /// The number of the last event.
  private(set) var number: UInt64 = 0
  private var events: [(number: UInt64, bytes: [UInt8])] = []
  private var byteCount = 0

  /// Makes an empty history.
  init(epoch: String) { self.epoch = epoch }

  /// The id of the last event.
  var cursor: String { "\(epoch)-\(number)" }

  /// Adds an event of a kind; gives its text as it is sent.
  mutating func append(_ kind: String, _ data: [UInt8]) -> [UInt8] {
    number += 1
    let bytes = ServerSentEvent.text(kind, data, id: cursor)
    events.append((number, bytes))
    byteCount += bytes.count
    while let first = events.first, events.count > Self.maximumCount || byteCount > Self.maximumBytes {
      byteCount -= first.bytes.count
      events.removeFirst()
    }
    return bytes
  }

  /// Forgets the events. With `skipping` something was changed that no event told: who resumes must read it anew.
  mutating func clear(skipping: Bool) {
    events = []
    byteCount = 0
    if skipping { number += 1 }
  }

  /// What a client gets that has seen all up to `cursor`.
  func resume(after cursor: String) -> Resumption {
    let parts = cursor.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == epoch, let seen = UInt64(parts[1]), seen <= number else { return .reset }
    if seen == number { return .events([]) }
    guard let first = events.first, first.number <= seen + 1 else { return .reset }
    return .events(events.filter { $0.number > seen }.map(\.bytes))
  }
}

/// The form of server-sent events.
enum ServerSentEvent {
  /// An event as it is sent. `data` is one line, which JSON without white space always is.
  static func text(_ kind: String, _ data: [UInt8], id: String? = nil) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(data.count + 64)
    if let id { text += "id: \(id)\n".utf8 }
    text += "event: \(kind)\ndata: ".utf8
    text += data
    text += "\n\n".utf8
    return text
  }
}
