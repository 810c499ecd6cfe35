/// The name of models with * for any text, such as "claude-sonnet-*".
package struct ModelPattern: Hashable, Sendable {
  /// The pattern as written.
  package var text: String

  /// Makes a pattern.
  package init(_ text: String) {
    self.text = text
  }

  /// Whether a model's name fits.
  package func matches(_ model: String) -> Bool {
    let (name, pattern) = (Array(model.utf8), Array(text.utf8))
    var (at, place) = (0, 0)
    // Where to go on when what follows the last star doesn't fit.
    var retry: (at: Int, place: Int)?
    while at < name.count {
      if place < pattern.count, pattern[place] == UInt8(ascii: "*") {
        place += 1
        retry = (at, place)
      } else if place < pattern.count, pattern[place] == name[at] {
        at += 1
        place += 1
      } else if let last = retry {
        retry = (last.at + 1, last.place)
        (at, place) = (last.at + 1, last.place)
      } else {
        return false
      }
    }
    return pattern[place...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}
