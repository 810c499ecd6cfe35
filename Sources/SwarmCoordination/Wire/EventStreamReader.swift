package import RateBudget

/// Reads server-sent events as they pass, in pieces of any size, without changing or keeping them.
package struct EventStreamReader: Sendable {
  /// One complete event, as far as it matters.
  package struct Event: Hashable, Sendable {
    /// Its type, such as "message_start".
    package var type: String
    /// What it says was used.
    package var usage: Usage?
    /// Characters of content that it brings.
    package var characters: Int
    /// The type of the error that it reports.
    package var errorType: String?
  }

  private enum Phase: Sendable {
    case fieldName, valueStart, value, comment
  }

  private enum Line: Sendable {
    case name, data, other
  }

  private static let longestName = 64

  private var phase = Phase.fieldName
  private var line = Line.other
  private var field: [UInt8] = []
  private var name: [UInt8] = []
  private var hasData = false
  private var isEmptyLine = true
  private var isAfterReturn = false
  private var usage = UsageFields.eventScanner

  /// Whether nothing is half sent: only then may something else be put in between.
  package private(set) var isBetweenEvents = true

  private let readsData: Bool

  /// Nothing read yet. Without reading data it only tells where events begin and end.
  package init(readsData: Bool = true) {
    self.readsData = readsData
  }

  /// Takes in the next piece and hands out the events that it completes.
  package mutating func take(_ bytes: UnsafeRawBufferPointer, _ body: (Event) -> Void) {
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      if isAfterReturn {
        isAfterReturn = false
        if byte == 0x0A {
          index += 1
          continue
        }
      }
      if byte == 0x0A || byte == 0x0D {
        isAfterReturn = byte == 0x0D
        endLine(body)
        index += 1
        continue
      }
      isBetweenEvents = false
      isEmptyLine = false
      if case .value = phase {
        index = value(bytes, from: index)
      } else {
        beginning(byte)
        index += phaseTakes(byte) ? 1 : 0
      }
    }
  }

  /// The first byte of a value that isn't a space belongs to the value itself.
  private mutating func phaseTakes(_ byte: UInt8) -> Bool {
    guard case .valueStart = phase, field.isEmpty else { return true }
    phase = .value
    return byte == 0x20
  }

  private mutating func beginning(_ byte: UInt8) {
    switch phase {
    case .fieldName where byte == UInt8(ascii: ":"):
      line =
        field.elementsEqual("data".utf8) ? .data : field.elementsEqual("event".utf8) ? .name : .other
      phase = field.isEmpty ? .comment : .valueStart
      if case .name = line { name.removeAll(keepingCapacity: true) }
    case .fieldName:
      if field.count < Self.longestName { field.append(byte) }
    case .valueStart: field.removeAll(keepingCapacity: true)
    case .value, .comment: break
    }
  }

  /// Takes in a value up to the end of its line or of the piece.
  private mutating func value(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var end = start
    while end < bytes.count, bytes[end] != 0x0A, bytes[end] != 0x0D { end += 1 }
    let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    switch line {
    case .data:
      hasData = true
      if readsData { usage.scan(piece) }
    case .name:
      name.append(contentsOf: piece.prefix(max(0, Self.longestName - name.count)))
    case .other: break
    }
    return end
  }

  private mutating func endLine(_ body: (Event) -> Void) {
    defer {
      phase = .fieldName
      field.removeAll(keepingCapacity: true)
      line = .other
      isEmptyLine = true
    }
    guard isEmptyLine else { return }
    if hasData { body(event()) }
    name.removeAll(keepingCapacity: true)
    if readsData && hasData { usage.reset() }
    hasData = false
    isBetweenEvents = true
  }

  private func event() -> Event {
    let values = usage.values
    let type = values[UsageFields.type]?.text ?? String(decoding: name, as: UTF8.self)
    return Event(
      type: type, usage: UsageFields.usage(values),
      characters: UsageFields.contents.reduce(0) { $0 + (values[$1]?.length ?? 0) },
      errorType: values[UsageFields.errorType]?.text)
  }
}

/// The fields of events and answers that the budget needs.
enum UsageFields {
  static let type = 0
  static let errorType = 1
  static let contents = 2...4
  private static let start = 5
  private static let names = [
    "input_tokens", "cache_creation_input_tokens", "cache_creation.ephemeral_1h_input_tokens",
    "cache_read_input_tokens", "output_tokens",
  ]

  /// A scanner for one event's data.
  static let eventScanner = JSONFieldScanner(
    [
      .init("type"), .init("error.type"), .init("delta.text", isLengthOnly: true),
      .init("delta.thinking", isLengthOnly: true), .init("delta.partial_json", isLengthOnly: true),
    ] + names.map { .init("message.usage.\($0)") } + names.map { .init("usage.\($0)") })

  /// What an event, or a whole answer, says was used; nil: nothing.
  static func usage(_ values: [JSONFieldScanner.Value?]) -> Usage? {
    func number(_ index: Int) -> Int64? {
      values[start + names.count + index]?.number ?? values[start + index]?.number
    }
    let hour = number(2)
    let usage = Usage(
      input: number(0), cacheCreation: number(1).map { max(0, $0 - (hour ?? 0)) }, cacheCreationHour: hour,
      cacheRead: number(3), output: number(4))
    return usage == Usage() ? nil : usage
  }
}

/// Reads the error of an answer in the API's form.
package struct ErrorBody: Hashable, Sendable {
  /// `error.type`.
  package var type: String?
  /// `error.details.error_code`.
  package var code: String?
  /// `error.message`; nil when it is longer than 256 bytes.
  package var message: String?

  /// Reads a body; everything is nil in one that isn't the API's.
  package init(_ body: UnsafeRawBufferPointer) {
    var scanner = JSONFieldScanner([.init("error.type"), .init("error.details.error_code"), .init("error.message")])
    scanner.scan(body)
    type = scanner.values[0]?.text
    code = scanner.values[1]?.text
    message = scanner.values[2]?.text
  }
}
