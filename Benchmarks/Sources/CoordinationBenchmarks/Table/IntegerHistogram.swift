/// Counts of times in nanoseconds, exact to a thousandth: each power of two is split into 1,024 bins, all in integers.
struct IntegerHistogram: Sendable {
  private static let bits = 10
  private var bins: [Int] = []
  private(set) var count = 0
  private(set) var largest = 0

  /// Adds one; what is below zero counts as zero.
  mutating func add(_ value: Int) {
    let bin = Self.bin(max(0, value))
    if bin >= bins.count { bins += [Int](repeating: 0, count: bin + 1 - bins.count) }
    bins[bin] += 1
    count += 1
    largest = max(largest, value)
  }

  mutating func add(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    add(Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000))
  }

  mutating func add(_ other: IntegerHistogram) {
    if other.bins.count > bins.count { bins += [Int](repeating: 0, count: other.bins.count - bins.count) }
    for (bin, number) in other.bins.enumerated() { bins[bin] += number }
    count += other.count
    largest = max(largest, other.largest)
  }

  /// The value that so many of a million don't exceed.
  func value(perMillion share: Int) -> Int {
    var left = (count * share + 999_999) / 1_000_000
    for (bin, number) in bins.enumerated() where number > 0 {
      left -= number
      if left <= 0 { return min(largest, Self.upper(bin)) }
    }
    return largest
  }

  /// p50, p99, p99.9 and the largest, in milliseconds.
  var milliseconds: (p50: Double, p99: Double, p999: Double, most: Double) {
    func part(_ share: Int) -> Double { Double(value(perMillion: share)) / 1e6 }
    return (part(500_000), part(990_000), part(999_000), Double(largest) / 1e6)
  }

  private static func bin(_ value: Int) -> Int {
    guard value >= 1 << bits else { return value }
    let power = Int.bitWidth - 1 - value.leadingZeroBitCount - bits
    return (power << bits) + (value >> power)
  }

  /// The largest value of a bin.
  private static func upper(_ bin: Int) -> Int {
    guard bin >= 1 << (bits + 1) else { return bin }
    let power = (bin >> bits) - 1
    let lower = (bin - (power << bits)) << power
    return lower + (1 << power) - 1
  }
}
