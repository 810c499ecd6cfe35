package import KubernetesCore

/// Which part of a container's output is asked for; the names are those of the API's `log` subresource.
package struct PodLogOptions: Hashable, Sendable {
  /// The container; nil where the pod has only one.
  package var container: String?
  /// Whether to go on until the container ends.
  package var follow: Bool
  /// Whether the run before the present one is meant.
  package var previous: Bool
  /// Only so many lines from the end; nil for all.
  package var tailLines: Int?
  /// Only output from this moment on.
  package var sinceTime: Timestamp?
  /// Whether each line begins with its time.
  package var timestamps: Bool
  /// The most bytes.
  package var limitBytes: Int?

  /// Makes options; what isn't given is unrestricted.
  package init(
    container: String? = nil, follow: Bool = false, previous: Bool = false, tailLines: Int? = nil,
    sinceTime: Timestamp? = nil, timestamps: Bool = false, limitBytes: Int? = nil
  ) {
    self.container = container
    self.follow = follow
    self.previous = previous
    self.tailLines = tailLines
    self.sinceTime = sinceTime
    self.timestamps = timestamps
    self.limitBytes = limitBytes
  }
}

/// Why there is no output to give.
package enum PodLogError: Error, Hashable, Sendable, CustomStringConvertible {
  /// No such pod on this node (404).
  case podNotFound(ObjectKey)
  /// No such container in the pod (400).
  case containerNotFound(String, known: [String])
  /// The pod has several containers and none was named (400).
  case containerRequired([String])
  /// The container hasn't run yet, or not before (400).
  case notStarted(String, isPrevious: Bool)

  package var description: String {
    switch self {
    case .podNotFound(let key): "pod \"\(key)\" has not run on this node"
    case .containerNotFound(let name, let known):
      "container \(name) is not valid; it must be one of: \(known.joined(separator: " "))"
    case .containerRequired(let names):
      "a container name must be specified, choose one of: [\(names.joined(separator: " "))]"
    case .notStarted(let name, let isPrevious):
      isPrevious
        ? "previous terminated container \"\(name)\" not found" : "container \"\(name)\" is waiting to start"
    }
  }
}

/// Where the output of containers is to be had: the node's side of `kubectl logs`.
package protocol PodLogSource: Sendable {
  /// The output of a container, as it is read.
  func log(of pod: ObjectKey, _ options: PodLogOptions) throws(PodLogError) -> PodLog
}

/// A container's output: pieces of whole lines, read from its files as they are asked for, so that nothing piles up.
package struct PodLog: AsyncSequence, Sendable {
  package typealias Element = [UInt8]

  /// The present log file; older ones have `.1`, `.2` … behind.
  let path: String
  let options: PodLogOptions
  let time: any TimeSource
  /// Whether the container's run is over, so that nothing more comes.
  let isOver: @Sendable () -> Bool

  /// How often a follower looks for more.
  static let followPeriod = Duration.milliseconds(200)

  package func makeAsyncIterator() -> Iterator { Iterator(self) }

  /// Reads the log.
  package struct Iterator: AsyncIteratorProtocol {
    private let log: PodLog
    private var files: [LogFile]
    private var formatter: LogFormatter
    private var input: [UInt8] = []
    private var isDone = false

    init(_ log: PodLog) {
      self.log = log
      formatter = LogFormatter(log.options)
      // Oldest first.
      files = (0..<16).reversed().compactMap { LogFile($0 == 0 ? log.path : "\(log.path).\($0)") }
      if let lines = log.options.tailLines { skip(toLast: lines) }
    }

    private mutating func skip(toLast lines: Int) {
      var missing = lines
      for (place, file) in files.enumerated().reversed() {
        let found = file.seek(beforeLast: missing)
        missing -= found
        if missing <= 0 {
          files.removeFirst(place)
          return
        }
      }
    }

    package mutating func next() async throws -> [UInt8]? {
      while !isDone {
        // Asked before reading: what was written before the end is then read for sure.
        let isOver = log.isOver()
        if let file = files.first, let bytes = file.read() {
          input += bytes
          let output = takeLines()
          if formatter.isFull { isDone = true }
          if !output.isEmpty { return output }
          continue
        }
        if files.count > 1 {
          files.removeFirst()
        } else if let file = files.first, !file.isStill(at: log.path), let newer = LogFile(log.path) {
          files = [newer]
        } else if files.isEmpty, let file = LogFile(log.path) {
          files = [file]
        } else if !log.options.follow || isOver {
          isDone = true
        } else {
          try await log.time.sleep(for: PodLog.followPeriod)
        }
      }
      return nil
    }

    private mutating func takeLines() -> [UInt8] {
      guard let last = input.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
      var output: [UInt8] = []
      for record in input[...last].split(separator: UInt8(ascii: "\n")) { formatter.add(record, to: &output) }
      input.removeFirst(last + 1)
      return output
    }
  }
}

/// Turns records of a log file (`TIME STREAM F|P TEXT`) into what was asked for.
struct LogFormatter {
  private let timestamps: Bool
  private let since: [UInt8]?
  private var room: Int
  private var isWithinLine = false

  init(_ options: PodLogOptions) {
    timestamps = options.timestamps
    // All times are written in UTC with nine digits, so that they compare as text.
    since = options.sinceTime.map { Array($0.rfc3339Micro.dropLast().utf8) + Array("000Z".utf8) }
    room = options.limitBytes ?? .max
  }

  /// Whether the limit of bytes is reached.
  var isFull: Bool { room <= 0 }

  mutating func add(_ record: ArraySlice<UInt8>, to output: inout [UInt8]) {
    let parts = record.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
    // What a full disk cut off isn't a record any more.
    guard parts.count == 4, parts[2].count == 1, let tag = parts[2].first else { return }
    if let since, parts[0].lexicographicallyPrecedes(since) { return }
    var line: [UInt8] = timestamps && !isWithinLine ? parts[0] + [UInt8(ascii: " ")] : []
    line += parts[3]
    isWithinLine = tag == UInt8(ascii: "P")
    if !isWithinLine { line.append(UInt8(ascii: "\n")) }
    output += line.prefix(max(0, room))
    room = room == .max ? room : room - line.count
  }
}
