/// The syntax checks of names and labels that selectors and validation share.
///
/// Source: `k8s.io/apimachinery/pkg/util/validation/validation.go` and `pkg/api/validation/path/name.go`.
enum LabelSyntax {
  /// The number of messages that `IsQualifiedName` gives; 0 for a good name (`name` or `prefix.example/name`).
  static func qualifiedNameProblems(_ text: String) -> Int {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    var problems = 0
    switch parts.count {
    case 1: break
    case 2: problems += parts[0].isEmpty ? 1 : dns1123SubdomainProblems(parts[0])
    default: return 1
    }
    let name = parts[parts.count - 1]
    if name.isEmpty {
      problems += 1
    } else if name.utf8.count > 63 {
      problems += 1
    }
    if !isWord(name, inner: isLabelByte, edge: isAlphanumeric) {
      problems += 1
    }
    return problems
  }

  /// Whether `IsValidLabelValue` has nothing to say.
  static func isLabelValue(_ text: String) -> Bool {
    text.isEmpty
      || text.utf8.count <= 63
        && isWord(text[...], inner: isLabelByte, edge: isAlphanumeric)
  }

  /// The number of messages that `IsDNS1123Subdomain` gives.
  static func dns1123SubdomainProblems(_ text: Substring) -> Int {
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    let isWellFormed = labels.allSatisfy {
      isWord($0, inner: isDNSByte, edge: isLowercaseAlphanumeric)
    }
    return (text.utf8.count > 253 ? 1 : 0) + (isWellFormed ? 0 : 1)
  }

  /// The number of messages that `IsDNS1123Label` gives.
  static func dns1123LabelProblems(_ text: String) -> Int {
    let isWellFormed = isWord(
      text[...], inner: isDNSByte, edge: isLowercaseAlphanumeric)
    return (text.utf8.count > 63 ? 1 : 0) + (isWellFormed ? 0 : 1)
  }

  /// The number of messages that `IsValidPathSegmentName` gives.
  static func pathSegmentProblems(_ text: String) -> Int {
    if text == "." || text == ".." { return 1 }
    return (text.contains("/") ? 1 : 0) + (text.contains("%") ? 1 : 0)
  }

  /// Bytes, not characters: an accented letter would compare as lying between "a" and "z".
  private static func isWord(_ text: Substring, inner: (UInt8) -> Bool, edge: (UInt8) -> Bool) -> Bool {
    guard let first = text.utf8.first, let last = text.utf8.last else { return false }
    return edge(first) && edge(last) && text.utf8.allSatisfy(inner)
  }

  private static func isLabelByte(_ byte: UInt8) -> Bool {
    isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
  }

  private static func isDNSByte(_ byte: UInt8) -> Bool {
    isLowercaseAlphanumeric(byte) || byte == UInt8(ascii: "-")
  }

  private static func isLowercaseAlphanumeric(_ byte: UInt8) -> Bool {
    UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    isLowercaseAlphanumeric(byte) || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
  }
}
