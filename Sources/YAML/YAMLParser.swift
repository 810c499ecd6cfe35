import CLibYAML

/// Reads a stream of YAML documents, one after the other, by libyaml.
///
///     let parser = YAMLParser(text)
///     while let root = try parser.next() { … }
///
/// After an error it ends.
package final class YAMLParser {
  /// Deeper nesting is refused: each level takes some of the stack.
  private static let maximumDepth = 100

  /// On the heap, as libyaml keeps pointers into it.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let input: UnsafeMutableBufferPointer<UInt8>
  private var anchors: [String: YAMLNode] = [:]
  private var hasEnded = false

  /// Takes a text; nothing is read yet.
  package init(_ text: String) {
    let bytes = Array(text.utf8)
    input = .allocate(capacity: bytes.count)
    _ = input.initialize(from: bytes)
    parser = .allocate(capacity: 1)
    parser.initialize(to: yaml_parser_t())
    // Only memory can be lacking here; then the first event is an error.
    hasEnded = yaml_parser_initialize(parser) == 0
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    yaml_parser_set_input_string(parser, input.baseAddress, input.count)
  }

  deinit {
    yaml_parser_delete(parser)
    parser.deallocate()
    input.deallocate()
  }

  /// The next document; nil at the end.
  package func next() throws(YAMLError) -> YAMLNode? {
    while !hasEnded {
      let event = try event()
      switch event.kind {
      case .streamEnd: hasEnded = true
      case .other: continue
      default: return try node(from: event, depth: 0)
      }
    }
    return nil
  }

  /// All documents of a text.
  package static func documents(of text: String) throws(YAMLError) -> [YAMLNode] {
    let parser = YAMLParser(text)
    var documents: [YAMLNode] = []
    while let document = try parser.next() { documents.append(document) }
    return documents
  }

  /// The only document of a text; nil when there is none.
  package static func document(of text: String) throws(YAMLError) -> YAMLNode? {
    let parser = YAMLParser(text)
    guard let document = try parser.next() else { return nil }
    if let another = try parser.next() {
      throw YAMLError(line: another.line, problem: "a second document begins where only one can be")
    }
    return document
  }

  // MARK: Nodes

  private func node(from event: Event, depth: Int) throws(YAMLError) -> YAMLNode {
    guard depth < Self.maximumDepth else {
      throw failed(event.line, "the document is nested more than \(Self.maximumDepth) levels deep")
    }
    let node: YAMLNode
    switch event.kind {
    case .alias(let anchor):
      guard let named = anchors[anchor] else { throw failed(event.line, "found undefined alias") }
      return named
    case .scalar(let text, let isPlain): node = YAMLNode(.scalar(text, isPlain: isPlain), line: event.line)
    case .sequenceStart: node = YAMLNode(.sequence(try elements(depth: depth)), line: event.line)
    case .mappingStart: node = YAMLNode(.mapping(try members(depth: depth)), line: event.line)
    case .end, .streamEnd, .other: throw failed(event.line, "the document ends too early")
    }
    if let anchor = event.anchor { anchors[anchor] = node }
    return node
  }

  private func elements(depth: Int) throws(YAMLError) -> [YAMLNode] {
    var elements: [YAMLNode] = []
    while true {
      let event = try event()
      if case .end = event.kind { return elements }
      elements.append(try node(from: event, depth: depth + 1))
    }
  }

  private func members(depth: Int) throws(YAMLError) -> [YAMLNode.Member] {
    var members: [YAMLNode.Member] = []
    var names: Set<String> = []
    while true {
      let event = try event()
      if case .end = event.kind { return members }
      guard let name = try node(from: event, depth: depth + 1).text else {
        throw failed(event.line, "a name must be a text, not a list or mapping")
      }
      guard names.insert(name).inserted else {
        throw failed(event.line, "the same field stands here twice: \(name)")
      }
      let value = try self.event()
      members.append(.init(key: name, line: event.line, value: try node(from: value, depth: depth + 1)))
    }
  }

  private func failed(_ line: Int, _ problem: String) -> YAMLError {
    hasEnded = true
    return YAMLError(line: line, problem: problem)
  }

  // MARK: Events

  private struct Event {
    enum Kind {
      case alias(String)
      case scalar(String, isPlain: Bool)
      case sequenceStart, mappingStart
      /// The end of a list or mapping.
      case end
      case streamEnd
      /// Begin of the stream, begin and end of a document.
      case other
    }
    var kind: Kind
    var anchor: String?
    var line: Int
  }

  private func event() throws(YAMLError) -> Event {
    var event = yaml_event_t()
    guard yaml_parser_parse(parser, &event) != 0 else {
      hasEnded = true
      throw YAMLError(parser.pointee)
    }
    defer { yaml_event_delete(&event) }
    let line = Int(event.start_mark.line) + 1
    switch event.type {
    case YAML_ALIAS_EVENT:
      return Event(kind: .alias(string(event.data.alias.anchor) ?? ""), line: line)
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      // Any tag but those of the core schema's values means a text; these leave a plain scalar what it is.
      let isPlain =
        scalar.style == YAML_PLAIN_SCALAR_STYLE
        && (scalar.tag == nil
          || (string(scalar.tag) ?? "").hasPrefix(Self.corePrefix)
            && string(scalar.tag) != Self.corePrefix + "str")
      return Event(kind: .scalar(text, isPlain: isPlain), anchor: string(scalar.anchor), line: line)
    case YAML_SEQUENCE_START_EVENT:
      return Event(kind: .sequenceStart, anchor: string(event.data.sequence_start.anchor), line: line)
    case YAML_MAPPING_START_EVENT:
      return Event(kind: .mappingStart, anchor: string(event.data.mapping_start.anchor), line: line)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return Event(kind: .end, line: line)
    case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return Event(kind: .streamEnd, line: line)
    case YAML_DOCUMENT_START_EVENT:
      // Anchors hold within one document.
      anchors = [:]
      return Event(kind: .other, line: line)
    default: return Event(kind: .other, line: line)
    }
  }

  private static let corePrefix = "tag:yaml.org,2002:"

  private func string(_ bytes: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    bytes.map { String(decodingCString: $0, as: UTF8.self) }
  }
}

extension YAMLError {
  /// The words of libyaml for what it stopped at.
  fileprivate init(_ parser: yaml_parser_t) {
    let problem = parser.problem.map { String(cString: $0) } ?? "it can't be parsed"
    let context = parser.context.map { " \(String(cString: $0))" } ?? ""
    switch parser.error {
    case YAML_MEMORY_ERROR: self.init(line: 1, problem: "there is not enough memory")
    case YAML_READER_ERROR: self.init(line: Int(parser.mark.line) + 1, problem: problem)
    default:
      self.init(
        line: Int(parser.problem_mark.line) + 1, column: Int(parser.problem_mark.column) + 1,
        problem: problem + context)
    }
  }
}
