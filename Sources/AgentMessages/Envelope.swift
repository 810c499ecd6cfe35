import MessageFrames

/// Where an agent is.
package struct AgentAddress: Hashable, Sendable, CustomStringConvertible {
  /// The process.
  package var node: String
  /// The agent in it.
  package var agent: String

  /// Names an agent. Names longer than 200 bytes of UTF-8 are refused when a message is sent.
  package init(node: String, agent: String) {
    self.node = node
    self.agent = agent
  }

  package var description: String { "\(node)/\(agent)" }
}

/// What tells one call from every other: the run of the process that made it, by a number of chance, and its number there.
struct CallID: Hashable, Sendable {
  var incarnation: UInt64
  var number: UInt64
}

/// A message with what the layer needs to know.
struct Envelope: Hashable, Sendable {
  /// The process that sent it.
  var from: String
  var content: Content

  enum Content: Hashable, Sendable {
    /// Asks an agent. `credit`: parts of a stream that may be sent at once; 0: one answer is wanted.
    case request(CallID, agent: String, milliseconds: UInt32, credit: UInt32, payload: [UInt8])
    case reply(CallID, payload: [UInt8])
    case failure(CallID, code: FailureCode, text: String)
    case item(CallID, sequence: UInt64, payload: [UInt8])
    /// The stream has ended after so many items.
    case end(CallID, items: UInt64)
    /// So many more items may be sent.
    case credit(CallID, items: UInt32)
    /// The answer isn't wanted any more.
    case cancel(CallID)
    case published(payload: [UInt8])
  }

  enum FailureCode: UInt8, Hashable, Sendable {
    case failed = 0
    case unknownAgent = 1
    case overloaded = 2
    case cancelled = 3
  }

  /// The most bytes of a name, and of the words of a failure.
  static let nameBytes = 200
  static let textBytes = 2_000

  /// Bytes of the envelope around the payload, at most.
  static let overhead = 2 * (nameBytes + 2) + 40

  /// The bytes, as they stand in a frame.
  var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(payload.count + 64)
    bytes.append(tag)
    bytes.append(text: from)
    if let id {
      bytes.append(littleEndian: id.incarnation)
      bytes.append(varint: id.number)
    }
    switch content {
    case .request(_, let agent, let milliseconds, let credit, _):
      bytes.append(text: agent)
      bytes.append(varint: UInt64(milliseconds))
      bytes.append(varint: UInt64(credit))
    case .failure(_, let code, let text):
      bytes.append(code.rawValue)
      bytes.append(text: Self.shortened(text))
    case .item(_, let sequence, _): bytes.append(varint: sequence)
    case .end(_, let items): bytes.append(varint: items)
    case .credit(_, let items): bytes.append(varint: UInt64(items))
    case .reply, .cancel, .published: break
    }
    return bytes + payload
  }

  /// The beginning of a text, within `textBytes` bytes: one character may have any number of them.
  private static func shortened(_ text: String) -> String {
    guard text.utf8.count > textBytes else { return text }
    var end = text.utf8.index(text.startIndex, offsetBy: textBytes)
    while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
    return String(text.unicodeScalars[..<end])
  }

  /// Reads an envelope; nil when it isn't one.
  init?(_ bytes: [UInt8]) {
    var reader = ByteReader(bytes)
    guard let tag = reader.byte(), let from = reader.text(limit: Self.nameBytes), !from.isEmpty else { return nil }
    self.from = from
    if tag == 7 {
      content = .published(payload: Array(reader.remaining))
      return
    }
    guard let incarnation = reader.littleEndian(UInt64.self), let number = reader.varint(),
      let content = Self.content(tag, CallID(incarnation: incarnation, number: number), &reader)
    else { return nil }
    self.content = content
  }

  init(from: String, _ content: Content) {
    self.from = from
    self.content = content
  }

  private static func content(_ tag: UInt8, _ id: CallID, _ reader: inout ByteReader) -> Content? {
    switch tag {
    case 0:
      guard let agent = reader.text(limit: nameBytes),
        let milliseconds = reader.varint().flatMap(UInt32.init(exactly:)),
        let credit = reader.varint().flatMap(UInt32.init(exactly:))
      else { return nil }
      return .request(
        id, agent: agent, milliseconds: milliseconds, credit: credit, payload: Array(reader.remaining))
    case 1: return .reply(id, payload: Array(reader.remaining))
    case 2:
      guard let code = reader.byte().flatMap(FailureCode.init(rawValue:)), let text = reader.text(limit: textBytes)
      else {
        return nil
      }
      return .failure(id, code: code, text: text)
    case 3: return reader.varint().map { .item(id, sequence: $0, payload: Array(reader.remaining)) }
    case 4: return reader.varint().map { .end(id, items: $0) }
    case 5: return reader.varint().flatMap(UInt32.init(exactly:)).map { .credit(id, items: $0) }
    case 6: return .cancel(id)
    default: return nil
    }
  }

  private var tag: UInt8 {
    switch content {
    case .request: 0
    case .reply: 1
    case .failure: 2
    case .item: 3
    case .end: 4
    case .credit: 5
    case .cancel: 6
    case .published: 7
    }
  }

  private var id: CallID? {
    switch content {
    case .request(let id, _, _, _, _), .reply(let id, _), .failure(let id, _, _), .item(let id, _, _), .end(let id, _),
      .credit(let id, _), .cancel(let id):
      id
    case .published: nil
    }
  }

  private var payload: [UInt8] {
    switch content {
    case .request(_, _, _, _, let payload), .reply(_, let payload), .item(_, _, let payload), .published(let payload):
      payload
    case .failure, .end, .credit, .cancel: []
    }
  }
}
