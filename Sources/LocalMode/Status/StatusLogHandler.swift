import Logging

/// Log lines of the services in this process, above the block of the live status.
struct StatusLogHandler: LogHandler {
  var logLevel = Logger.Level.warning
  var metadata: Logger.Metadata = [:]
  private let output: StatusOutput

  init(output: StatusOutput = .standard) { self.output = output }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    let values = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    output.say("\(event.level): \(event.message)\(values)")
  }
}
