package import KubernetesCore

/// Something worth an Event on an object.
package struct EventOccurrence: Hashable, Sendable {
  /// The object that it is about.
  package var object: ObjectReference
  /// Normal or a warning.
  package var severity: CoreEvent.Severity
  /// Why, in one UpperCamelCase word.
  package var reason: String
  /// What happened, for a person; cut to 1,024 bytes, the server's limit.
  package var message: String

  /// Describes an occurrence.
  package init(object: ObjectReference, severity: CoreEvent.Severity = .normal, reason: String, message: String) {
    self.object = object
    self.severity = severity
    self.reason = reason
    self.message = message
  }
}

/// Decides which occurrences become which Event writes, by the rules of client-go's correlator.
///
/// - The same occurrence again counts up the Event that is there, and while a write waits, occurrences join it.
/// - More than `aggregationThreshold` different messages of one object and reason within `aggregationInterval` become
///   one "combined" Event.
/// - Each object has a token bucket: `burst` at once, then one per `refillInterval`.
///
/// Pure; all tables are bounded, and what overflows is dropped and counted.
package struct EventCorrelator: Sendable {
  /// The limits.
  package struct Configuration: Hashable, Sendable {
    /// Who reports, such as `swarmscale-controller`.
    package var component: String
    /// Which instance reports, such as the pod's name.
    package var instance: String
    /// The most writes that wait.
    package var maximumPending: Int
    /// The most objects and series remembered.
    package var maximumTracked: Int
    /// The most occurrences of an object at once.
    package var burst: Int
    /// The time for which an object gets one more.
    package var refillInterval: Duration
    /// The number of different messages from which on they are combined.
    package var aggregationThreshold: Int
    /// The time within which they are counted, and after which a silent series begins anew.
    package var aggregationInterval: Duration
    /// The most attempts for one write.
    package var attempts: Int

    /// Makes limits; the defaults are client-go's.
    package init(
      component: String, instance: String = "", maximumPending: Int = 1_000, maximumTracked: Int = 4_096,
      burst: Int = 25, refillInterval: Duration = .seconds(300), aggregationThreshold: Int = 10,
      aggregationInterval: Duration = .seconds(600), attempts: Int = 4
    ) {
      self.component = component
      self.instance = instance
      self.maximumPending = maximumPending
      self.maximumTracked = maximumTracked
      self.burst = burst
      self.refillInterval = refillInterval
      self.aggregationThreshold = aggregationThreshold
      self.aggregationInterval = aggregationInterval
      self.attempts = attempts
    }
  }

  /// What became of an occurrence.
  package enum Admission: Hashable, Sendable {
    /// A write for it waits.
    case queued
    /// It joined a write that waits.
    case merged
    /// The object's tokens are used up.
    case rateLimited
    /// Too many writes wait.
    case overflow
  }

  /// A write to carry out, then to report with `finish`.
  package enum Write: Hashable, Sendable {
    /// Create this Event.
    case create(CoreEvent)
    /// Set the count and last time of the Event that is there.
    case count(ObjectKey, count: Int32, lastTimestamp: Timestamp)
  }

  /// How a write ended.
  package enum Outcome: Hashable, Sendable {
    /// The server has it.
    case written
    /// The Event to count up is gone (they expire after an hour).
    case gone
    /// It may work later.
    case failed
    /// It will never work.
    case refused
  }

  /// The numbers of a recorder; totals.
  package struct Metrics: Hashable, Sendable {
    /// Writes that wait.
    package var pending = 0
    /// Occurrences recorded, dropped ones included.
    package var recorded = 0
    /// Writes done.
    package var written = 0
    /// Occurrences dropped by the token buckets.
    package var rateLimited = 0
    /// Occurrences dropped because too many writes waited.
    package var overflowed = 0
    /// Writes given up.
    package var failed = 0
  }

  private struct Group: Hashable {
    var object: ObjectReference
    var severity: CoreEvent.Severity
    var reason: String
  }

  private struct SeriesKey: Hashable {
    var group: Group
    /// nil for the combined series.
    var message: String?
  }

  private struct Series {
    var message: String
    var name: String
    var count: Int32
    var first: Timestamp
    var last: Timestamp
    var lastSeen: MonotonicTime
    var exists = false
    var isPending = false
    var attempts = 0
  }

  private struct Aggregate {
    var messages: Set<String> = []
    var since: MonotonicTime
  }

  private let configuration: Configuration
  private var series: [SeriesKey: Series] = [:]
  private var aggregates: [Group: Aggregate] = [:]
  /// Per object the moment at which its bucket would be full again (GCRA): one number instead of a bucket.
  private var buckets: [ObjectReference: MonotonicTime] = [:]
  private var pending = FIFO<SeriesKey>()
  private var inFlight: SeriesKey?
  private var counters = Metrics()

  /// Makes a correlator without history.
  package init(_ configuration: Configuration) {
    self.configuration = configuration
  }

  /// The numbers now.
  package var metrics: Metrics {
    var metrics = counters
    metrics.pending = pending.count
    return metrics
  }

  /// Takes in an occurrence; `random` makes the name of a new Event.
  package mutating func record(
    _ occurrence: EventOccurrence, wall: Timestamp, now: MonotonicTime, random: UInt64
  ) -> Admission {
    counters.recorded += 1
    var object = occurrence.object
    // The version changes with each write; the series must not.
    object.resourceVersion = nil
    guard takeToken(object, now: now) else {
      counters.rateLimited += 1
      return .rateLimited
    }
    let group = Group(object: object, severity: occurrence.severity, reason: occurrence.reason)
    let message = truncated(occurrence.message, toUTF8: 1_024)
    let isCombined = countsAsMany(message, in: group, now: now)
    let key = SeriesKey(group: group, message: isCombined ? nil : message)
    var entry = series[key]
    if let old = entry, !old.isPending, now - old.lastSeen > configuration.aggregationInterval { entry = nil }
    if entry?.isPending != true, pending.count >= configuration.maximumPending {
      counters.overflowed += 1
      return .overflow
    }
    var current =
      entry
      ?? Series(
        message: message, name: Self.name(for: object, random), count: 0, first: wall, last: wall, lastSeen: now)
    current.message =
      isCombined ? truncated("(combined from similar events): \(message)", toUTF8: 1_024) : message
    current.count = current.count == .max ? .max : current.count + 1
    current.last = wall
    current.lastSeen = now
    let wasPending = current.isPending
    current.isPending = true
    series[key] = current
    if !wasPending { pending.append(key) }
    evictIfNeeded(now: now)
    return wasPending ? .merged : .queued
  }

  /// The next write; nil when none waits or one is under way.
  package mutating func next() -> Write? {
    guard inFlight == nil, let key = pending.popFirst(), var entry = series[key] else { return nil }
    inFlight = key
    entry.isPending = false
    series[key] = entry
    let object = key.group.object
    let namespace = object.namespace.flatMap { $0.isEmpty ? nil : $0 } ?? "default"
    if entry.exists {
      return .count(
        ObjectKey(namespace: namespace, name: entry.name), count: entry.count, lastTimestamp: entry.last)
    }
    return .create(
      CoreEvent(
        metadata: ObjectMeta(name: entry.name, namespace: namespace), involvedObject: object,
        reason: key.group.reason, message: entry.message, type: key.group.severity, count: entry.count,
        firstTimestamp: entry.first, lastTimestamp: entry.last, reportingComponent: configuration.component,
        reportingInstance: configuration.instance,
        source: CoreEvent.Source(
          component: configuration.component, host: configuration.instance.isEmpty ? nil : configuration.instance)))
  }

  /// Ends the write that `next` gave; `random` names the Event anew when the old one is gone.
  package mutating func finish(_ outcome: Outcome, random: UInt64) {
    guard let key = inFlight else { return }
    inFlight = nil
    guard var entry = series[key] else { return }
    switch outcome {
    case .written:
      entry.exists = true
      entry.attempts = 0
      counters.written += 1
    case .gone:
      entry.exists = false
      entry.name = Self.name(for: key.group.object, random)
      requeue(key, &entry)
    case .failed: requeue(key, &entry)
    case .refused:
      entry.attempts = 0
      counters.failed += 1
    }
    series[key] = entry
  }

  private mutating func requeue(_ key: SeriesKey, _ entry: inout Series) {
    entry.attempts += 1
    guard entry.attempts < configuration.attempts else {
      entry.attempts = 0
      counters.failed += 1
      return
    }
    guard !entry.isPending else { return }
    entry.isPending = true
    pending.append(key)
  }

  private mutating func takeToken(_ object: ObjectReference, now: MonotonicTime) -> Bool {
    let fullAt = max(buckets[object] ?? now, now)
    guard fullAt - now <= configuration.refillInterval * (configuration.burst - 1) else { return false }
    buckets[object] = fullAt + configuration.refillInterval
    return true
  }

  /// Whether the group has had so many different messages lately that they are combined.
  private mutating func countsAsMany(_ message: String, in group: Group, now: MonotonicTime) -> Bool {
    var aggregate = aggregates[group] ?? Aggregate(since: now)
    if now - aggregate.since > configuration.aggregationInterval { aggregate = Aggregate(since: now) }
    // The set needs to grow no further than it takes to see that there are many.
    if aggregate.messages.count <= configuration.aggregationThreshold { aggregate.messages.insert(message) }
    aggregates[group] = aggregate
    return aggregate.messages.count > configuration.aggregationThreshold
  }

  /// Keeps each table within its bound by forgetting its older half; what waits stays.
  private mutating func evictIfNeeded(now: MonotonicTime) {
    let limit = configuration.maximumTracked
    if buckets.count > limit {
      let middle = buckets.values.sorted()[buckets.count / 2]
      buckets = buckets.filter { $0.value > max(middle, now) }
    }
    if aggregates.count > limit {
      let middle = aggregates.values.map(\.since).sorted()[aggregates.count / 2]
      aggregates = aggregates.filter { $0.value.since > middle }
    }
    if series.count > limit {
      let middle = series.values.map(\.lastSeen).sorted()[series.count / 2]
      series = series.filter { $0.value.isPending || $0.key == inFlight || $0.value.lastSeen > middle }
    }
  }

  /// The object's name and 16 hexadecimal digits, within the 253 bytes of a name.
  private static func name(for object: ObjectReference, _ random: UInt64) -> String {
    let digits = String(random, radix: 16)
    let suffix = String(repeating: "0", count: 16 - digits.count) + digits
    var prefix = truncated(object.name ?? "object", toUTF8: 236)
    while let last = prefix.last, last == "." || last == "-" { prefix.removeLast() }
    return "\(prefix).\(suffix)"
  }
}

private func truncated(_ text: String, toUTF8 limit: Int) -> String {
  guard text.utf8.count > limit else { return text }
  var result = ""
  var count = 0
  for character in text {
    count += character.utf8.count
    if count > limit - 3 { break }
    result.append(character)
  }
  return result + "…"
}
