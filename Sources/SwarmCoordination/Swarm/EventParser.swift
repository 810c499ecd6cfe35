/// Takes server-sent events apart, in pieces of any size; pure. Comments, ids and retry times are passed over.
struct EventParser: Sendable {
  /// The largest event, in bytes: that of the largest answer.
  static let limit = 32 * 1_024 * 1_024

  private var line: [UInt8] = []
  private var name: [UInt8] = []
  private var data: [UInt8]?
  private var isAfterReturn = false

  /// Whether an event is larger than may be.
  var isTooLarge: Bool { line.count + (data?.count ?? 0) > Self.limit }

  /// Takes in a piece; the events that it completes.
  mutating func take(_ bytes: some Sequence<UInt8>) -> [ClaudeEvent] {
    var events: [ClaudeEvent] = []
    for byte in bytes {
      if isAfterReturn, byte == 0x0A {
        isAfterReturn = false
        continue
      }
      isAfterReturn = byte == 0x0D
      guard byte == 0x0A || byte == 0x0D else {
        line.append(byte)
        continue
      }
      if let event = endLine() { events.append(event) }
    }
    return events
  }

  private mutating func endLine() -> ClaudeEvent? {
    defer { line.removeAll(keepingCapacity: true) }
    guard !line.isEmpty else {
      defer { (name, data) = ([], nil) }
      return data.map { ClaudeEvent(name: String(decoding: name, as: UTF8.self), data: $0) }
    }
    let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
    var value = line[colon...].dropFirst()
    if value.first == 0x20 { value = value.dropFirst() }
    if line[..<colon].elementsEqual("event".utf8) {
      name = Array(value)
    } else if line[..<colon].elementsEqual("data".utf8) {
      data = data.map { $0 + [0x0A] + value } ?? Array(value)
    }
    return nil
  }
}
