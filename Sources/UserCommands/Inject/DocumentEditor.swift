import KubernetesCore
import KubernetesYAML
import YAML

/// Changes a YAML document as text: lines of members that stay equal are kept as they are, with their comments and formatting.
struct DocumentEditor {
  /// The document is written in a way (flow style, merges, odd indentation) in which lines can't be told apart.
  private struct NotEditable: Error {}

  private struct Edit {
    /// The lines that go.
    var lines: Range<Int>
    /// What comes in their place, each line with its newline.
    var text: String
  }

  private let lines: [Substring]
  private var edits: [Edit] = []

  private init(_ lines: [Substring]) { self.lines = lines }

  /// The text of a document that said `old` and is to say `new`; the whole of it is written anew where editing is not possible.
  static func edited(_ text: String, root: YAMLNode, from old: JSONValue, to new: JSONValue) -> String {
    guard old != new else { return text }
    let lines = lines(of: text)
    var editor = DocumentEditor(lines)
    if (try? editor.compare(root, old, new)) != nil {
      let result = editor.applied()
      // The proof: read again, it says what it is to say.
      let (documents, problem) = YAMLDocument.read(Array(result.utf8))
      if problem == nil, documents.count == 1, documents[0].json == new { return result }
    }
    let head = lines.prefix { line in
      isIgnorable(line) || line == "---" || line.hasPrefix("--- ") && isIgnorable(line.dropFirst(4))
    }
    return head.map { $0 + "\n" }.joined() + YAMLWriter.lines(of: new, like: root)
  }

  /// The lines of a text. Bytes are split: to Swift a carriage return and a newline are one character.
  static func lines(of text: String) -> [Substring] {
    text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { Substring($0) }
  }

  // MARK: Comparing

  private mutating func compare(_ node: YAMLNode, _ old: JSONValue, _ new: JSONValue) throws(NotEditable) {
    guard let members = node.members, !members.isEmpty, let before = old.objectValue, let after = new.objectValue else {
      throw NotEditable()
    }
    let indent = try indentation(of: members[0])
    for member in members where before[member.key] != after[member.key] {
      let range = try self.range(of: member, indent)
      guard let value = after[member.key] else {
        edits.append(Edit(lines: range, text: ""))
        continue
      }
      let isBlock = member.value.members?.isEmpty == false && member.value.line > member.line
      if isBlock, case .object? = before[member.key], case .object = value {
        try compare(member.value, before[member.key] ?? .null, value)
      } else {
        edits.append(
          Edit(lines: range, text: YAMLWriter.lines(ofMember: member.key, value, like: member.value, indent: indent)))
      }
    }
    let present = Set(members.map(\.key))
    let added = after.keys.filter { before[$0] == nil && !present.contains($0) }.sorted()
    guard !added.isEmpty else { return }
    let end = try range(of: members[members.count - 1], indent).upperBound
    let text = added.map { YAMLWriter.lines(ofMember: $0, after[$0] ?? .null, indent: indent) }.joined()
    edits.append(Edit(lines: end..<end, text: text))
  }

  // MARK: Lines

  private static func isIgnorable(_ line: Substring) -> Bool {
    let rest = line.drop { $0 == " " || $0 == "\r" }
    return rest.isEmpty || rest.hasPrefix("#")
  }

  private static func indent(_ line: Substring) -> Int { line.prefix { $0 == " " }.count }

  private func indentation(of member: YAMLNode.Member) throws(NotEditable) -> Int {
    guard lines.indices.contains(member.line - 1) else { throw NotEditable() }
    return Self.indent(lines[member.line - 1])
  }

  /// The lines of a member: its name's, and all that are further in; without blank lines and comments at the end, which belong to
  /// what follows.
  private func range(of member: YAMLNode.Member, _ indent: Int) throws(NotEditable) -> Range<Int> {
    let start = member.line - 1
    guard try indentation(of: member) == indent else { throw NotEditable() }
    let text = lines[start].dropFirst(indent)
    guard ["\(member.key):", "\"\(member.key)\":", "'\(member.key)':"].contains(where: text.hasPrefix) else {
      throw NotEditable()
    }
    var end = start + 1
    for index in lines.indices.dropFirst(start + 1) {
      let line = lines[index]
      if Self.isIgnorable(line) { continue }
      let depth = Self.indent(line)
      let isElement = line.dropFirst(depth) == "-" || line.dropFirst(depth).hasPrefix("- ")
      guard depth > indent || (depth == indent && isElement && member.value.elements != nil) else { break }
      end = index + 1
    }
    return start..<end
  }

  private func applied() -> String {
    var result: [Substring] = []
    var next = 0
    // Several insertions in one place: an inner mapping that ends where the outer one does comes first, as it was noted.
    for edit in edits.enumerated().sorted(by: {
      ($0.element.lines.lowerBound, $0.element.lines.upperBound, $0.offset)
        < ($1.element.lines.lowerBound, $1.element.lines.upperBound, $1.offset)
    }).map(\.element) {
      result += lines[next..<max(next, edit.lines.lowerBound)]
      if !edit.text.isEmpty { result += Self.lines(of: String(edit.text.dropLast())) }
      next = max(next, edit.lines.upperBound)
    }
    result += lines[next...]
    return result.joined(separator: "\n")
  }
}
