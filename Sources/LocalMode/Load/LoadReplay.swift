import KubernetesCore
import KubernetesRuntime
import Synchronization
import TaskQueue
import WorkloadTrace

/// Submits the requests of a trace to a queue, each as a task when its time has come.
final class LoadReplay: Sendable {
  /// How far it is.
  struct Progress: Hashable, Sendable {
    /// The moment of the trace.
    var position = Duration.zero
    /// Tasks that were submitted.
    var submitted = 0
    /// Whether the queue has refused the last tasks (it is full, or their lane's backlog is too old), and they wait.
    var isHeld = false
    /// Whether the trace has ended and all is submitted.
    var isOver = false
  }

  /// The file's name.
  let name: String
  /// The queue.
  let queue: String
  /// The trace's length.
  let length: Duration
  /// Requests in all.
  let requests: Int
  private let schedule: WorkloadSchedule
  private let speed: WorkloadFactor
  private let engine: any TaskEngine
  private let time: any TimeSource
  private let state = Mutex(Progress())

  init(
    name: String, queue: String, schedule: WorkloadSchedule, speed: WorkloadFactor, engine: any TaskEngine,
    time: any TimeSource
  ) {
    self.name = name
    self.queue = queue
    self.schedule = schedule
    self.speed = speed
    self.engine = engine
    self.time = time
    length = schedule.trace.length
    requests = schedule.requests
  }

  /// How far it is now.
  var progress: Progress { state.withLock { $0 } }

  /// Between two submissions; what is due meanwhile goes together.
  private static let pause = Duration.milliseconds(20)
  /// Until a full queue is tried again.
  private static let holdPause = Duration.seconds(1)
  /// The longest pause: the lane may be worked off sooner than it was said.
  private static let longestHold = Duration.seconds(60)
  /// Tasks in one submission.
  private static let batch = 1_000

  /// Replays the trace from now on, and ends with it.
  func run() async throws {
    let begin = time.monotonicNow
    var schedule = schedule
    while let next = schedule.next {
      try await time.sleep(until: max(begin + speed.realTime(until: next), time.monotonicNow + Self.pause))
      let position = min(speed.traceTime(after: time.monotonicNow - begin), length)
      while true {
        let due = schedule.due(at: position, maximum: Self.batch)
        guard !due.isEmpty else { break }
        try await submit(due)
      }
      state.withLock { $0.position = position }
    }
    try await time.sleep(until: begin + speed.realTime(until: length))
    state.withLock { state in
      state.position = length
      state.isOver = true
    }
  }

  /// Submits tasks; a full queue takes them later, and the replay waits meanwhile.
  private func submit(_ requests: [WorkloadSchedule.Request]) async throws {
    let tasks = requests.map { request in
      let payload: JSONValue = [
        "request": .int(Int64(request.number)), "inputTokens": .int(Int64(request.inputTokens)),
        "outputTokens": .int(Int64(request.outputTokens)),
      ]
      return NewTask(payload: payload.text)
    }
    while true {
      do {
        _ = try await engine.submit(tasks, to: queue)
        state.withLock { state in
          state.submitted += tasks.count
          state.isHeld = false
        }
        return
      } catch let error as TaskQueueError {
        let pause: Duration
        switch error {
        case .full: pause = Self.holdPause
        // A little later than it was told, each at its own moment.
        case .shed(_, _, _, let retryAfter): pause = min(retryAfter, Self.longestHold) * Int.random(in: 100...125) / 100
        default: throw error
        }
        state.withLock { $0.isHeld = true }
        try await time.sleep(for: pause)
      }
    }
  }
}

/// What is said of a replay: a note for the live status, and a line now and then where there is none.
struct LoadReport {
  private static let interval = Duration.seconds(30)

  private var lastLine: MonotonicTime?
  private var saidEnd = false
  private var saidDone = false

  init() {}

  /// One line of the present state.
  static func note(_ replay: LoadReplay, _ progress: LoadReplay.Progress, _ queue: TaskQueueStatistics) -> String {
    let held = progress.isHeld ? " · held: the queue takes no more" : ""
    return
      "load \(replay.name): \(clock(progress.position)) of \(clock(replay.length)) · \(progress.submitted) of \(replay.requests) submitted"
      + " · \(queue.outstanding) outstanding · \(queue.done) done · \(queue.dead) dead\(held)"
  }

  /// The lines that are to be printed now; `isTerminal`: the note stands on the terminal, only the ends are told.
  mutating func lines(
    _ replay: LoadReplay, _ progress: LoadReplay.Progress, _ queue: TaskQueueStatistics, isTerminal: Bool,
    now: MonotonicTime
  ) -> [String] {
    var lines: [String] = []
    if progress.isOver, !saidEnd {
      saidEnd = true
      lines.append(
        "load \(replay.name): over after \(Self.clock(replay.length)) of the trace; \(progress.submitted) tasks were submitted to \(replay.queue), "
          + "\(queue.outstanding) are outstanding. Nothing more is submitted; the fleet goes on")
    } else if !progress.isOver, !isTerminal, lastLine.map({ now - $0 >= Self.interval }) ?? true {
      lastLine = now
      lines.append(Self.note(replay, progress, queue))
    }
    if progress.isOver, !saidDone, queue.outstanding == 0 {
      saidDone = true
      lines.append(
        queue.dead == 0
          ? "load \(replay.name): all \(queue.done) tasks are done"
          : "load \(replay.name): \(queue.done) tasks are done, \(queue.dead) are dead letters: GET /v1/tasks/dead?queue=\(replay.queue) of the task queue says why"
      )
    }
    return lines
  }

  /// Minutes and seconds, such as 1:05.
  static func clock(_ duration: Duration) -> String {
    let seconds = max(duration.nanosecondsClamped / 1_000_000_000, 0)
    let rest = seconds % 60
    return "\(seconds / 60):\(rest < 10 ? "0" : "")\(rest)"
  }
}
