import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import SwarmCoordination

/// The worker's side of the task queue, over its HTTP API (docs/task-queue.md).
struct TaskQueueClient: Sendable {
  /// A task that this worker holds.
  struct Task: Decodable, Sendable {
    var id: String
    var epoch: Int
    var payload: Payload
  }

  private static let lease = 30
  private let url: String
  private let queue: String
  private let worker: String

  /// Finds the queue by SWARMSCALE_TASKS and QUEUE.
  init(environment: [String: String]) throws {
    guard let url = environment["SWARMSCALE_TASKS"] else {
      throw Failure("SWARMSCALE_TASKS is not set: it says where the queue is; `swarmscale local` sets it")
    }
    self.url = url
    queue = environment["QUEUE"] ?? "reviewers"
    worker = environment["SWARMSCALE_POD"] ?? ProcessInfo.processInfo.hostName
  }

  /// The next task, waiting for it; ends by cancellation only, since a queue always may get more.
  func next() async throws -> Task? {
    while true {
      do {
        let answer = try await post("next?wait=20", ["queue": queue, "worker": worker, "leaseSeconds": Self.lease])
        if let task = try JSONDecoder().decode([String: [Task]].self, from: answer)["tasks"]?.first { return task }
      } catch let error as Failure {
        print("waiting:", error)
        try await _Concurrency.Task.sleep(for: .seconds(1))
      }
      try _Concurrency.Task.checkCancellation()
    }
  }

  /// Works on a task under its lease, and says how it ended. Throws only when this worker is cancelled.
  func work(on task: Task, _ body: @escaping @Sendable (Payload) async throws -> Int) async throws {
    let outcome = try await withThrowingTaskGroup(of: Int?.self) { group in
      group.addTask { try await body(task.payload) }
      group.addTask {
        while true {
          try await _Concurrency.Task.sleep(for: .seconds(Self.lease / 3))
          try? await step(task, "heartbeat", ["leaseSeconds": Self.lease])
        }
      }
      defer { group.cancelAll() }
      do {
        return Result<Int, any Error>.success(try await group.next().flatMap { $0 } ?? 0)
      } catch {
        try _Concurrency.Task.checkCancellation()
        return .failure(error)
      }
    }
    switch outcome {
    case .success(let tokens): try await insist(task, "complete", ["result": ["outputTokens": tokens]])
    case .failure(let error):
      let isWorthRetrying = (error as? ClaudeError)?.isWorthRetrying ?? true
      try await insist(task, "fail", ["reason": "\(error)", "retry": isWorthRetrying])
    }
    print(task.id, outcome)
  }

  /// Says a step until it is heard: the queue knows a repetition by the epoch, and an answer 4xx is its last word.
  private func insist(_ task: Task, _ verb: String, _ members: [String: Any]) async throws {
    for attempt in 0..<10 {
      do { return try await step(task, verb, members) } catch let error as Failure where error.isFinal {
        return print(verb, task.id, error)
      } catch is Failure {
        try await _Concurrency.Task.sleep(for: .milliseconds(200 << min(attempt, 5)))
      }
    }
  }

  private func step(_ task: Task, _ verb: String, _ members: [String: Any]) async throws {
    _ = try await post("\(task.id)/\(verb)", members.merging(["epoch": task.epoch]) { $1 })
  }

  private func post(_ path: String, _ members: [String: Any]) async throws -> Data {
    var request = HTTPClientRequest(url: "\(url)/v1/tasks/\(path)")
    request.method = .POST
    request.headers.add(name: "content-type", value: "application/json")
    request.body = .bytes(ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: members)))
    do {
      let answer = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
      let body = Data(try await answer.body.collect(upTo: 16 << 20).readableBytesView)
      guard (200..<300).contains(answer.status.code) else {
        throw Failure(String(decoding: body, as: UTF8.self), isFinal: (400..<429).contains(answer.status.code))
      }
      return body
    } catch let error as Failure {
      throw error
    } catch {
      try _Concurrency.Task.checkCancellation()
      throw Failure("\(error)")
    }
  }

  /// Why the queue didn't do something.
  struct Failure: Error, CustomStringConvertible {
    var description: String
    /// Whether saying it again would be no use.
    var isFinal = false

    init(_ description: String, isFinal: Bool = false) {
      self.description = description
      self.isFinal = isFinal
    }
  }
}
