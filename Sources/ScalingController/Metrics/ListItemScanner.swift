/// Finds the elements of a JSON list's top-level `items` array, without building the document.
///
/// A list of ten thousand pods is a few megabytes of text; decoding it as one document costs ten times that. Decoding
/// item by item keeps memory flat. Input that isn't well-formed gives nil, never a wrong slice: brackets inside strings
/// are skipped and nesting must balance.
package enum ListItemScanner {
  /// The byte ranges of the elements; nil when the document has no balanced top-level `items` array.
  package static func items(in bytes: [UInt8]) -> [Range<Int>]? {
    var index = skipSpace(bytes, 0)
    guard index < bytes.count, bytes[index] == UInt8(ascii: "{") else { return nil }
    index = skipSpace(bytes, index + 1)
    while index < bytes.count, bytes[index] == UInt8(ascii: "\"") {
      guard let nameEnd = endOfString(bytes, index) else { return nil }
      let isItems = bytes[(index + 1)..<(nameEnd - 1)].elementsEqual("items".utf8)
      index = skipSpace(bytes, nameEnd)
      guard index < bytes.count, bytes[index] == UInt8(ascii: ":") else { return nil }
      index = skipSpace(bytes, index + 1)
      if isItems { return elements(bytes, index) }
      guard let valueEnd = endOfValue(bytes, index) else { return nil }
      index = skipSpace(bytes, valueEnd)
      guard index < bytes.count, bytes[index] == UInt8(ascii: ",") else { return nil }
      index = skipSpace(bytes, index + 1)
    }
    return nil
  }

  private static func elements(_ bytes: [UInt8], _ start: Int) -> [Range<Int>]? {
    guard start < bytes.count else { return nil }
    // Go writes an empty list without elements as null.
    if bytes[start...].starts(with: "null".utf8) { return [] }
    guard bytes[start] == UInt8(ascii: "[") else { return nil }
    var ranges: [Range<Int>] = []
    var index = skipSpace(bytes, start + 1)
    if index < bytes.count, bytes[index] == UInt8(ascii: "]") { return [] }
    while index < bytes.count {
      guard let end = endOfValue(bytes, index) else { return nil }
      ranges.append(index..<end)
      index = skipSpace(bytes, end)
      guard index < bytes.count else { return nil }
      if bytes[index] == UInt8(ascii: "]") { return ranges }
      guard bytes[index] == UInt8(ascii: ",") else { return nil }
      index = skipSpace(bytes, index + 1)
    }
    return nil
  }

  private static func skipSpace(_ bytes: [UInt8], _ start: Int) -> Int {
    var index = start
    while index < bytes.count, bytes[index] == 0x20 || (bytes[index] >= 0x09 && bytes[index] <= 0x0D) { index += 1 }
    return index
  }

  /// The index behind the closing quote of the string that begins at `start`.
  private static func endOfString(_ bytes: [UInt8], _ start: Int) -> Int? {
    var index = start + 1
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\\"): index += 2
      case UInt8(ascii: "\""): return index + 1
      default: index += 1
      }
    }
    return nil
  }

  /// The index behind the value that begins at `start`.
  private static func endOfValue(_ bytes: [UInt8], _ start: Int) -> Int? {
    guard start < bytes.count else { return nil }
    switch bytes[start] {
    case UInt8(ascii: "\""): return endOfString(bytes, start)
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      var depth = 0
      var index = start
      while index < bytes.count {
        switch bytes[index] {
        case UInt8(ascii: "\""):
          guard let end = endOfString(bytes, index) else { return nil }
          index = end
          continue
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
          depth -= 1
          if depth == 0 { return index + 1 }
        default: break
        }
        index += 1
      }
      return nil
    default:
      var index = start
      while index < bytes.count, ![UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}")].contains(bytes[index]) {
        index += 1
      }
      return index > start ? index : nil
    }
  }
}
