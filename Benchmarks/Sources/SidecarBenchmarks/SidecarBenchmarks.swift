import ArgumentParser
import NIOCore
import NIOPosix

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What `Benchmarks/sidecar.py` needs to measure a sidecar: something to stand behind it, and something to load it with.
@main
struct SidecarBenchmarks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "SidecarBenchmarks",
    abstract: "Measure what the sidecar adds; build with -c release, and use Benchmarks/sidecar.py.",
    subcommands: [UpstreamCommand.self, LoadCommand.self, RelayCommand.self])
}

/// `upstream`: answers like the Messages API, at once.
struct UpstreamCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upstream",
    abstract: "Answer POST /v1/messages at once, on loopback, until the process is ended.",
    discussion: """
      JSON, or for a body with "stream":true events: how many and how fast say the request's headers \
      \(StreamShape.eventsHeader) and \(StreamShape.paceHeader). Each text delta tells the moment at which it was sent.
      """)

  @Option(help: "The port; 0 takes a free one, which is printed.")
  var port = 0

  func run() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let channel = try await Upstream.bind(port: port, group: group)
    print(channel.localAddress?.port ?? port)
    fflush(nil)
    try await channel.closeFuture.get()
    try await group.shutdownGracefully()
  }
}

/// `load`: the same load directly and through the sidecar, in turn.
struct LoadCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load",
    abstract: "Load `upstream` directly and through the sidecar, in turn, and print what both took as JSON.",
    discussion: """
      Requests come at a constant rate, whether or not the earlier ones are answered. Latency is from the moment at which \
      a request was taken up: waiting for a free connection counts, lateness of this program's timer doesn't. With \
      --streams it is that of each event: from its sending upstream to its arrival. Times are in nanoseconds.
      """)

  @Option(help: "The port of `upstream`.")
  var direct: Int
  @Option(help: "The port of the sidecar.")
  var via: Int
  @Option(help: "Requests per second.")
  var rate = 1_000
  @Option(help: "Connections that are kept open; requests beyond wait.")
  var connections = 20
  @Option(help: "Size of a request's body in bytes, at least 300.")
  var bodyBytes = 2_000
  @Option(help: "Measure events instead: so many streams are open at a time.")
  var streams = 0
  @Option(help: "Events per second of each stream.")
  var pace = 50
  @Option(help: "Seconds that each stream lasts, about.")
  var streamSeconds = 5
  @Option(help: "Rounds; each has a direct part and one through the sidecar.")
  var rounds = 5
  @Option(help: "Seconds of each part that count.")
  var seconds = 5
  @Option(help: "Seconds at the start of each part that don't count.")
  var discard = 2
  @Flag(help: "Leave the direct parts out.")
  var onlyVia = false

  func validate() throws {
    guard rate > 0, connections > 0, bodyBytes >= 300, pace > 0, streamSeconds > 0, rounds > 0, seconds > 0,
      streams >= 0, discard >= 0
    else { throw ValidationError("numbers must be greater than 0, and --body-bytes at least 300") }
  }

  func run() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let kind: Part.Kind =
      streams > 0
      ? .events(streams: streams, shape: StreamShape(events: pace * streamSeconds, pace: pace))
      : .requests(rate: rate, connections: connections)
    var report = LoadReport()
    for _ in 0..<rounds {
      let measured = try await [(direct, onlyVia), (via, false)].asyncMap { port, isLeftOut in
        if isLeftOut { return PartResult() }
        let part = Part(kind: kind, port: port, bodyBytes: bodyBytes, discard: discard, seconds: seconds)
        return try await part.run(on: group.next())
      }
      report.add(direct: measured[0], via: measured[1])
    }
    try await group.shutdownGracefully()
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    print(String(decoding: try encoder.encode(report.summary), as: UTF8.self))
  }
}

extension Array {
  /// The results of a function that waits, one after the other.
  fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
