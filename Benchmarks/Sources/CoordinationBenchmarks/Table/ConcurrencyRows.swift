import CoordinationEngine
import NATSClient
import NATSTestSupport
import NIOCore

/// Many awaits at once on one connection against one after the other (11).
struct ConcurrencyRows: PromiseSource {
  var promises: [Int] { [11] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    guard hasNATSServer else { throw Unmeasurable(description: "no nats-server: set SWARMSCALE_NATS_SERVER") }
    let (few, many) = context.isQuick ? (500, 5_000) : (4_000, 40_000)
    try await withServer { server in
      try await withNATSClient(try NATSConfiguration(urls: [server.url])) { client in
        let payload = ByteBuffer(repeating: 0x61, count: 1_024)
        let jetStream = JetStream(client)
        _ = try await jetStream.createStream(StreamConfiguration(name: "BENCH", subjects: ["bench.stream"]))
        let service = try client.subscribe("bench.echo")
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            while true {
              let batch = try await service.nextBatch()
              if batch.isEmpty { return }
              for message in batch { try await client.respond(to: message, message.payload) }
            }
          }
          try await add("request and answer", context, few, many, &report) {
            _ = try await client.request("bench.echo", payload)
          }
          try await add("stored in a stream and acknowledged", context, few, many, &report) {
            try await jetStream.publish("bench.stream", payload)
          }
          service.unsubscribe()
          try await group.waitForAll()
        }
      }
    }
  }

  private func add(
    _ what: String, _ context: TableContext, _ few: Int, _ many: Int, _ report: inout Report,
    _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    var (alone, together, gains): ([Double], [Double], [Double]) = ([], [], [])
    // In turn, so that a busy machine slows both.
    for _ in 0..<context.rounds {
      let one = try await rate(1, few, body)
      let all = try await rate(512, many, body)
      alone.append(one)
      together.append(all)
      gains.append(all / one)
    }
    let gain = median(gains)
    report.add(
      ReportRow(
        id: "11", what: "\(what): 512 awaits at once, one connection, 1 KB",
        baseline: "one after the other: \(median(alone).text(0))/s", seed: Promise.all[10].seed,
        target: Promise.all[10].target,
        measured:
          "\(median(together).text(0))/s: \(gain.text(1))× (\((gains.min() ?? 0).text(1))–\((gains.max() ?? 0).text(1)))",
        verdict: Verdict(seed: gain > 5, target: gain >= 10), figures: ["gain": gain, "per_second": median(together)]))
  }

  private func rate(_ callers: Int, _ count: Int, _ body: @escaping @Sendable () async throws -> Void) async throws
    -> Double
  {
    let began = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<callers {
        group.addTask { for _ in stride(from: caller, to: count, by: callers) { try await body() } }
      }
      try await group.waitForAll()
    }
    return Double(count) / (ContinuousClock.now - began).seconds
  }
}
