import CProcessSpawn
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a container's process is started with.
struct Launch: Hashable, Sendable {
  /// The program, found along PATH, and its arguments.
  var arguments: [String]
  /// The whole environment, `NAME=value`.
  var environment: [String]
  /// Where it starts.
  var workingDirectory: String
  /// The log file; nil to keep the first 8 KiB of output and give them with the end.
  var logPath: String?
  /// The most bytes of one log file before it is rotated.
  var logFileBytes: Int = 10 << 20
  /// How many log files there are at most, the present one included.
  var logFiles: Int = 2
}

/// What a process tree has used and uses.
struct ProcessUsage: Hashable, Sendable {
  /// CPU time in nanoseconds since the start, ended children included.
  var cpuNanoseconds: UInt64
  /// Anonymous and shared memory in bytes.
  var memoryBytes: UInt64
  /// The number of processes.
  var processes: Int
}

/// A process tree behind a `swarmscale-shim`, which ends it when this node's end of their socket closes.
final class ContainerProcess: Sendable {
  /// What the shim tells.
  enum Event: Hashable, Sendable {
    case started(pid: Int32)
    /// The program couldn't be run, in words.
    case failed(String)
    case usage(ProcessUsage)
    /// The first process has ended and with it all others.
    case exited(PodLifecycle.ExitStatus, output: [UInt8], lostBytes: UInt64)
    /// The shim ended without a word about the container.
    case lost
  }

  typealias Handler = @Sendable (ContainerProcess, Event) -> Void

  private struct State {
    var descriptor: Int32?
    var input: [UInt8] = []
    var output: [UInt8] = []
    var missingOutput = 0
    var isOver = false
  }

  private let state: Mutex<State>
  private let loop: DescriptorLoop
  private let shim: pid_t
  private let launch: Launch
  private let handler: Handler

  /// Starts a shim and has it start a program; what becomes of it is told to `handler`, on the loop's thread.
  static func start(
    _ launch: Launch, shimPath: String, loop: DescriptorLoop, _ handler: @escaping Handler
  ) throws(NodeError) -> ContainerProcess {
    var pair: [Int32] = [-1, -1]
    var code = cspawn_socket_pair(&pair)
    guard code == 0 else { throw NodeError.system("make a pair of sockets", code) }
    var shim: pid_t = 0
    code = cspawn_with_control(shimPath, pair[1], &shim)
    close(pair[1])
    if code == 0 { loop.note(shim: shim) }
    guard code == 0 else {
      close(pair[0])
      if code == ENOENT {
        throw NodeError("\(shimPath) is missing. Build the product swarmscale-shim and keep it beside this program.")
      }
      throw NodeError.system("start \(shimPath)", code)
    }
    let message = Self.message(launch)
    code = message.withUnsafeBytes { cspawn_send(pair[0], $0.baseAddress, $0.count) }
    _ = fcntl(pair[0], F_SETFL, O_NONBLOCK)
    // A shim that is gone already shows as the end of the stream.
    let process = ContainerProcess(loop: loop, descriptor: pair[0], shim: shim, launch: launch, handler: handler)
    let registration = loop.add(pair[0], .read) { process.readable($0) }
    if registration == nil { process.state.withLock { $0.descriptor = nil } }
    guard registration != nil else {
      loop.reap(shim: shim)
      throw NodeError("The node is being shut down.")
    }
    return process
  }

  private init(loop: DescriptorLoop, descriptor: Int32, shim: pid_t, launch: Launch, handler: @escaping Handler) {
    self.loop = loop
    self.shim = shim
    self.launch = launch
    self.handler = handler
    state = Mutex(State(descriptor: descriptor))
  }

  private static func message(_ launch: Launch) -> [UInt8] {
    let items =
      [
        "1", launch.logPath ?? "", String(launch.logFileBytes), String(launch.logFiles), launch.workingDirectory,
        String(launch.arguments.count),
      ] + launch.arguments + [String(launch.environment.count)] + launch.environment
    var body: [UInt8] = []
    for item in items {
      // The API server lets NUL through in values; in a C string it is the end.
      body += item.utf8.filter { $0 != 0 }
      body.append(0)
    }
    let count = UInt32(body.count)
    return [UInt8(count & 255), UInt8(count >> 8 & 255), UInt8(count >> 16 & 255), UInt8(count >> 24)] + body
  }

