import Foundation
package import KubernetesCore
import Yams

/// One document of a YAML or JSON file, with the lines in which its fields stand.
package struct ManifestDocument: Sendable {
  /// The document as JSON.
  package let json: JSONValue
  /// The line on which it begins.
  package let line: Int
  private let lines: [String: Int]

  /// The line of a field; of the nearest field around it where it is absent.
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

  /// Takes a text apart, up to the first document that can't be read.
  ///
  /// YAML is read as Kubernetes reads it (`yes` and `on` are true, `0777` is octal); JSON is YAML.
  package static func read(_ bytes: [UInt8]) -> (documents: [ManifestDocument], problem: ManifestProblem?) {
    var documents: [ManifestDocument] = []
    guard let text = String(validating: bytes, as: UTF8.self) else {
      return ([], ManifestProblem(line: 1, message: "the file is not UTF-8 text"))
    }
    do {
      let parser = try Parser(yaml: text)
      while let root = try parser.nextRoot() {
        var converter = NodeConverter()
        let json = try converter.value(of: root, at: "", depth: 0)
        // A document without content is what `---` at the end of a file makes.
        guard json != .null else { continue }
        documents.append(ManifestDocument(json: json, line: root.mark?.line ?? 1, lines: converter.lines))
      }
      return (documents, nil)
    } catch let problem as ManifestProblem {
      return (documents, problem)
    } catch {
      return (documents, ManifestProblem(error))
    }
  }
}

/// Why a file, or the rest of it, can't be read.
package struct ManifestProblem: Error, Hashable, Sendable {
  /// The line.
  package var line: Int
  /// What is wrong.
  package var message: String
}

extension ManifestProblem {
  /// Words for an error of Yams, which come without the text around the place.
  fileprivate init(_ error: any Error) {
    switch error as? YamlError {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let about = context.map { " \($0.text.trimmingCharacters(in: .whitespacesAndNewlines))" } ?? ""
      self.init(line: mark.line, message: "\(problem)\(about)")
    case .duplicatedKeysInMapping(let duplicates, let context):
      self.init(
        line: context.mark.line,
        message: "the same field stands here twice: \(duplicates.sorted().joined(separator: ", "))")
    case .reader(let problem, _, _, _):
      self.init(line: 1, message: problem)
    default:
      self.init(line: 1, message: "\(error)")
    }
  }
}

/// Turns YAML nodes into JSON values as Kubernetes does, noting lines.
private struct NodeConverter {
  /// The lines of fields, by paths as findings write them.
  var lines: [String: Int] = [:]
  private var count = 0

  /// Aliases can make a short text a document of any size.
  private static let maximumNodes = 200_000
  private static let maximumDepth = 100

  mutating func value(of node: Node, at path: String, depth: Int) throws -> JSONValue {
    count += 1
    guard count <= Self.maximumNodes, depth <= Self.maximumDepth else {
      throw ManifestProblem(line: node.mark?.line ?? 1, message: "the document is too large, or nested too deeply")
    }
    switch node {
    case .scalar(let scalar): return Self.scalar(scalar)
    case .alias: return .null
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (index, element) in sequence.enumerated() {
        let place = "\(path)[\(index)]"
        if let line = element.mark?.line { lines[place] = line }
        elements.append(try value(of: element, at: place, depth: depth + 1))
      }
      return .array(elements)
    case .mapping(let mapping): return .object(try members(of: mapping, at: path, depth: depth))
    }
  }

  private mutating func members(of mapping: Node.Mapping, at path: String, depth: Int) throws -> [String: JSONValue] {
    var members: [String: JSONValue] = [:]
    var merged: [String: JSONValue] = [:]
    for (key, member) in mapping {
      let name = key.scalar?.string ?? ""
      if name == "<<" {
        for case .object(let found) in try merges(member, at: path, depth: depth) {
          merged.merge(found) { first, _ in first }
        }
        continue
      }
      let place = path.isEmpty ? name : "\(path).\(name)"
      if let line = key.mark?.line ?? member.mark?.line {
        lines[place] = line
        lines["\(path)[\(name)]"] = line
      }
      members[name] = try value(of: member, at: place, depth: depth + 1)
    }
    return members.merging(merged) { own, _ in own }
  }

  private mutating func merges(_ node: Node, at path: String, depth: Int) throws -> [JSONValue] {
    let found = try value(of: node, at: path, depth: depth + 1)
    return found.arrayValue ?? [found]
  }

  /// The value of a scalar: only a plain one can be anything but text.
  private static func scalar(_ scalar: Node.Scalar) -> JSONValue {
    let text = scalar.string
    guard scalar.style == .plain || scalar.style == .any else { return .string(text) }
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .bool(true)
    case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .bool(false)
    default: return integer(text) ?? float(text) ?? .string(text)
    }
  }

  private static func integer(_ text: String) -> JSONValue? {
    let isNegative = text.hasPrefix("-")
    var digits = text.dropFirst(isNegative || text.hasPrefix("+") ? 1 : 0)
    var radix = 10
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
      (radix, digits) = (base, digits.dropFirst(2))
    }
    if radix == 10, digits.count > 1, digits.hasPrefix("0") { radix = 8 }
    guard let first = digits.first, first != "-", first != "+", let number = Int64(digits, radix: radix) else {
      return nil
    }
    return .int(isNegative ? -number : number)
  }

  private static func float(_ text: String) -> JSONValue? {
    let allowed = Set("0123456789+-.eE")
    guard text.contains(where: \.isNumber), text.allSatisfy(allowed.contains), let number = Double(text),
      number.isFinite
    else { return nil }
    return .double(number)
  }
}
