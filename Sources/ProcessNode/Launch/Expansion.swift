/// The changes to texts of a manifest: `$(NAME)`, and paths and addresses that mean something else on this machine.
package enum Expansion {
  /// Replaces `$(NAME)` by the variable's value; `$$(NAME)` becomes `$(NAME)`, and an unknown name stays as it is.
  package static func expand(_ text: String, _ value: (String) -> String?) -> String {
    var result = ""
    var rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[dollar...].dropFirst()
      if rest.first == "$" {
        result += "$"
        rest = rest.dropFirst()
      } else if rest.first == "(", let end = rest.firstIndex(of: ")") {
        let name = rest[rest.index(after: rest.startIndex)..<end]
        result += value(String(name)) ?? "$(\(name))"
        rest = rest[rest.index(after: end)...]
      } else {
        result += "$"
      }
    }
    return result + rest
  }

  /// Replaces mount paths by the folders that stand for them, wherever a path begins with one; longer paths first.
  ///
  /// A path begins at the text's start or after one of the characters that can't be part of a path in common use
  /// (white space, quotes, `= : , ; ( @ < > |`), and a mount path ends at the text's end, at `/`, or at such a character.
  package static func mapPaths(_ text: String, _ paths: [(from: String, to: String)]) -> String {
    guard text.contains("/") else { return text }
    let ordered = paths.filter { $0.from.hasPrefix("/") && $0.from != "/" }.sorted { $0.from.count > $1.from.count }
    return replace(text, isBorder: { isPathBorder($0) }, mayFollow: { $0 == nil || $0 == "/" || isPathBorder($0) }) {
      rest in
      for path in ordered where rest.hasPrefix(path.from) { return (path.from.count, path.to) }
      return nil
    }
  }

  /// Replaces `127.0.0.1` and `localhost`, standing alone, by `address`.
  package static func mapLoopback(_ text: String, to address: String) -> String {
    func isBorder(_ character: Character?) -> Bool {
      guard let character else { return true }
      return !(character.isLetter || character.isNumber || character == "." || character == "-" || character == "_")
    }
    return replace(text, isBorder: isBorder, mayFollow: isBorder) { rest in
      for name in ["127.0.0.1", "localhost"] where rest.hasPrefix(name) { return (name.count, address) }
      return nil
    }
  }

  private static func isPathBorder(_ character: Character?) -> Bool {
    guard let character else { return true }
    return character.isWhitespace || "\"'`=:,;()@<>|&".contains(character)
  }

  private static func replace(
    _ text: String, isBorder: (Character?) -> Bool, mayFollow: (Character?) -> Bool,
    _ match: (Substring) -> (count: Int, with: String)?
  ) -> String {
    var result = ""
    var before: Character?
    var rest = text[...]
    while let first = rest.first {
      if isBorder(before), let found = match(rest), mayFollow(rest.dropFirst(found.count).first) {
        result += found.with
        before = rest.dropFirst(found.count - 1).first
        rest = rest.dropFirst(found.count)
      } else {
        result.append(first)
        before = first
        rest = rest.dropFirst()
      }
    }
    return result
  }
}
