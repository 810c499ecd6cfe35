package import KubernetesCore
package import YAML

/// One document of a YAML or JSON file as JSON, with the lines in which its fields stand.
package struct YAMLDocument: Sendable {
  /// The document as JSON.
  package let json: JSONValue
  /// The line on which it begins.
  package let line: Int
  private let lines: [String: Int]

  /// The line of a field, such as `spec.metrics[0].type`; of the nearest field around it where it is absent.
  package func line(of path: String) -> Int {
    var rest = path[...]
    while !rest.isEmpty {
      if let line = lines[String(rest)] { return line }
      if rest.hasSuffix("]"), let open = rest.lastIndex(of: "[") {
        rest = rest[..<open]
      } else {
        rest = rest[..<(rest.lastIndex(of: ".") ?? rest.startIndex)]
      }
    }
    return line
  }

  /// Turns a node into JSON as Kubernetes does: `yes` and `on` are true, `0777` is octal, `<<` merges.
  package init(_ root: YAMLNode) throws(YAMLError) {
    var converter = NodeConverter()
    json = try converter.value(of: root, at: "", depth: 0)
    line = root.line
    lines = converter.lines
  }

  /// Takes a text apart, up to the first document that can't be read; documents without content are left out, as
  /// `---` at the end of a file makes one.
  package static func read(_ bytes: [UInt8]) -> (documents: [YAMLDocument], problem: YAMLError?) {
    var documents: [YAMLDocument] = []
    guard let text = String(validating: bytes, as: UTF8.self) else {
      return ([], YAMLError(line: 1, problem: "the file is not UTF-8 text"))
    }
    do throws(YAMLError) {
      let parser = YAMLParser(text)
      while let root = try parser.next() {
        let document = try YAMLDocument(root)
        if document.json != .null { documents.append(document) }
      }
      return (documents, nil)
    } catch {
      return (documents, error)
    }
  }
}

/// Turns YAML nodes into JSON values, noting lines.
private struct NodeConverter {
  /// The lines of fields, by paths as findings write them.
  var lines: [String: Int] = [:]
  private var count = 0

  /// Aliases can make a short text a document of any size.
  private static let maximumNodes = 200_000
  private static let maximumDepth = 100

  mutating func value(of node: YAMLNode, at path: String, depth: Int) throws(YAMLError) -> JSONValue {
    count += 1
    guard count <= Self.maximumNodes, depth <= Self.maximumDepth else {
      throw YAMLError(line: node.line, problem: "the document is too large, or nested too deeply")
    }
    switch node.content {
    case .scalar(let text, _):
      if node.isNull { return .null }
      return node.bool.map { .bool($0) } ?? node.int.map { .int($0) } ?? node.double.map { .double($0) }
        ?? .string(text)
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (index, element) in sequence.enumerated() {
        let place = "\(path)[\(index)]"
        lines[place] = element.line
        elements.append(try value(of: element, at: place, depth: depth + 1))
      }
      return .array(elements)
    case .mapping(let mapping): return .object(try members(of: mapping, at: path, depth: depth))
    }
  }

  private mutating func members(
    of mapping: [YAMLNode.Member], at path: String, depth: Int
  ) throws(YAMLError) -> [String: JSONValue] {
    var members: [String: JSONValue] = [:]
    var merged: [String: JSONValue] = [:]
    for member in mapping {
      if member.key == "<<" {
        for case .object(let found) in try merges(member.value, at: path, depth: depth) {
          merged.merge(found) { first, _ in first }
        }
        continue
      }
      let place = path.isEmpty ? member.key : "\(path).\(member.key)"
      lines[place] = member.line
      lines["\(path)[\(member.key)]"] = member.line
      members[member.key] = try value(of: member.value, at: place, depth: depth + 1)
    }
    return members.merging(merged) { own, _ in own }
  }

  private mutating func merges(_ node: YAMLNode, at path: String, depth: Int) throws(YAMLError) -> [JSONValue] {
    let found = try value(of: node, at: path, depth: depth + 1)
    return found.arrayValue ?? [found]
  }
}
