import CoordinationEngine
import LocalEngine
import SQLiteEngine
import TaskQueue

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

// An engine on SQLite with clients and workers in one process, which tests kill. It says in a line what was acknowledged, as soon as
// it was: `submit NUMBER`, `done NUMBER`, `put KEY VALUE`, `count VALUE`, `blob DIGEST`.
//
// engine-testbed FOLDER process|node SEED TASKS

/// A line that is out when this returns, whatever comes then.
func say(_ line: String) {
  var text = Array((line + "\n").utf8)[...]
  while !text.isEmpty {
    let count = text.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    guard count > 0 else { exit(3) }
    text = text.dropFirst(count)
  }
}

func client(_ engine: LocalEngine, _ life: String, _ number: Int, of clients: Int, _ tasks: Int) async throws {
  for task in stride(from: number, to: tasks, by: clients) {
    // By its key a task that was acknowledged in an earlier life is not submitted twice. Its worker may be killed in every life:
    // that is no fault of the task's, which is not to be set aside for it.
    let payload = [UInt8](repeating: UInt8(task % 251), count: 200)
    _ = try await engine.tasks.submit([NewTask(key: TaskKey("\(task)"), payload: payload, attempts: 100)], to: "q")
    say("submit \(task)")
    let value = Array("\(task)".utf8)
    // A key of this life alone: it only rises.
    try await engine.state.put("last.\(life).\(number)", value)
    say("put last.\(life).\(number) \(task)")
  }
}

func worker(_ engine: LocalEngine, _ name: String, _ tasks: Int) async throws {
  while true {
    let request = ClaimRequest(queue: "q", worker: name, maximum: 7, lease: .seconds(1))
    let claimed = try await engine.tasks.claim(request, wait: .seconds(1))
    if claimed.isEmpty, try await engine.tasks.statistics(of: "q")["q"]?.done == tasks { return }
    for task in claimed {
      do {
        let result = Array("\(name) \(task.ticket.epoch)".utf8)
        guard try await engine.tasks.complete(task.ticket, result: result) == .committed else { continue }
        say("done \(task.key?.name ?? "")")
      } catch TaskQueueError.staleTicket {
        continue
      }
      say("count \(try await engine.counters.add(1, to: "done"))")
      say("blob \(try await engine.blobs.put(Array("result of \(task.key?.name ?? "")".utf8)))")
    }
  }
}

let arguments = CommandLine.arguments
guard arguments.count == 5, let durability = Durability(name: arguments[2]), let tasks = Int(arguments[4]) else {
  say("usage: engine-testbed FOLDER process|node SEED TASKS")
  exit(64)
}
// Whoever reads its lines waits for ever: work that doesn't end is to be a failure.
alarm(300)
let engine = try await SQLiteEngine.open(.init(directory: arguments[1], durability: durability))
say("open")
try await withThrowingTaskGroup(of: Void.self) { group in
  group.addTask { try await engine.run() }
  try await withThrowingTaskGroup(of: Void.self) { work in
    for number in 0..<8 { work.addTask { try await client(engine, arguments[3], number, of: 8, tasks) } }
    for number in 0..<8 { work.addTask { try await worker(engine, "w\(arguments[3])-\(number)", tasks) } }
    try await work.waitForAll()
  }
  await engine.close()
  try await group.waitForAll()
}
say("end")
