// A worker on JetStream as a process of its own, which tests kill and stop. `jetstream-testbed URL MODE COUNT`:
// hold: claims COUNT tasks of the queue q for a second each, says so, and renews them until it is ended;
// die: claims up to COUNT tasks for a second each, says how many it has, and is killed by its own hand;
// late: claims one, says so, waits for a line on its standard input, and then commits it;
// work: works off tasks until none came for COUNT seconds, each committed with the process's number; says each that was committed.
import CoordinationEngine
import Foundation
import JetStreamEngine
import NATSClient
import TaskQueue

func say(_ text: String) {
  FileHandle.standardOutput.write(Data((text + "\n").utf8))
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let count = Int(arguments[3]) else {
  say("usage: jetstream-testbed URL hold|die|late|work COUNT")
  exit(2)
}
var client = try NATSConfiguration(urls: arguments[1].split(separator: ",").map(String.init))
client.reconnectBase = .milliseconds(10)
client.reconnectLimit = .milliseconds(200)
var configuration = JetStreamEngineConfiguration(client: client)
configuration.ackWait = .seconds(1)
configuration.replicas = arguments[1].contains(",") ? 3 : 1
let engine = JetStreamEngine(configuration)
let running = Task { try await engine.run() }
let worker = "p\(ProcessInfo.processInfo.processIdentifier)"

func claim(_ maximum: Int, lease: Duration, wait: Duration) async throws -> [ClaimedTask] {
  try await engine.tasks.claim(ClaimRequest(queue: "q", worker: worker, maximum: maximum, lease: lease), wait: wait)
}

switch arguments[2] {
case "hold":
  var held: [TaskTicket] = []
  while held.count < count {
    held += try await claim(min(100, count - held.count), lease: .seconds(2), wait: .seconds(20)).map(\.ticket)
  }
  say("held \(held.count)")
  while true {
    _ = try await engine.tasks.renew(held, lease: .seconds(2))
    try await Task.sleep(for: .milliseconds(300))
  }
case "die":
  let claimed = try await claim(count, lease: .seconds(1), wait: .seconds(20))
  say("held \(claimed.count)")
  kill(getpid(), SIGKILL)
case "late":
  let held = try await claim(1, lease: .seconds(1), wait: .seconds(20))
  say("claimed")
  _ = readLine()
  do {
    say("\(try await engine.tasks.complete(held[0].ticket, result: [1]))")
  } catch TaskQueueError.staleTicket {
    say("stale")
  }
case "work":
  say("ready")
  var quiet = ContinuousClock.now
  while ContinuousClock.now - quiet < .seconds(count) {
    do {
      let tasks = try await claim(10, lease: .seconds(3), wait: .seconds(1))
      for task in tasks {
        quiet = ContinuousClock.now
        // Said again while the engine is away, as from an outbox.
        for _ in 0..<20 {
          do {
            if try await engine.tasks.complete(task.ticket, result: task.payload) == .committed {
              say("done \(task.ticket.id)")
            }
            break
          } catch TaskQueueError.unavailable {
            continue
          } catch TaskQueueError.staleTicket {
            break
          }
        }
      }
    } catch TaskQueueError.unavailable {
      continue
    }
  }
default: say("unknown mode")
}
await engine.close()
_ = await running.result
