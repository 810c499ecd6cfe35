package import KubernetesCore

extension PodUsage {
  /// Reads a `PodMetricsList` (`metrics.k8s.io/v1beta1`), sorted by pod name; `now` stands in for missing timestamps.
  ///
  /// `shared` may give another copy of a pod's name that is kept anyway, so that the list needs none of its own.
  ///
  /// Read value by value instead of as a document, because it is the largest answer that the controller reads over and
  /// over. One broken item fails the list: a silent gap would look like a missing pod.
  package static func list(
    parsing body: [UInt8], now: Timestamp, sharing shared: (_ name: String) -> String? = { _ in nil }
  ) throws(KubernetesError) -> [PodUsage] {
    do {
      var parser = PodMetricsParser(body, now: now)
      return try parser.list(shared).sorted { $0.pod < $1.pod }
    } catch let error as KubernetesError {
      throw error
    } catch {
      throw KubernetesError(
        .malformedResponse, "The metrics API's answer is not a list of pod metrics: \(error); check the metrics-server."
      )
    }
  }
}

private struct PodMetricsParser {
  private var reader: JSONReader
  private let now: Timestamp
  /// Most pods are measured at the same moment, and all over windows of few lengths: each text is read once.
  private var lastTimestamp: (text: String, value: Timestamp)?
  private var lastWindow: (text: String, value: Duration)?
  /// The names of containers that came last, each stored once.
  private var containerNames: [String] = []

  init(_ body: [UInt8], now: Timestamp) {
    reader = JSONReader(body)
    self.now = now
  }

  mutating func list(_ shared: (String) -> String?) throws -> [PodUsage] {
    var items: [PodUsage]?
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(first: &first) {
      if key == "items" { items = try readItems(shared) } else { try reader.skipValue() }
    }
    try reader.finish()
    guard let items else {
      throw KubernetesError(
        .malformedResponse, "The metrics API's answer is not a list of pod metrics; check the metrics-server.")
    }
    return items
  }

  private mutating func readItems(_ shared: (String) -> String?) throws -> [PodUsage] {
    // Go writes an empty list without elements as null.
    if try reader.readNull() { return [] }
    var items: [PodUsage] = []
    try reader.beginArray()
    var first = true
    while try reader.nextElement(first: &first) {
      do {
        items.append(try readItem(shared))
      } catch let error as QuantityError {
        throw KubernetesError(.malformedResponse, "The metrics API's item \(items.count) can't be read: \(error)")
      } catch let error as TimestampError {
        throw KubernetesError(.malformedResponse, "The metrics API's item \(items.count) can't be read: \(error)")
      }
    }
    return items
  }

  private mutating func readItem(_ shared: (String) -> String?) throws -> PodUsage {
    var usage = PodUsage(pod: "", at: now, window: .zero, containers: [])
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(first: &first) {
      switch key {
      case "metadata":
        let name = try readName()
        usage.pod = shared(name) ?? name
      case "timestamp": if let text = try readText() { usage.at = try timestamp(text) }
      case "window": if let text = try readText() { usage.window = window(text) }
      case "containers": try readContainers(of: &usage)
      default: try reader.skipValue()
      }
    }
    return usage
  }

  private mutating func readName() throws -> String {
    if try reader.readNull() { return "" }
    var name = ""
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(first: &first) {
      if key == "name" { name = try readText() ?? "" } else { try reader.skipValue() }
    }
    return name
  }

  private mutating func readContainers(of usage: inout PodUsage) throws {
    // Of several equal members the last one wins.
    usage.containers = []
    if try reader.readNull() { return }
    try reader.beginArray()
    var first = true
    while try reader.nextElement(first: &first) {
      var container = PodUsage.Container(name: "")
      try reader.beginObject()
      var firstMember = true
      while let key = try reader.nextKey(first: &firstMember) {
        switch key {
        case "name": container.name = sharedName(try readText() ?? "")
        case "usage": try readAmounts(&container)
        default: try reader.skipValue()
        }
      }
      usage.append(container)
    }
  }

  /// Most containers are called like those of the pod before.
  private mutating func sharedName(_ name: String) -> String {
    if let known = containerNames.first(where: { $0 == name }) { return known }
    if containerNames.count == 8 { containerNames.removeFirst() }
    containerNames.append(name)
    return name
  }

  private mutating func readAmounts(_ container: inout PodUsage.Container) throws {
    if try reader.readNull() { return }
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(first: &first) {
      switch key {
      case "cpu": container.cpu = try readAmount()
      case "memory": container.memory = try readAmount()
      default: try reader.skipValue()
      }
    }
  }

  /// An amount in thousandths; like any quantity a string or a number.
  private mutating func readAmount() throws -> Int64? {
    switch try reader.peek() {
    case .null:
      _ = try reader.readNull()
      return nil
    case .number:
      switch try reader.readNumber() {
      case .int(let value): return try Quantity(String(value)).milliValue
      case .double(let value): return try Quantity(value.description).milliValue
      }
    default: return try Quantity(reader.readString()).milliValue
    }
  }

  /// A text; nil for null and for an empty one, which Go writes for a zero time.
  private mutating func readText() throws -> String? {
    if try reader.readNull() { return nil }
    let text = try reader.readString()
    return text.isEmpty ? nil : text
  }

  private mutating func timestamp(_ text: String) throws -> Timestamp {
    if let last = lastTimestamp, last.text == text { return last.value }
    let value = try Timestamp(rfc3339: text)
    lastTimestamp = (text, value)
    return value
  }

  private mutating func window(_ text: String) -> Duration {
    if let last = lastWindow, last.text == text { return last.value }
    let value = GoDuration.parse(text) ?? .zero
    lastWindow = (text, value)
    return value
  }
}
