import CoordinationEngine
import MessageFrames
import NATSClient
import NIOCore
import PayloadCompression
import TaskQueue
import Testing

@testable import JetStreamEngine

@Suite struct PackedBodyTests {
  static let text = Array(
    String(repeating: #"{"role":"user","content":"Review the change and say what is wrong"},"#, count: 40).utf8)

  @Test("Bodies come back as they were, and only what pays is packed", arguments: [0, 10, 255, 256, 2_000, 100_000])
  func round(size: Int) throws {
    let body = (0..<size).map { Self.text[$0 % Self.text.count] }
    let (payload, headers) = PackedBody.pack(body, [StoredRecord.header: "{}"])
    #expect((headers[PackedBody.header] != nil) == (size >= 256))
    #expect(headers[StoredRecord.header] == "{}" && payload.readableBytes <= size)
    let back = try PackedBody.unpack(payload, headers)
    #expect(back == body)
  }

  @Test("What was stored before bodies were packed is read as it is")
  func plain() throws {
    let back = try PackedBody.unpack(ByteBuffer(bytes: Self.text), [StoredRecord.header: "{}"])
    #expect(back == Self.text)
  }

  @Test(
    "What can't be unpacked is refused: damage, a newer program's packing, a header that isn't one, a bomb",
    arguments: [
      "", "1", "1 0", "0 0 10", "9 0 10", "2 4000000 10", "1 0 -1", "1 0 9000000", "1 0 99999999999999999999", "1 0 17",
      "x y z",
    ])
  func refused(header: String) throws {
    // A megabyte of zeros in a few bytes.
    let bomb = try #require([UInt8](repeating: 0, count: 1 << 20).withUnsafeBytes { PackedBody.codec.compress($0) })
    #expect(bomb.bytes.count < 200)
    #expect(throws: EngineError.self) {
      try PackedBody.unpack(ByteBuffer(bytes: bomb.bytes), [PackedBody.header: header])
    }
  }
}

extension JetStreamEngineTests {
  @Suite struct Packing {
    @Test("Payloads, results and dead letters lie packed in the streams, and come out as they were")
    func stored() async throws {
      let harness = try await JetStreamHarness()
      do {
        let tasks = harness.jetStream.tasks
        let body = PackedBodyTests.text
        let ids = try await tasks.submit(
          [
            NewTask(payload: body), NewTask(payload: body, attempts: 1),
            NewTask(payload: body, delay: .milliseconds(10)),
          ],
          to: "q"
        ).map(\.id)
        let packed = PackedBody.pack(body, NATSHeaders()).payload.readableBytes
        #expect(packed * 4 < body.count)
        let token = try #require(
          try await JetStream(harness.jetStream.client).message(
            Layout(prefix: "sw").tokenStream("q"),
            .last(subject: Layout(prefix: "sw").tokenSubject("q", .normal, ids[0].number))))
        #expect(token.message.payload.readableBytes == packed)
        var claimed: [ClaimedTask] = []
        while claimed.count < 3 {
          claimed += try await tasks.claim(
            ClaimRequest(queue: "q", worker: "w", maximum: 3, lease: .seconds(30)), wait: .seconds(5))
        }
        #expect(claimed.allSatisfy { $0.payload == body })
        for task in claimed {
          if task.ticket.id == ids[1] {
            _ = try await tasks.fail(task.ticket, reason: "no", isRetryable: true, delay: nil)
          } else {
            _ = try await tasks.complete(task.ticket, result: body + body)
          }
        }
        let done = try await tasks.record(ids[0])
        #expect(done.state == .done(result: body + body))
        let dead = try await tasks.record(ids[1])
        #expect(dead.task.payload == body)
      } catch {
        await harness.stop()
        throw error
      }
      await harness.stop()
    }
  }
}
