/// The tasks of a queue by number, and, where somebody writes them down, which of them changed.
struct TaskTable: Sendable {
  private var records: [UInt64: TaskRecord] = [:]
  /// The numbers of what changed since `takeChanged`; stays empty unless `isTracked`.
  private(set) var changed: Set<UInt64> = []
  /// Whether changes are noted.
  var isTracked = false

  subscript(number: UInt64) -> TaskRecord? {
    get { records[number] }
    set {
      records[number] = newValue
      if isTracked { changed.insert(number) }
    }
  }

  mutating func removeValue(forKey number: UInt64) -> TaskRecord? {
    if isTracked { changed.insert(number) }
    return records.removeValue(forKey: number)
  }

  /// The numbers of the tasks for which `isWanted` holds, in no order.
  func numbers(where isWanted: (UInt64, TaskRecord) -> Bool) -> [UInt64] {
    records.compactMap { isWanted($0.key, $0.value) ? $0.key : nil }
  }

  /// What changed since the last call, by number; nil for what is gone.
  mutating func takeChanged() -> [TaskQueueChanges.Task] {
    defer { changed.removeAll(keepingCapacity: changed.count < 4_096) }
    return changed.sorted().map { TaskQueueChanges.Task(number: $0, record: records[$0]) }
  }
}
