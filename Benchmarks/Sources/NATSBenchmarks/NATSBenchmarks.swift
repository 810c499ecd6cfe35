import ArgumentParser
import CoordinationEngine
import Foundation
import JetStreamEngine
import NATSClient
import NIOCore
import TaskQueue

/// What the NATS client and the engine on JetStream do in a second, against a server on this machine; Benchmarks/README.md says how to read it.
@main
struct NATSBenchmarks: AsyncParsableCommand {
  @Option(
    help: "The server: a fresh one with JetStream, such as `$(scripts/lib/nats-server-binary) -js -sd $(mktemp -d)`.")
  var url = "nats://127.0.0.1:4222"

  @Option(help: "Runs of each; the median is printed, with the least and the most.")
  var runs = 5

  @Option(help: "Tasks in each run of the engine.")
  var tasks = 10_000

  @Option(help: "Bytes of a message.")
  var bytes = 1_024

  @Option(help: "Workers of the engine at once.")
  var workers = [1, 10, 100, 1_000]

  func run() async throws {
    let configuration = try NATSConfiguration(urls: [url])
    print("what                                          per second                  p50 us   p99 us")
    try await withNATSClient(configuration) { client in
      try await core(client)
      try await stream(client)
    }
    for count in workers { try await engine(configuration, workers: count) }
  }

  /// One run: how many in how long, and how long each took.
  struct Sample {
    var count: Int
    var elapsed: Duration
    var times: [Duration] = []
  }

  private func report(_ name: String, _ body: () async throws -> Sample) async throws {
    var rates: [Double] = []
    var times: [Duration] = []
    for _ in 0..<runs {
      let sample = try await body()
      rates.append(Double(sample.count) / seconds(sample.elapsed))
      times += sample.times
    }
    rates.sort()
    times.sort()
    let rate = "\(Int(rates[rates.count / 2])) (\(Int(rates[0]))-\(Int(rates[rates.count - 1])))"
    func time(_ part: Double) -> String {
      times.isEmpty ? "-" : "\(Int(seconds(times[min(times.count - 1, Int(Double(times.count) * part))]) * 1_000_000))"
    }
    print(pad(name, 46) + pad(rate, 28) + pad(time(0.5), 9) + time(0.99))
  }

  private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
  private func seconds(_ duration: Duration) -> Double { Double(duration.nanoseconds) / 1e9 }

  /// Does something in several tasks at once, and takes the time of each.
  private func many(
    _ callers: Int, _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void
  ) async throws -> Sample {
    let clock = ContinuousClock()
    let start = clock.now
    let times = try await withThrowingTaskGroup(of: [Duration].self) { group in
      for caller in 0..<callers {
        group.addTask {
          var times: [Duration] = []
          for number in stride(from: caller, to: count, by: callers) {
            let begin = clock.now
            try await body(number)
            times.append(clock.now - begin)
          }
          return times
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    return Sample(count: count, elapsed: clock.now - start, times: times)
  }

  private func core(_ client: NATSClient) async throws {
    let payload = ByteBuffer(repeating: 0x61, count: bytes)
    let clock = ContinuousClock()
    try await report("publish and receive, \(bytes) B") {
      let subscription = try client.subscribe("bench.core", limits: .init(messages: 1_000_000, bytes: 1 << 30))
      try await client.flush()
      let start = clock.now
      async let published: Void = {
        for _ in 0..<200_000 { try await client.publish("bench.core", payload) }
      }()
      var count = 0
      while count < 200_000 { count += try await subscription.nextBatch(max: 4096).count }
      try await published
      subscription.unsubscribe()
      return Sample(count: count, elapsed: clock.now - start)
    }
    let service = try client.subscribe("bench.echo")
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        while true {
          let batch = try await service.nextBatch()
          if batch.isEmpty { return }
          for message in batch { try await client.respond(to: message, message.payload) }
        }
      }
      for callers in [1, 100] {
        try await report("request and reply, \(callers) at once") {
          try await many(callers, callers == 1 ? 5_000 : 50_000) { _ in
            _ = try await client.request("bench.echo", payload)
          }
        }
      }
      service.unsubscribe()
      try await group.waitForAll()
    }
  }

  private func stream(_ client: NATSClient) async throws {
    let payload = ByteBuffer(repeating: 0x61, count: bytes)
    let jetStream = JetStream(client)
    let clock = ContinuousClock()
    for storage in [StreamStorage.file, .memory] {
      var configuration = StreamConfiguration(name: "BENCH", subjects: ["bench.stream"], storage: storage)
      configuration.retention = .workQueue
      _ = try? await jetStream.deleteStream("BENCH")
      _ = try await jetStream.createStream(configuration)
      for callers in [1, 512] {
        try await report("publish with receipt, \(storage.rawValue), \(callers) at once") {
          try await many(callers, callers == 1 ? 5_000 : 50_000) { _ in
            try await jetStream.publish("bench.stream", payload)
          }
        }
      }
      let consumer = try await jetStream.createConsumer("BENCH", .init(durable: "c"))
      let messages = try consumer.messages(batch: 500)
      try await report("pull ahead and acknowledge, \(storage.rawValue)") {
        let start = clock.now
        var count = 0
        while count < 40_000 {
          let batch = try await messages.nextBatch(max: 500)
          for message in batch { try message.ack() }
          count += batch.count
        }
        try await client.flush()
        return Sample(count: count, elapsed: clock.now - start)
      }
      messages.stop()
      try await jetStream.deleteStream("BENCH")
    }
  }

  private func engine(_ client: NATSConfiguration, workers: Int) async throws {
    var configuration = JetStreamEngineConfiguration(client: client)
    configuration.prefix = "bench\(workers)"
    let engine = JetStreamEngine(configuration)
    let size = bytes
    let total = workers == 1 ? min(tasks, 2_000) : tasks
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await engine.run() }
      var round = 0
      try await report("engine: submit one by one, \(workers) at once") {
        round += 1
        let queue = "r\(round)"
        return try await many(workers, total) { _ in
          _ = try await engine.tasks.submit([NewTask(payload: [UInt8](repeating: 7, count: size))], to: queue)
        }
      }
      round = 0
      try await report("engine: claim one, complete it, \(workers) workers") {
        round += 1
        let queue = "r\(round)"
        return try await many(workers, total) { number in
          let request = ClaimRequest(queue: queue, worker: "w\(number % workers)", maximum: 1)
          for task in try await engine.tasks.claim(request, wait: .seconds(5)) {
            _ = try await engine.tasks.complete(task.ticket, result: [1])
          }
        }
      }
      round = 0
      try await report("engine: submit 100 at a time, \(workers) at once") {
        round += 1
        let queue = "b\(round)"
        var sample = try await many(min(workers, 8), total / 100) { _ in
          _ = try await engine.tasks.submit(
            (0..<100).map { _ in NewTask(payload: [UInt8](repeating: 7, count: size)) }, to: queue)
        }
        sample.count *= 100
        return sample
      }
      round = 0
      try await report("engine: claim and complete 100 at a time") {
        round += 1
        let queue = "b\(round)"
        var sample = try await many(min(workers, 8), total / 100) { number in
          let request = ClaimRequest(queue: queue, worker: "w\(number)", maximum: 100)
          let held = try await engine.tasks.claim(request, wait: .seconds(5))
          _ = try await engine.tasks.complete(held.map { TaskResult(ticket: $0.ticket, result: [1]) })
        }
        sample.count *= 100
        return sample
      }
      await engine.close()
      try await group.waitForAll()
    }
  }
}
