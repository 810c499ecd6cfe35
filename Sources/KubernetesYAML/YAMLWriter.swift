package import KubernetesCore
package import YAML

/// Writes JSON as block-style YAML that every reader of Kubernetes' YAML takes for the same JSON.
package struct YAMLWriter {
  private var text = ""

  /// The members that objects of Kubernetes begin with, in this order; the rest goes by name.
  private static let leading = ["apiVersion", "kind", "name", "namespace", "metadata"]

  private init() {}

  /// The lines of a value, each with its newline, indented by `indent` spaces. Members stand in the order of `model` where
  /// that has them: an object that was read and changed keeps its order.
  package static func lines(of value: JSONValue, like model: YAMLNode? = nil, indent: Int = 0) -> String {
    var writer = YAMLWriter()
    writer.block(value, model, indent)
    return writer.text
  }

  /// The lines of one member of an object: `name: value`.
  package static func lines(ofMember name: String, _ value: JSONValue, like model: YAMLNode? = nil, indent: Int)
    -> String
  {
    var writer = YAMLWriter()
    writer.member(name, value, model, indent)
    return writer.text
  }

  // MARK: Blocks

  private mutating func block(_ value: JSONValue, _ model: YAMLNode?, _ indent: Int) {
    switch value {
    case .object(let members) where !members.isEmpty:
      for name in Self.order(members, model) {
        if let member = members[name] { self.member(name, member, model?[name], indent) }
      }
    case .array(let elements) where !elements.isEmpty:
      for (index, element) in elements.enumerated() {
        self.element(element, Self.model(of: element, index, model), indent)
      }
    default: text += Self.spaces(indent) + Self.inline(value, indent) + "\n"
    }
  }

  private mutating func member(_ name: String, _ value: JSONValue, _ model: YAMLNode?, _ indent: Int) {
    text += Self.spaces(indent) + Self.scalar(name) + ":"
    switch value {
    case .object(let members) where !members.isEmpty:
      text += "\n"
      block(value, model, indent + 2)
    case .array(let elements) where !elements.isEmpty:
      text += "\n"
      // As kubectl writes lists: under the name, without indentation.
      block(value, model, indent)
    default: text += " " + Self.inline(value, indent) + "\n"
    }
  }

  private mutating func element(_ value: JSONValue, _ model: YAMLNode?, _ indent: Int) {
    var inner = YAMLWriter()
    inner.block(value, model, indent + 2)
    // The first line's indentation becomes the dash.
    text += Self.spaces(indent) + "- " + inner.text.dropFirst(indent + 2)
  }

  private static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }

  // MARK: Order

  private static func order(_ members: [String: JSONValue], _ model: YAMLNode?) -> [String] {
    let known = (model?.members ?? []).map(\.key).filter { members[$0] != nil }
    let rest = Set(members.keys).subtracting(known)
    let first = leading.filter(rest.contains)
    return known + first + rest.subtracting(first).sorted()
  }

  /// The element of the model that an element was made of: the one of the same name, or in the same place.
  private static func model(of element: JSONValue, _ index: Int, _ model: YAMLNode?) -> YAMLNode? {
    guard let elements = model?.elements else { return nil }
    if let name = element["name"]?.stringValue { return elements.first { $0["name"]?.text == name } }
    return elements.indices.contains(index) ? elements[index] : nil
  }

  // MARK: Scalars

  private static func inline(_ value: JSONValue, _ indent: Int) -> String {
    switch value {
    case .string(let text): isBlockText(text) ? blockText(text, indent) : scalar(text)
    case .object: "{}"
    case .array: "[]"
    default: String(decoding: value.text, as: UTF8.self)
    }
  }

  /// Whether a text may stand as a literal block: lines of visible characters, with one newline at the end.
  private static func isBlockText(_ text: String) -> Bool {
    guard text.hasSuffix("\n"), !text.hasSuffix("\n\n"), text.utf8.count > 1, let first = text.utf8.first,
      first != UInt8(ascii: " "), first != UInt8(ascii: "\n")
    else { return false }
    return text.utf8.allSatisfy { (0x20..<0x7f).contains($0) || $0 == UInt8(ascii: "\n") }
  }

  private static func blockText(_ text: String, _ indent: Int) -> String {
    let lines = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
    return "|\n" + lines.map { $0.isEmpty ? "" : spaces(indent + 2) + $0 }.joined(separator: "\n")
  }

  /// A text, plain where no reader can take it for anything else, else quoted as in JSON.
  private static func scalar(_ text: String) -> String {
    let isWord = text.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "_-./$()".utf8.contains(byte)
    }
    let letters: Set<Character> = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
    // One letter, and these words, are truth values or nothing to some readers.
    let words: Set = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
    guard isWord, let first = text.first, letters.contains(first), !words.contains(text.lowercased()) else {
      return String(decoding: JSONValue.string(text).text, as: UTF8.self)
    }
    return text
  }
}
