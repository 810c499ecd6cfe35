import Logging
import Observability
import Synchronization
import Testing

private final class RecordingSink: LogSink {
  let lines = Mutex<[String]>([])

  func write(line: [UInt8]) { lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
}

@Suite struct StructuredLogHandlerTests {
  private func line(_ format: LogFormat, _ emit: (Logger) -> Void) -> String {
    let sink = RecordingSink()
    let logger = Logger(label: "test") { label in
      StructuredLogHandler(label: label, format: format, level: .info, sink: sink) { "2026-01-02T03:04:05Z" }
    }
    emit(logger)
    return sink.lines.withLock { $0.joined() }
  }

  @Test("A logfmt line has the fixed fields first and the metadata sorted by key")
  func logfmtOrder() {
    let text = line(.logfmt) { $0.info("scaled", metadata: ["b.key": "2", "a.key": "1"]) }
    #expect(text == "time=2026-01-02T03:04:05Z level=info logger=test msg=scaled a.key=1 b.key=2\n")
  }

  @Test("Values with spaces, quotes, equals signs or newlines are quoted, so that a line stays one line")
  func logfmtQuoting() {
    let text = line(.logfmt) { $0.info("two words", metadata: ["x": "say \"a=b\"\nnext\u{1}"]) }
    #expect(
      text
        == "time=2026-01-02T03:04:05Z level=info logger=test msg=\"two words\" x=\"say \\\"a=b\\\"\\nnext\\u0001\"\n")
  }

  @Test("A JSON line is one object with the same fields")
  func jsonLine() {
    let text = line(.json) { $0.warning("näh", metadata: ["k": "\t"]) }
    #expect(
      text
        == "{\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"warning\",\"logger\":\"test\",\"msg\":\"näh\",\"k\":\"\\t\"}\n"
    )
  }

  @Test("Lines below the level are not written")
  func levelFilter() {
    #expect(line(.logfmt) { $0.debug("quiet") } == "")
  }
}
