package import Logging
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How log lines are written.
package enum LogFormat: String, Sendable, CaseIterable {
  /// `time=… level=info msg="…" key=value`, the default: readable and greppable.
  case logfmt
  /// One JSON object a line.
  case json
}

/// Where finished log lines go; each call brings one whole line that ends in a newline.
package protocol LogSink: Sendable {
  /// Writes one line; must not interleave it with other lines.
  func write(line: [UInt8])
}

/// Writes lines to the standard error stream, one `write(2)` a line.
package struct StandardErrorSink: LogSink {
  /// Makes a sink for the standard error stream.
  package init() {}

  package func write(line: [UInt8]) {
    line.withUnsafeBytes { buffer in
      var rest = buffer[...]
      while !rest.isEmpty {
        let written = unsafeWrite(rest)
        // A log that can't be written (closed pipe, full disk) must never stop the controller.
        guard written > 0 else { return }
        rest = rest.dropFirst(written)
      }
    }
  }

  private func unsafeWrite(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int {
    let rebased = UnsafeRawBufferPointer(rebasing: bytes)
    while true {
      let written = write(2, rebased.baseAddress, rebased.count)
      if written < 0 && errno == EINTR { continue }
      return written
    }
  }

  private func write(_ descriptor: Int32, _ base: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
      Glibc.write(descriptor, base, count)
    #elseif canImport(Musl)
      Musl.write(descriptor, base, count)
    #else
      Darwin.write(descriptor, base, count)
    #endif
  }
}

/// A swift-log handler that writes one structured line an event: logfmt or JSON.
///
/// Metadata keys come out sorted, so that equal events give equal lines.
package struct StructuredLogHandler: LogHandler {
  package var metadata: Logger.Metadata = [:]
  package var metadataProvider: Logger.MetadataProvider?
  package var logLevel: Logger.Level
  private let label: String
  private let format: LogFormat
  private let sink: any LogSink
  private let timestamp: @Sendable () -> String

  /// Makes a handler for the logger called `label`; `timestamp` gives the moment in RFC 3339.
  package init(
    label: String,
    format: LogFormat,
    level: Logger.Level,
    sink: any LogSink = StandardErrorSink(),
    timestamp: @escaping @Sendable () -> String
  ) {
    self.label = label
    self.format = format
    self.logLevel = level
    self.sink = sink
    self.timestamp = timestamp
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var merged = metadata
    if let provided = metadataProvider?.get() { merged.merge(provided) { _, new in new } }
    if let own = event.metadata { merged.merge(own) { _, new in new } }
    var fields: [(String, String)] = [
      ("time", timestamp()), ("level", event.level.rawValue), ("logger", label),
      ("msg", event.message.description),
    ]
    fields += merged.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
    if let error = event.error { fields.append((LogKey.error, "\(error)")) }
    sink.write(line: Array(Self.render(fields, as: format).utf8))
  }

  /// Renders fields as one line that ends in a newline.
  package static func render(_ fields: [(String, String)], as format: LogFormat) -> String {
    switch format {
    case .logfmt: fields.map { "\($0.0)=\(quotedForLogfmt($0.1))" }.joined(separator: " ") + "\n"
    case .json: "{" + fields.map { "\(quotedForJSON($0.0)):\(quotedForJSON($0.1))" }.joined(separator: ",") + "}\n"
    }
  }

  private static func quotedForLogfmt(_ value: String) -> String {
    let needsQuotes = value.isEmpty || value.utf8.contains { $0 <= 0x20 || $0 == 0x22 || $0 == 0x3D || $0 == 0x7F }
    return needsQuotes ? quotedForJSON(value) : value
  }

  private static func quotedForJSON(_ value: String) -> String {
    var text = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let hex = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
