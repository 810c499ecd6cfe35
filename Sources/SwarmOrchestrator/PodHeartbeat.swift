/// What a pod tells of itself, all of it in one write.
package struct PodHeartbeat: Hashable, Sendable {
  /// Which start of the pod this is: higher than those before.
  package var incarnation: UInt64
  /// The agents that it can run; 0 while it takes no new work.
  package var slots = 0
  /// Those that are at work.
  package var busy = 0
  /// Tasks that it holds and hasn't begun.
  package var queued = 0
  /// How long the oldest of those has waited, in milliseconds.
  package var oldestMilliseconds = 0
  /// Resident memory, in bytes.
  package var memoryBytes = 0
  /// The version of the plan by which it works, and by which all that it has begun to submit was routed.
  package var plan: UInt64 = 0
  /// The queues that it works on, sorted.
  package var queues: [String] = []

  /// What a pod tells first.
  package init(incarnation: UInt64, slots: Int = 0) {
    self.incarnation = incarnation
    self.slots = slots
  }

  /// Reads what `bytes` wrote; nil for anything else.
  package init?(_ bytes: [UInt8]) {
    guard let text = FleetText(bytes, kind: "pod"), let incarnation: UInt64 = text.number("incarnation") else {
      return nil
    }
    self.init(incarnation: incarnation, slots: text.number("slots") ?? 0)
    busy = text.number("busy") ?? 0
    queued = text.number("queued") ?? 0
    oldestMilliseconds = text.number("oldest-ms") ?? 0
    memoryBytes = text.number("memory") ?? 0
    plan = text.number("plan") ?? 0
    queues = text.words("queues").map(String.init)
  }

  /// As it is kept.
  package var bytes: [UInt8] {
    var text = FleetText(kind: "pod")
    text.add("incarnation", incarnation)
    text.add("slots", slots)
    text.add("busy", busy)
    text.add("queued", queued)
    text.add("oldest-ms", oldestMilliseconds)
    text.add("memory", memoryBytes)
    text.add("plan", plan)
    text.add("queues", queues)
    return text.bytes
  }
}
