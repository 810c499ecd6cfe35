/// How many requests arrived when, and what they were made of: a CSV with the columns
/// `second,requests,input_tokens,output_tokens`, a line for each bin of time.
package struct WorkloadTrace: Hashable, Sendable {
  /// The first line of every trace.
  package static let header = "second,requests,input_tokens,output_tokens"
  /// The most bytes of a file: 64 MiB, a million lines of the longest.
  package static let longest = 64 * 1_024 * 1_024

  /// What arrived in one bin.
  package struct Bin: Hashable, Sendable {
    /// When the bin begins, from the start of the trace.
    package var start: Duration
    /// Requests that arrived in it.
    package var requests: Int
    /// Their prompts' tokens, added up.
    package var inputTokens: Int
    /// Their answers' tokens, added up.
    package var outputTokens: Int
  }

  /// The bins in order. Where there is none nothing arrived.
  package let bins: [Bin]
  /// The length of a bin.
  package let binLength: Duration
  /// All requests.
  package let requests: Int

  /// From the start to the end of the last bin.
  package var length: Duration { bins.last.map { $0.start + binLength } ?? .zero }

  /// Reads a trace. A bin's length stands at the end of the file's name (`_10s.csv`); else it is the distance of the first two.
  package init(parsing bytes: [UInt8], file: String) throws(WorkloadTraceError) {
    guard bytes.count <= Self.longest else {
      throw WorkloadTraceError(file, "has more than \(Self.longest) bytes; cut it into pieces")
    }
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
      String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
    }
    while lines.last?.isEmpty == true { lines.removeLast() }
    guard lines.first == Self.header else {
      throw WorkloadTraceError(
        file, line: 1, "the header must be \(Self.header), not \"\((lines.first ?? "").prefix(80))\"")
    }
    var bins: [Bin] = []
    var length = Self.length(inName: file)
    for (index, line) in lines.enumerated().dropFirst() {
      let row = Row(line: line, number: index + 1, file: file)
      let bin = try row.bin()
      if let last = bins.last {
        guard bin.start > last.start else {
          throw row.error(0, "\(bin.start) does not come after the line before; sort the lines by it")
        }
        let distance = bin.start - last.start
        guard distance >= length ?? .zero else {
          throw row.error(
            0,
            "only \(distance) after the line before, and a bin has \(length ?? distance); name the file ..._\(distance.components.seconds)s.csv if that is a bin"
          )
        }
        length = length ?? distance
      }
      bins.append(bin)
    }
    guard !bins.isEmpty else { throw WorkloadTraceError(file, "has no line below the header") }
    guard let length else {
      throw WorkloadTraceError(
        file, "has one line, so its bin's length can't be known; name the file ..._10s.csv if a bin has 10 seconds")
    }
    let (requests, hasOverflow) = bins.reduce((0, false)) { sum, bin in
      let (next, overflow) = sum.0.addingReportingOverflow(bin.requests)
      return (next, sum.1 || overflow)
    }
    guard !hasOverflow else { throw WorkloadTraceError(file, "has more requests than can be counted") }
    self.bins = bins
    self.binLength = length
    self.requests = requests
  }

  /// The bin's length that a file's name says: its last part, such as `_10s`.
  private static func length(inName file: String) -> Duration? {
    let name = file.split(separator: "/").last ?? ""
    let stem = name.hasSuffix(".csv") ? name.dropLast(4) : name
    guard let part = stem.split(separator: "_").last, part.last == "s", let seconds = Int(part.dropLast()),
      seconds > 0, seconds <= 31_536_000, stem.contains("_")
    else { return nil }
    return .seconds(seconds)
  }
}

/// One line of a trace.
private struct Row {
  private static let columns = WorkloadTrace.header.split(separator: ",")
  /// What a cell may hold at most: a million requests a second for a quarter of an hour, and their tokens.
  private static let largest = 1_000_000_000_000

  let line: String
  let number: Int
  let file: String

  func bin() throws(WorkloadTraceError) -> WorkloadTrace.Bin {
    let cells = line.split(separator: ",", omittingEmptySubsequences: false)
    guard cells.count == Self.columns.count else {
      throw WorkloadTraceError(
        file, line: number, "has \(cells.count) columns, and \(Self.columns.count) are needed: \(WorkloadTrace.header)")
    }
    var numbers: [Int] = []
    for (column, cell) in cells.enumerated() {
      guard let value = Int(cell), (0...Self.largest).contains(value) else {
        throw error(
          column, "\"\(cell.prefix(40))\" is not a whole number from 0 to \(Self.largest); write digits alone")
      }
      numbers.append(value)
    }
    if numbers[1] == 0, numbers[2] + numbers[3] > 0 {
      throw error(1, "0 requests can't have tokens; correct one of them")
    }
    return WorkloadTrace.Bin(
      start: .seconds(numbers[0]), requests: numbers[1], inputTokens: numbers[2], outputTokens: numbers[3])
  }

  func error(_ column: Int, _ text: String) -> WorkloadTraceError {
    WorkloadTraceError(file, line: number, "column \(column + 1) (\(Self.columns[column])): \(text)")
  }
}

/// What is wrong with a trace, where, and what to do.
package struct WorkloadTraceError: Error, Hashable, Sendable, CustomStringConvertible {
  package let description: String

  init(_ file: String, line: Int? = nil, _ text: String) {
    description = line.map { "\(file):\($0): \(text)" } ?? "\(file) \(text)"
  }
}
