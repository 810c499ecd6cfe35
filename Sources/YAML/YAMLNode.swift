/// A piece of a YAML document, with the place where it stands.
///
/// Aliases stand for what their anchors name: the same storage, so that a document of nested aliases is small until
/// somebody walks through it.
package struct YAMLNode: Hashable, Sendable {
  /// What a node is.
  package enum Content: Hashable, Sendable {
    /// A text. Only a plain one, written without quotes and tag, may mean anything but itself.
    case scalar(String, isPlain: Bool)
    /// A list.
    case sequence([YAMLNode])
    /// Names with their values, in the order of the document; no name stands twice.
    case mapping([Member])
  }

  /// One name of a mapping, with its value.
  package struct Member: Hashable, Sendable {
    /// The name.
    package var key: String
    /// The line on which the name stands, from 1.
    package var line: Int
    /// The value.
    package var value: YAMLNode
  }

  /// What it is.
  package var content: Content
  /// The line on which it begins, from 1.
  package var line: Int

  /// Makes a node.
  package init(_ content: Content, line: Int) {
    self.content = content
    self.line = line
  }
}

extension YAMLNode {
  /// A scalar's text, whatever it may mean: `5`, `true` and `null` are texts, too.
  package var text: String? {
    guard case .scalar(let text, _) = content else { return nil }
    return text
  }

  /// A plain scalar's text; nil for all that can only be itself.
  var plainText: String? {
    guard case .scalar(let text, isPlain: true) = content else { return nil }
    return text
  }

  /// The elements of a list.
  package var elements: [YAMLNode]? {
    guard case .sequence(let elements) = content else { return nil }
    return elements
  }

  /// The names and values of a mapping.
  package var members: [Member]? {
    guard case .mapping(let members) = content else { return nil }
    return members
  }

  /// The value of a name of a mapping.
  package subscript(key: String) -> YAMLNode? {
    members?.first { $0.key == key }?.value
  }

  /// Whether it is the null value: nothing, `~` or `null`.
  package var isNull: Bool {
    switch plainText {
    case "", "~", "null", "Null", "NULL": true
    default: false
    }
  }

  /// The truth value, as Kubernetes reads YAML: `yes` and `on` are true.
  package var bool: Bool? {
    switch plainText {
    case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": true
    case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": false
    default: nil
    }
  }

  /// The whole number; decimal, or `0x`, `0o`, `0b`, and octal after a plain `0`, as Kubernetes reads YAML.
  package var int: Int64? {
    guard let text = plainText else { return nil }
    let isNegative = text.hasPrefix("-")
    var digits = text.dropFirst(isNegative || text.hasPrefix("+") ? 1 : 0)
    var radix = 10
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
      (radix, digits) = (base, digits.dropFirst(2))
    }
    if radix == 10, digits.utf8.count > 1, digits.hasPrefix("0") { radix = 8 }
    guard let first = digits.first, first != "-", first != "+" else { return nil }
    return Int64((isNegative ? "-" : "") + digits, radix: radix)
  }

  /// The finite number.
  package var double: Double? {
    guard let text = plainText, text.utf8.contains(where: { (0x30...0x39).contains($0) }),
      text.utf8.allSatisfy({ (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }),
      let number = Double(text), number.isFinite
    else { return nil }
    return number
  }
}
