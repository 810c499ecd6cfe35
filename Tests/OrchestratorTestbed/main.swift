// A pod of a fleet on JetStream as a process of its own, which tests kill: `orchestrator-testbed URL NAME SLOTS [DOMAIN]`.
// Says each plan that it goes by (`plan EPOCH VERSION LEADER TIER PODS SHARDS`), and works off the queue `q`: `done KEY` for each committed task.
import CoordinationEngine
import Foundation
import JetStreamEngine
import Logging
import NATSClient
import SwarmOrchestrator
import TaskQueue

func say(_ text: String) {
  FileHandle.standardOutput.write(Data((text + "\n").utf8))
}

let arguments = CommandLine.arguments
guard arguments.count >= 4, let slots = Int(arguments[3]) else {
  say("usage: orchestrator-testbed URL NAME SLOTS [DOMAIN]")
  exit(2)
}
var client = try NATSConfiguration(urls: arguments[1].split(separator: ",").map(String.init))
client.reconnectBase = .milliseconds(10)
client.reconnectLimit = .milliseconds(200)
var configuration = JetStreamEngineConfiguration(client: client)
configuration.domain = arguments.count > 4 ? arguments[4] : nil
let engine = JetStreamEngine(configuration)
let name = arguments[2]
let session = FleetSession(
  pod: name, incarnation: UInt64(Date().timeIntervalSince1970 * 1_000), engine: engine,
  logger: Logger(label: "testbed") { _ in SwiftLogNoOpLogHandler() }
) { PodFacts(slots: slots) }

try await withThrowingTaskGroup(of: Void.self) { group in
  group.addTask { try await engine.run() }
  group.addTask { await session.run() }
  group.addTask {
    var last: UInt64 = 0
    while true {
      let status = session.status
      if status.version != last {
        last = status.version
        say(
          "plan \(status.epoch) \(status.version) \(status.leader) \(status.tier.name) \(status.pods) \(status.shards)")
      }
      try await Task.sleep(for: .milliseconds(20))
    }
  }
  for _ in 0..<4 {
    group.addTask {
      while true {
        let request = ClaimRequest(queue: "q", worker: name, maximum: 4, lease: .seconds(5))
        guard let claimed = try? await session.tasks.claim(request, wait: .seconds(2)) else {
          try await Task.sleep(for: .milliseconds(100))
          continue
        }
        for task in claimed where (try? await session.tasks.complete(task.ticket, result: [1])) == .committed {
          say("done \(task.key?.name ?? "")")
        }
      }
    }
  }
  try await group.waitForAll()
}
