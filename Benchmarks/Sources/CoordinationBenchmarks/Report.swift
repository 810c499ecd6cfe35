#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How a row came out against what was promised.
enum Verdict: String, Codable, Sendable {
  /// The target is reached, and with it the seed's figure where there is one.
  case met
  /// The seed's figure is beaten, the target isn't reached; the row says why.
  case beaten
  /// Neither is; the row says why.
  case missed
  /// Nothing is promised: a figure to read the others by.
  case shown
  /// This run has no source for it, or the source could not run; the row says why.
  case absent

  /// What a figure is worth beside the seed's and the target. `seed`: nil where the seed has none.
  init(seed: Bool? = nil, target: Bool) {
    self = target ? .met : seed == true ? .beaten : .missed
  }

  /// As the table has it.
  var text: String {
    switch self {
    case .met: "met"
    case .beaten: "beaten"
    case .missed: "MISSED"
    case .shown: ""
    case .absent: "not measured here"
    }
  }
}

/// One line of the table.
struct ReportRow: Codable, Sendable {
  /// The promise's number, with letters for its parts: `9a`.
  var id: String
  /// What is measured, in which case.
  var what: String
  /// The same without what is measured, in the same run.
  var baseline: String
  /// What was claimed when the project began.
  var seed = ""
  var target = ""
  var measured: String
  var verdict: Verdict
  /// Why a target is missed, or a row absent.
  var why = ""
  /// The numbers behind the text, by name with the unit at its end: for comparing runs.
  var figures: [String: Double] = [:]

  /// The promise's number.
  var promise: Int { Int(id.prefix { $0.isNumber }) ?? 0 }
}

/// The table that a run prints, and notes below it.
struct Report: Sendable {
  private(set) var rows: [ReportRow] = []
  private(set) var notes: [String] = []

  mutating func add(_ row: ReportRow) { rows.append(row) }

  /// Adds a row. `isMet`: nil where nothing is promised.
  mutating func add(
    _ row: String, _ what: String, baseline: String, seed: String = "", target: String = "", measured: String,
    isMet: Bool? = nil, why: String = "", figures: [String: Double] = [:]
  ) {
    rows.append(
      ReportRow(
        id: row, what: what, baseline: baseline, seed: seed, target: target, measured: measured,
        verdict: isMet.map { Verdict(target: $0) } ?? .shown, why: why, figures: figures))
  }

  /// Adds a line below the table.
  mutating func note(_ text: String) { notes.append(text) }

  /// Rows in the promises' order, those of one as they came.
  mutating func sort() {
    rows = rows.enumerated().sorted { ($0.element.promise, $0.offset) < ($1.element.promise, $1.offset) }.map(\.element)
  }

  func print() {
    Swift.print("| row | what | baseline | seed | target | measured |  |")
    Swift.print("|---|---|---|---|---|---|---|")
    for row in rows {
      let verdict = [row.verdict.text, row.why].filter { !$0.isEmpty }.joined(separator: ": ")
      let cells = [row.id, row.what, row.baseline, row.seed, row.target, row.measured, verdict]
      Swift.print("| " + cells.joined(separator: " | ") + " |")
    }
    for note in notes { Swift.print("\n- \(note)") }
  }
}

/// The middle of several values.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
}

/// A share of the sorted values lies below this one.
func quantile(_ share: Double, of values: [Double]) -> Double {
  let sorted = values.sorted()
  return sorted.isEmpty ? .nan : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
}

/// Nanoseconds of CPU time of this thread that one of `count` turns of `body` takes: the median of the rounds.
func nanoseconds(rounds: Int, count: Int, _ body: () -> Void) -> Double {
  body()
  return median(
    (0..<rounds).map { _ in
      let begin = threadNanoseconds()
      body()
      return (threadNanoseconds() - begin) / Double(count)
    })
}

/// CPU time of this thread.
func threadNanoseconds() -> Double { nanoseconds(of: CLOCK_THREAD_CPUTIME_ID) }

/// CPU time of this process.
func processNanoseconds() -> Double { nanoseconds(of: CLOCK_PROCESS_CPUTIME_ID) }

private func nanoseconds(of clock: clockid_t) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Resident bytes of a process.
func residentBytes(of process: String = "self") -> Int {
  guard let file = fopen("/proc/\(process)/statm", "r") else { return 0 }
  defer { fclose(file) }
  var buffer = [CChar](repeating: 0, count: 128)
  guard fgets(&buffer, 128, file) != nil else { return 0 }
  let fields = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.split(separator: UInt8(ascii: " "))
  guard fields.count > 1, let pages = Int(String(decoding: fields[1], as: UTF8.self)) else { return 0 }
  return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
}

extension Double {
  /// With so many digits after the point.
  func text(_ digits: Int = 1) -> String {
    guard isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((abs(self) * scale).rounded())
    let (whole, rest) = (scaled / Int(scale), scaled % Int(scale))
    let fraction = digits == 0 ? "" : "." + String(repeating: "0", count: digits - "\(rest)".count) + "\(rest)"
    return (self < 0 ? "-" : "") + "\(whole)\(fraction)"
  }
}

/// Gives freed memory back to the system, where the C library can (glibc's `malloc_trim`).
func trimHeap() {
  guard let address = dlsym(nil, "malloc_trim") else { return }
  _ = unsafeBitCast(address, to: (@convention(c) (Int) -> Int32).self)(0)
}
