import ArgumentParser
import CoordinationProtocol
import Coordinator
import RateBudget

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Grants per second and grant latency of the coordinator, over real streams on loopback and without them.
@main
struct CoordinatorBenchmarks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "CoordinatorBenchmarks",
    abstract: "Measure the coordinator: grants per second and their latency; build with -c release.",
    discussion: """
      Coordinator and workers share this process and its cores. Each stream is a connection of its own, as each pod's is.
      Latency is from a request's sending to its grant's arrival, without the 5 ms for which a link batches.
      """)

  @Option(help: "How many streams there are.")
  var streams = 1_000
  @Option(help: "How long each phase lasts, in seconds.")
  var seconds = 10
  @Option(help: "Requests per second of the latency phase, all streams together.")
  var rate = 20_000
  @Option(help: "Requests that each stream keeps open in the throughput phase.")
  var open = 8

  func validate() throws {
    guard streams > 0, seconds > 0, rate > 0, open > 0 else {
      throw ValidationError("all numbers must be greater than 0")
    }
  }

  func run() async throws {
    print("state machine alone, one core: \(Self.stateGrants(streams: streams)) grants/s")
    let clock = SystemBudgetClock()
    let engine = CoordinatorEngine(
      state: CoordinatorState(
        configuration: CoordinatorConfiguration(defaults: Self.wide), name: "benchmark", isSuccessor: false, seed: 1,
        wall: clock.wall, now: clock.now), clock: clock)
    let server = CoordinatorServer(
      CoordinatorServerConfiguration(port: 0, security: .plaintext), engine: engine,
      authenticator: TrustingAuthenticator(), clock: clock)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { do { try await server.run() } catch is CancellationError {} }
      let port = try await server.port
      let full = try await Load(port: port, streams: streams, seconds: seconds, mode: .open(open)).run()
      print(full.line("as fast as it goes, \(streams) streams, \(open) open each"))
      let paced = try await Load(port: port, streams: streams, seconds: seconds, mode: .paced(rate)).run()
      print(paced.line("\(rate) requests/s, \(streams) streams"))
      group.cancelAll()
    }
  }

  /// Limits so wide that nothing waits.
  static var wide: BudgetConfiguration {
    var budget = BudgetConfiguration(
      limits: PerDimension(
        requests: 100_000_000, inputTokens: 100_000_000_000, inputTokensTotal: nil, outputTokens: 100_000_000_000),
      ramp: nil)
    // What isn't configured would be assumed small.
    budget.assumedLimits = PerDimension(repeating: nil)
    return budget
  }

  /// Request, grant and settlement in the state machine, without wire or network.
  private static func stateGrants(streams: Int) -> Int {
    var now = BudgetTime.zero
    var state = CoordinatorState(
      configuration: CoordinatorConfiguration(defaults: wide), name: "benchmark", isSuccessor: false, seed: 1,
      wall: WallTime(milliseconds: 0), now: now)
    let workers = (0..<streams).map(worker)
    for index in workers.indices {
      _ = state.join(
        WorkerHello(identity: workers[index], groups: [GroupMemory(key: group)]), stream: StreamID(UInt64(index + 1)),
        now: now)
    }
    let begin = cpuSeconds()
    var granted = 0
    for number in 1...UInt64(max(1, 200_000 / streams)) {
      for index in workers.indices {
        var frame = WorkerFrame()
        if number > 1 {
          frame.settlements = [
            SettlementNote(group: group, number: number - 1, kind: .final, usage: Usage(input: 900, output: 300))
          ]
        }
        frame.requests = [RequestNote(group: group, request: request(number, of: workers[index], now: now))]
        _ = state.handle(frame, from: StreamID(UInt64(index + 1)), now: now)
        if index % 40 == 39 {
          now = now + .milliseconds(2)
          granted += state.advance(now: now).count { if case .tell(_, .grant) = $0 { true } else { false } }
        }
      }
    }
    return Int(Double(granted) / max(cpuSeconds() - begin, 1e-9))
  }
}

/// The group that everything draws on.
let group = GroupKey(organization: "org", modelGroup: "claude-sonnet")

/// A worker by its number.
func worker(_ index: Int) -> WorkerIdentity {
  WorkerIdentity(
    namespace: "bench", pod: "pod-\(index)", fleet: "fleet-\(index % 4)", kind: "agent", incarnation: "1")
}

/// A request of a usual size.
func request(_ number: UInt64, of worker: WorkerIdentity, now: BudgetTime) -> GrantRequest {
  GrantRequest(
    id: GrantID(client: worker.client, number: number), fleet: worker.fleetName,
    estimate: Estimate(input: 1_000, inputTotal: 20_000, expectedOutput: 400), deadline: now + .seconds(300),
    model: "claude-sonnet-5", kind: "agent")
}

/// The CPU seconds of this process so far.
func cpuSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
