import KubernetesClient
import KubernetesCore
import Testing

@Suite("CurlTransport's streams")
struct CurlTransportStreamTests {
  @Test("A slow consumer stops the sender, loses nothing and doesn't hold up other requests")
  func backPressure() async throws {
    var limits = CurlTransport.Limits()
    limits.streamHighWaterBytes = 64 << 10
    try await TestServer.with { server in
      try await withTransport(try server.configuration(), limits: limits) { (transport) async throws in
        let request = APIRequest(path: "/stream", query: [.init("chunks", "256"), .init("size", "131072")])
        let (text, writtenEarly) = try await transport.withStream(request) { head, stream in
          #expect(head.status == 200)
          // Nothing is read until libcurl has been paused: round trips on another connection pass the time.
          var tries = 0
          while transport.statistics.pauses == 0, tries < 10_000 {
            _ = try await transport.send(APIRequest(path: "/echo"))
            tries += 1
          }
          let writtenEarly = try await transport.noted("stream-written", atLeast: 0)
          var bytes: [UInt8] = []
          for try await chunk in stream { bytes += chunk }
          return (bytes, writtenEarly)
        }
        #expect(writtenEarly == 0)
        #expect(transport.statistics.pauses > 0)
        #expect(text.count == 256 * 131072)
        let numbers = text.split(separator: 0x0A).compactMap { line in
          Int(String(decoding: line.suffix(7), as: UTF8.self))
        }
        #expect(numbers == Array(0..<256))
      }
    }
  }

  @Test("A stream that falls silent ends with a time-out, after what had arrived", .timeLimit(.minutes(10)))
  func halfOpen() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) {
          try await transport.withStream(
            APIRequest(path: "/half-open", timeout: .seconds(600), idleTimeout: .milliseconds(300))
          ) {
            (_, stream) async throws in
            let iterator = stream.makeAsyncIterator()
            try await expect(iterator, gives: "first\n")
            _ = try await next(iterator)
          }
        }
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("was silent for 0.3 seconds within a stream") == true)
        #expect(try await transport.noted("closed-by-client", atLeast: 1) == 1)
      }
    }
  }

  @Test("A stream's head that doesn't come in time is a time-out")
  func noHead() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) {
          try await transport.withStream(APIRequest(path: "/silent", timeout: .milliseconds(300))) { _, _ in }
        }
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("did not begin to answer") == true)
      }
    }
  }

  @Test("Leaving the body early closes the connection")
  func leavingEarly() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        try await transport.withStream(APIRequest(path: "/half-open")) { (_, stream) async throws in
          try await expect(stream.makeAsyncIterator(), gives: "first\n")
          #expect(transport.statistics.streamsInFlight == 1)
        }
        #expect(try await transport.noted("closed-by-client", atLeast: 1) == 1)
        #expect(transport.statistics.streamsInFlight == 0)
      }
    }
  }

  @Test("Cancelling the task that reads a stream throws CancellationError and closes the connection")
  func cancellation() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        try await withThrowingTaskGroup(of: Void.self) { (group) async throws in
          group.addTask {
            try await transport.withStream(APIRequest(path: "/half-open")) { (_, stream) async throws in
              for try await _ in stream {}
            }
          }
          #expect(try await transport.noted("half-open", atLeast: 1) == 1)
          group.cancelAll()
          await #expect(throws: CancellationError.self) { try await group.next() }
        }
        #expect(try await transport.noted("closed-by-client", atLeast: 1) == 1)
      }
    }
  }

  @Test("A connection that breaks in the middle of a stream gives what arrived, then an error")
  func broken() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) {
          try await transport.withStream(APIRequest(path: "/broken-chunks")) { (_, stream) async throws in
            let iterator = stream.makeAsyncIterator()
            try await expect(iterator, gives: "first\n")
            _ = try await next(iterator)
          }
        }
        #expect(error?.code == .unreachable)
      }
    }
  }

  @Test("Streams come on top of the limit of connections, so that watches over HTTP/1.1 can't starve requests")
  func streamsDoNotStarveRequests() async throws {
    var limits = CurlTransport.Limits()
    limits.connections = 1
    try await TestServer.with { server in
      try await withTransport(try server.configuration(), limits: limits) { (transport) async throws in
        try await transport.withStream(APIRequest(path: "/half-open")) { (_, _) async throws in
          try await transport.withStream(APIRequest(path: "/half-open")) { (_, _) async throws in
            #expect(try await transport.send(APIRequest(path: "/echo")).head.status == 200)
            #expect(transport.statistics.streamsInFlight == 2)
          }
        }
      }
    }
  }

  private func next(_ iterator: APIByteStream.AsyncIterator) async throws -> [UInt8]? {
    var iterator = iterator
    return try await iterator.next()
  }

  private func expect(_ iterator: APIByteStream.AsyncIterator, gives text: String) async throws {
    #expect(try await next(iterator).map { String(decoding: $0, as: UTF8.self) } == text)
  }
}
