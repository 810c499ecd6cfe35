import ArgumentParser

/// A length of time on the command line, written as Go and Kubernetes write it: `15s`, `5m`, `1h30m`, `500ms`.
package struct DurationArgument: ExpressibleByArgument, Hashable, Sendable, CustomStringConvertible {
  /// The length of time.
  package var duration: Duration

  /// Wraps a length of time.
  package init(_ duration: Duration) { self.duration = duration }

  /// Parses a sequence of whole numbers, each with one of the units `h`, `m`, `s` and `ms`; nil for anything else.
  package init?(argument: String) {
    var total = Duration.zero
    var digits = ""
    var rest = argument[...]
    guard !rest.isEmpty else { return nil }
    while let character = rest.first {
      if character.isASCII, character.isNumber {
        digits.append(character)
        rest.removeFirst()
        continue
      }
      guard let number = Int64(digits), number <= 1_000_000_000 else { return nil }
      digits = ""
      if rest.hasPrefix("ms") {
        total += .milliseconds(number)
        rest.removeFirst(2)
      } else if let unit: Int64 = ["h": 3600, "m": 60, "s": 1][character] {
        total += .seconds(number * unit)
        rest.removeFirst()
      } else {
        return nil
      }
    }
    guard digits.isEmpty || argument == "0" else { return nil }
    duration = total
  }

  /// Parses as `init(argument:)` does; throws an error that says how a length of time is written.
  package init(parsing text: String) throws {
    guard let parsed = DurationArgument(argument: text) else {
      throw ValidationError("'\(text)' is no length of time; write it with units, such as 15s, 5m, 1h30m or 500ms.")
    }
    self = parsed
  }

  /// The same text form that is parsed, in the largest units that fit.
  package var description: String {
    let (seconds, attoseconds) = duration.components
    let milliseconds = attoseconds / 1_000_000_000_000_000
    var text = ""
    if seconds >= 3600 { text += "\(seconds / 3600)h" }
    if seconds % 3600 >= 60 { text += "\(seconds % 3600 / 60)m" }
    if seconds % 60 > 0 { text += "\(seconds % 60)s" }
    if milliseconds > 0 { text += "\(milliseconds)ms" }
    return text.isEmpty ? "0s" : text
  }

  package var defaultValueDescription: String { description }
}
