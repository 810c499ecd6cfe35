#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Repeated measurements of one thing.
struct Samples {
  /// The values in the order in which they were taken.
  private(set) var values: [Double] = []

  /// Makes an empty series, or one of known values.
  init(_ values: [Double] = []) { self.values = values }

  /// Adds a value.
  mutating func add(_ value: Double) { values.append(value) }

  /// The middle value; the mean of the two middle ones where their number is even.
  var median: Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  /// The smallest value.
  var minimum: Double { values.min() ?? .nan }
  /// The largest value.
  var maximum: Double { values.max() ?? .nan }
}

/// The seconds of CPU time that `body` takes in this thread.
///
/// Not the time on the wall: what is measured computes on one core, and other processes must not count.
func seconds(of body: () throws -> Void) rethrows -> Double {
  let begin = threadSeconds()
  try body()
  return threadSeconds() - begin
}

private func threadSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// A table for people: the first column is left-aligned, the others right-aligned.
struct Table {
  private var rows: [[String]]

  /// Makes a table with a head.
  init(_ head: String...) { rows = [head] }

  /// Adds a row.
  mutating func add(_ cells: String...) { rows.append(cells) }

  /// Adds a row.
  mutating func add(_ cells: [String]) { rows.append(cells) }

  /// The table as Markdown, which is also readable as it is.
  var text: String {
    let columns = rows[0].indices
    let widths = columns.map { column in rows.map { $0[column].count }.max() ?? 0 }
    func line(_ row: [String]) -> String {
      let cells = columns.map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + space : space + row[column]
      }
      return "| " + cells.joined(separator: " | ") + " |"
    }
    let rule = columns.map { column in
      column == 0
        ? String(repeating: "-", count: widths[column])
        : String(repeating: "-", count: max(1, widths[column] - 1)) + ":"
    }
    return ([line(rows[0]), "| " + rule.joined(separator: " | ") + " |"] + rows.dropFirst().map(line))
      .joined(separator: "\n")
  }
}

/// `value` with `digits` behind the point.
func decimal(_ value: Double, _ digits: Int = 1) -> String {
  guard value.isFinite else { return "-" }
  var power = 1.0
  for _ in 0..<digits { power *= 10 }
  let scaled = Int64((abs(value) * power).rounded())
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard digits > 0 else { return sign + grouped(scaled) }
  let fraction = String(scaled % Int64(power))
  return sign + grouped(scaled / Int64(power)) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// A whole number with its digits in groups of three.
func grouped(_ value: Int64) -> String {
  let digits = Array(String(value.magnitude))
  var text = value < 0 ? "-" : ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
    text.append(digit)
  }
  return text
}
