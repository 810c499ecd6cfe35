import ControllerServer
import KubernetesCore
import Logging
import ServiceLifecycle
import StatusPage
import Synchronization
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Serves the real page with fleets that exist only here, for screenshots and for the tests of Tests/Page.
///
///     StatusPagePreview [--port N] [--fleets N] [--pace MILLISECONDS] [--tick MILLISECONDS] [--phase STEPS]
///         [--scene demo|hostile|losses|empty|standby|alone]
///
/// It prints its port once it listens, and ends by SIGTERM.
@main
enum Preview {
  struct Options {
    var port = 0
    var fleets = 3
    /// How often the fleets decide; each time stands for 15 seconds of work.
    var pace = Duration.milliseconds(1000)
    var scene = "demo"
    /// Where in its load's rise and fall, which take 160 steps, the first fleet began half an hour ago.
    var phase = 108
    /// How often the page sends news.
    var tick = Duration.seconds(1)
  }

  static func main() async throws {
    let options = options(CommandLine.arguments.dropFirst())
    let began = Timestamp(nanosecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1e9))
    let time = PreviewTime(startingAt: began)
    var configuration = StatusPage.Configuration(program: "swarmscale preview", instance: "swarmscale-controller-0")
    configuration.tick = options.tick
    let page = StatusPage(configuration, time: time)
    let feed = Feed(options: options, page: page, time: time)
    page.attach(feed.sources)
    feed.tellPast()
    let server = ControllerServer(
      endpoints: .init(liveness: { .ok }, readiness: { .ok }, metrics: { "" }), page: page, host: "127.0.0.1",
      port: options.port, logger: Logger(label: "preview") { _ in SwiftLogNoOpLogHandler() }
    ) { port in
      print(port)
      // A pipe is written when it is full, else.
      _ = fflush(nil)
    }
    try await ServiceGroup(
      services: [server, feed], gracefulShutdownSignals: [.sigterm, .sigint],
      logger: Logger(label: "preview") { _ in SwiftLogNoOpLogHandler() }
    ).run()
  }

  private static func options(_ arguments: ArraySlice<String>) -> Options {
    var options = Options()
    var rest = arguments
    while let flag = rest.popFirst(), let value = rest.popFirst() {
      switch flag {
      case "--port": options.port = Int(value) ?? 0
      case "--fleets": options.fleets = Int(value) ?? 3
      case "--pace": options.pace = .milliseconds(Int(value) ?? 1000)
      case "--scene": options.scene = value
      case "--phase": options.phase = Int(value) ?? 108
      case "--tick": options.tick = .milliseconds(Int(value) ?? 1000)
      default: break
      }
    }
    return options
  }
}

/// The life of the invented fleets.
final class Feed: Service {
  struct State {
    var fleets: [PreviewFleet] = []
    var random = SplitMix(state: 7)
  }

  let options: Preview.Options
  let page: StatusPage
  let time: PreviewTime
  let state: Mutex<State>

  init(options: Preview.Options, page: StatusPage, time: PreviewTime) {
    self.options = options
    self.page = page
    self.time = time
    var fleets: [PreviewFleet] = []
    switch options.scene {
    case "empty", "standby": break
    case "hostile":
      for (index, name) in Self.hostileNames.enumerated() {
        fleets.append(PreviewFleet(key: ObjectKey(namespace: "hostile", name: name), seed: UInt64(index + 1), load: 8))
      }
    default:
      let names = ["reviewers", "summarizers", "translators"]
      for index in 0..<options.fleets {
        let key =
          index < names.count
          ? ObjectKey(namespace: "agents", name: names[index])
          : ObjectKey(namespace: "team-\(index % 24)", name: "fleet-\(index)")
        fleets.append(
          PreviewFleet(
            key: key, seed: UInt64(index * 3 + 1), load: index == 0 ? 9 : 3 + index % 5,
            phase: index == 0 ? options.phase : index * 7))
      }
    }
    if options.scene == "losses" { for index in fleets.indices { fleets[index].isUnlucky = true } }
    state = Mutex(State(fleets: fleets))
  }

  /// What Kubernetes would never allow as a name, and what it does allow.
  static let hostileNames = [
    "<img src=x onerror=\"document.title='hacked'\">", "</script><script>document.title='hacked'</script>",
    "\u{202E}gnp.exe\u{2066}", "ردود-العملاء", String(repeating: "a", count: 63), "a/b?c#d%2F&e=\"'",
    "long." + String(repeating: "x", count: 248), "‏שלום",
  ]

  var sources: StatusPage.Sources {
    let isLeader = options.scene != "standby"
    return StatusPage.Sources(
      leadership: {
        StatusPage.Leadership(isLeader: isLeader, holder: "swarmscale-controller-5d9fbb7c84-x2x8q_2863311530")
      },
      activity: { key in
        let now = self.time.wallNow
        guard self.options.scene != "alone" else { return nil }
        return self.state.withLock { $0.fleets.first { $0.key == key } }?.activity(at: now)
      }, hasCoordinator: options.scene != "alone")
  }

  /// Half an hour before now, a decision every 15 seconds.
  func tellPast() {
    let steps = options.fleets > 50 ? 8 : 120
    for step in 0..<steps {
      for part in 0..<3 {
        time.set(ahead: .seconds((step - steps) * 15 + part * 5))
        if part == 0 { self.step() }
        tellBudgets()
      }
    }
    time.set(ahead: .zero)
  }

  private func step() {
    let now = time.wallNow
    state.withLock { state in
      for index in state.fleets.indices { state.fleets[index].step(to: now, page: page) }
    }
  }

  private func tellBudgets() {
    guard options.scene == "demo" else { return }
    let samples = state.withLock { state in
      [BudgetSample.preview(ObjectKey(namespace: "agents", name: "claude"), of: state.fleets, random: &state.random)]
    }
    page.observe(samples)
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        do { try await self.time.sleep(for: self.options.pace) } catch { return }
        self.step()
        self.tellBudgets()
      }
    }
  }
}
