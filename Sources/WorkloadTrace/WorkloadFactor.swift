/// A factor above 0 to the millionth, such as how fast time passes or how much of a load is meant: without floating point, so that
/// a replay is the same each time.
package struct WorkloadFactor: Hashable, Sendable, CustomStringConvertible {
  /// One.
  package static let one = WorkloadFactor(millionths: 1_000_000)

  /// The factor in millionths.
  package let millionths: Int

  private init(millionths: Int) { self.millionths = millionths }

  /// Reads a decimal number above 0 and up to a million, such as `2` or `0.25`; nil for other texts.
  package init?(parsing text: some StringProtocol) {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, (1...7).contains(first.utf8.count), first.utf8.allSatisfy(Self.isDigit),
      let whole = Int(first)
    else { return nil }
    var fraction = 0
    if parts.count == 2 {
      guard (1...6).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy(Self.isDigit),
        let digits = Int(parts[1] + String(repeating: "0", count: 6 - parts[1].utf8.count))
      else { return nil }
      fraction = digits
    }
    let millionths = whole * 1_000_000 + fraction
    guard (1...1_000_000_000_000).contains(millionths) else { return nil }
    self.millionths = millionths
  }

  /// The hundredth part: of a number that was read as a percentage. At least a millionth.
  package var percent: WorkloadFactor { WorkloadFactor(millionths: max(millionths / 100, 1)) }

  /// The time in the trace after so much real time.
  package func traceTime(after real: Duration) -> Duration { real * millionths / 1_000_000 }

  /// The real time until a moment of the trace.
  package func realTime(until trace: Duration) -> Duration { trace * 1_000_000 / millionths }

  /// A count times the factor, rounded down.
  func scale(_ count: Int) -> Int { Int(clamping: Int128(count) * Int128(millionths) / 1_000_000) }

  package var description: String {
    let fraction = millionths % 1_000_000
    guard fraction > 0 else { return "\(millionths / 1_000_000)" }
    var digits = "\(fraction)"
    digits = String(repeating: "0", count: 6 - digits.count) + digits
    while digits.last == "0" { digits.removeLast() }
    return "\(millionths / 1_000_000).\(digits)"
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
