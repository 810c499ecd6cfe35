import KubernetesCore
package import ScalingDecision

/// One entry of the page's list: a decision that said something new, or a trouble.
struct DecisionEntry: Sendable {
  /// Counts from 1.
  var number: UInt64
  /// When it was decided.
  var at: Timestamp
  /// For which autoscaler.
  var fleet: ObjectKey
  /// In words.
  var words: String
  /// The count that was observed; nil: it wasn't.
  var current: Int?
  /// The goal; nil for a trouble.
  var desired: Int?
  /// What was written; nil: nothing.
  var written: Int?
  /// The step that had the last word; nil for a trouble.
  var step: BindingStep?
  /// Whether it is a dry run.
  var isDryRun = false
  /// The full record as a line of the decision log; empty: let go, or there is none.
  var record: [UInt8] = []
  /// Whether the record lacks its workers and their samples.
  var isAbridged = false

  /// How many bytes it takes.
  var byteCount: Int { MemoryLayout<Self>.stride + heapBytes(of: words) + (record.isEmpty ? 0 : record.capacity + 32) }
}

/// The latest decisions of all fleets, bounded in number and in bytes. What is large goes first: the oldest full records
/// lose their workers, then go altogether; the words stay longest.
struct DecisionHistory: Sendable {
  /// How many entries are kept.
  static let maximumCount = 256
  /// The longest words of an entry, in bytes; longer ones are cut.
  static let maximumWords = 1_024
  /// The largest record that is kept with its workers.
  static let maximumRecord = 96 * 1_024

  /// The entries, oldest first.
  private(set) var entries: [DecisionEntry] = []
  /// The number of the newest entry ever; 0: none.
  private(set) var lastNumber: UInt64 = 0
  private(set) var byteCount = 0

  /// Makes an empty list.
  init() {}

  /// Adds an entry and gives its number; `capacity` is how many bytes all may take.
  mutating func append(_ entry: DecisionEntry, capacity: Int) -> UInt64 {
    var entry = entry
    lastNumber += 1
    entry.number = lastNumber
    if entry.words.utf8.count > Self.maximumWords { entry.words = entry.words.cut(toBytes: Self.maximumWords) }
    if entry.record.count > Self.maximumRecord { entry.abridge() }
    // A text that grew while it was written has room to spare.
    if entry.record.capacity > entry.record.count + 256 { entry.record = Array(entry.record) }
    if entries.capacity == 0 { entries.reserveCapacity(Self.maximumCount) }
    if entries.count >= Self.maximumCount { dropFirst() }
    entries.append(entry)
    byteCount += entry.byteCount
    shrink(to: capacity)
    return entry.number
  }

  /// The entry of a number; nil: it has been let go.
  func entry(_ number: UInt64) -> DecisionEntry? {
    guard let first = entries.first?.number, number >= first, number <= lastNumber else { return nil }
    let index = Int(number - first)
    return entries.indices.contains(index) ? entries[index] : nil
  }

  /// The newest entries first; of one fleet, where it is given.
  func newest(_ count: Int, of fleet: ObjectKey? = nil) -> [DecisionEntry] {
    var found: [DecisionEntry] = []
    for entry in entries.reversed() where fleet == nil || entry.fleet == fleet {
      found.append(entry)
      if found.count == count { break }
    }
    return found
  }

  private mutating func dropFirst() {
    byteCount -= entries[0].byteCount
    entries.removeFirst()
  }

  private mutating func shrink(to capacity: Int) {
    // The newest stays whole, whatever it takes; it is bounded itself.
    for index in entries.indices.dropLast() {
      guard byteCount > capacity else { return }
      guard !entries[index].isAbridged, !entries[index].record.isEmpty else { continue }
      change(at: index) { $0.abridge() }
    }
    for index in entries.indices.dropLast() {
      guard byteCount > capacity else { return }
      guard !entries[index].record.isEmpty else { continue }
      change(at: index) { $0.record = [] }
    }
    while byteCount > capacity, entries.count > 1 { dropFirst() }
  }

  private mutating func change(at index: Int, _ body: (inout DecisionEntry) -> Void) {
    byteCount -= entries[index].byteCount
    body(&entries[index])
    byteCount += entries[index].byteCount
  }
}

extension DecisionEntry {
  /// Takes the workers out of the record; a record that can't be read goes.
  mutating func abridge() {
    defer { isAbridged = true }
    do throws(KubernetesError) {
      record = try DecisionRecord(line: record).withoutWorkers.line()
      record = Array(record)
    } catch {
      record = []
    }
  }
}

extension DecisionRecord {
  /// This record without its workers and their samples, which are most of it.
  package var withoutWorkers: DecisionRecord {
    var record = self
    let readings = input.readings.map { reading -> MetricReading in
      if case .workers = reading { return .perWorker([]) }
      return reading
    }
    record.input = DecisionInput(
      now: input.now, specReplicas: input.specReplicas, statusReplicas: input.statusReplicas, workers: [],
      readings: readings, completedWork: input.completedWork, foreignWriter: input.foreignWriter,
      olderRival: input.olderRival)
    return record
  }
}

extension String {
  /// This text cut to at most `count` bytes at the border of a character, with an ellipsis where something is missing.
  func cut(toBytes count: Int) -> String {
    guard utf8.count > count else { return self }
    var result = ""
    var size = 3
    for character in self {
      size += character.utf8.count
      if size > count { break }
      result.append(character)
    }
    return result + "…"
  }
}
