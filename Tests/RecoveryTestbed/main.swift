import CoordinationEngine
import JetStreamEngine
import NATSClient
import PayloadCompression
import SQLiteEngine
import TaskQueue
import TaskRecovery

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

// An agent whose tasks have steps and checkpoints, which tests kill. It says in a line what it does, before it does it: `resume TASK STEP`,
// `call TASK STEP KEY`; and what was acknowledged: `saved TASK STEP`; at the end for each task `result TASK TEXT`, and `end`.
//
// recovery-testbed ENGINE TASKS STEPS, where ENGINE is a folder for SQLite or the URL of a JetStream server.

/// A line that is out when this returns, whatever comes then.
func say(_ line: String) {
  var text = Array((line + "\n").utf8)[...]
  while !text.isEmpty {
    let count = text.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    guard count > 0 else { exit(3) }
    text = text.dropFirst(count)
  }
}

func open(_ place: String) async throws -> any CoordinationEngine {
  guard place.hasPrefix("nats:") else {
    return try await SQLiteEngine.open(.init(directory: place, durability: .process))
  }
  var configuration = JetStreamEngineConfiguration(client: try NATSConfiguration(urls: [place]))
  configuration.ackWait = .seconds(1)
  return JetStreamEngine(configuration)
}

/// Does a task's steps, from where the last agent was.
func work(_ task: ClaimedTask, _ engine: any CoordinationEngine, _ codec: PayloadCodec, steps: Int) async throws {
  let name = String(decoding: task.payload, as: UTF8.self)
  let progress = TaskProgress(ticket: task.ticket, head: task.checkpoint, engine: engine, codec: codec)
  var text = String(decoding: try await progress.restore()?.state ?? [], as: UTF8.self)
  let first = text.split(separator: ",").count
  say("resume \(name) \(first)")
  for step in first..<steps {
    let answer = try await progress.step("step \(step)", request: [UInt8(step)]) { call in
      say("call \(name) \(step) \(call.idempotencyKey)")
      return Array("\(name).\(step),".utf8)
    }
    text += String(decoding: answer, as: UTF8.self)
    try await progress.checkpoint(Array(text.utf8))
    say("saved \(name) \(step + 1)")
  }
  _ = try await engine.tasks.complete(task.ticket, result: Array(text.utf8))
  await progress.finish()
}

func work(_ engine: any CoordinationEngine, tasks: Int, steps: Int) async throws {
  // By its key a task is there once, however often this is begun.
  let new = (0..<tasks).map { NewTask(key: TaskKey("\($0)"), payload: Array("\($0)".utf8), attempts: 100) }
  let ids = try await engine.tasks.submit(new, to: "q").map(\.id)
  let codec = PayloadCodec()
  var done = 0
  while done < tasks {
    let request = ClaimRequest(queue: "q", worker: "w\(getpid())", lease: .seconds(2))
    for task in try await engine.tasks.claim(request, wait: .seconds(1)) {
      do {
        try await work(task, engine, codec, steps: steps)
      } catch let error as RecoveryError {
        // The machine was so slow that the lease ran out: the task comes again.
        guard case .superseded = error else { throw error }
      } catch TaskQueueError.staleTicket {
        continue
      }
    }
    done = try await engine.tasks.statistics(of: "q")["q"]?.done ?? 0
  }
  for (number, id) in ids.enumerated() {
    if case .done(let result) = try await engine.tasks.record(id).state {
      say("result \(number) \(String(decoding: result, as: UTF8.self))")
    }
  }
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let tasks = Int(arguments[2]), let steps = Int(arguments[3]) else {
  say("usage: recovery-testbed FOLDER|nats://HOST:PORT TASKS STEPS")
  exit(64)
}
// Whoever reads its lines waits for ever: work that doesn't end is to be a failure.
alarm(300)
let engine = try await open(arguments[1])
try await withThrowingTaskGroup(of: Void.self) { group in
  group.addTask { try await engine.run() }
  try await work(engine, tasks: tasks, steps: steps)
  await engine.close()
  group.cancelAll()
  while await group.nextResult() != nil {}
}
say("end")