  /// Sends SIGTERM to the first process.
  func terminate() { send("signal \(SIGTERM)\n") }

  /// Sends SIGKILL to all processes.
  func kill() { send("kill\n") }

  /// Asks for a `usage` event.
  func askUsage() { send("usage\n") }

  /// Ends all processes and tells nobody.
  func abandon() {
    // The end of what the shim reads tells it; its own end then closes the socket, and `finish` waits for it.
    state.withLock { state in
      state.isOver = true
      if let descriptor = state.descriptor { shutdown(descriptor, Int32(SHUT_WR)) }
    }
  }

  private func send(_ line: String) {
    let bytes = Array(line.utf8)
    state.withLock { state in
      guard let descriptor = state.descriptor else { return }
      // A shim's buffer holds thousands of lines: when it is full the shim is dead or stopped, and its end will tell.
      _ = bytes.withUnsafeBytes { cspawn_send(descriptor, $0.baseAddress, $0.count) }
    }
  }

  private func readable(_ descriptor: Int32) -> DescriptorLoop.Next {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let got = read(descriptor, &buffer, buffer.count)
      if got < 0 && errno == EINTR { continue }
      if got < 0 && errno == EAGAIN { return .wait(.read) }
      if got <= 0 {
        finish()
        return .close
      }
      let events = state.withLock { state in
        let isAbandoned = state.isOver
        let events = self.take(buffer.prefix(got), &state)
        return isAbandoned ? [] : events
      }
      for event in events { handler(self, event) }
    }
  }

  private func finish() {
    let wasOver = state.withLock { state in
      state.descriptor = nil
      defer { state.isOver = true }
      return state.isOver
    }
    // It has closed its socket, which it does by ending.
    loop.reap(shim: shim)
    if !wasOver { handler(self, .lost) }
  }

  private func take(_ bytes: ArraySlice<UInt8>, _ state: inout State) -> [Event] {
    state.input += bytes
    var events: [Event] = []
    while true {
      if state.missingOutput > 0 {
        let piece = state.input.prefix(state.missingOutput)
        state.output += piece
        state.missingOutput -= piece.count
        state.input.removeFirst(piece.count)
        if state.missingOutput > 0 { return events }
      }
      guard let end = state.input.firstIndex(of: UInt8(ascii: "\n")) else { return events }
      let words = String(decoding: state.input[..<end], as: UTF8.self).split(separator: " ")
      state.input.removeFirst(end + 1)
      if let event = event(words, &state) { events.append(event) }
    }
  }

  private func event(_ words: [Substring], _ state: inout State) -> Event? {
    func number<Number: FixedWidthInteger>(_ place: Int) -> Number {
      place < words.count ? Number(words[place]) ?? 0 : 0
    }
    switch words.first {
    case "started": return .started(pid: number(1))
    case "failed":
      state.isOver = true
      return .failed(reason(code: number(1), stage: words.count > 2 ? words[2] : ""))
    case "usage": return .usage(ProcessUsage(cpuNanoseconds: number(1), memoryBytes: number(2), processes: number(3)))
    case "output":
      state.missingOutput = min(number(1), 1 << 20)
      return nil
    case "exited":
      state.isOver = true
      let status: Int32 = number(1)
      let signal = status & 0x7f
      return .exited(
        signal == 0 ? .code(status >> 8 & 0xff) : .signal(signal), output: state.output, lostBytes: number(3))
    default: return nil
    }
  }

  private func reason(code: Int32, stage: Substring) -> String {
    let program = launch.arguments.first ?? ""
    switch (stage, code) {
    case ("chdir", _): return "the working directory \(launch.workingDirectory): \(NodeError.text(of: code))"
    case ("exec", ENOENT):
      return
        "exec: \"\(program)\": no such executable. Local mode runs `command` on this machine: install the program, "
        + "or give its path."
    case ("exec", _): return "exec: \"\(program)\": \(NodeError.text(of: code))"
    default: return NodeError.system("set up \"\(program)\"", code).message
    }
  }
}
