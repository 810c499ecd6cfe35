#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// This program as a process of its own: what an agent costs that is one.
enum ChildProcess {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// The argument by which it only says that it runs, and waits until its input ends.
  static let command = "child"

  /// What the child does.
  static func runAsChild() {
    var byte: UInt8 = 1
    _ = write(STDOUT_FILENO, &byte, 1)
    _ = read(STDIN_FILENO, &byte, 1)
  }

  /// From the wish for one to its first instruction of its own.
  static func millisecondsToRunning() throws -> Double {
    let clock = ContinuousClock()
    let begin = clock.now
    let time = try withChild { _ in clock.now - begin }
    return time / .milliseconds(1)
  }

  /// Resident bytes of one that waits.
  static func memory() throws -> Int {
    try withChild { residentBytes(of: "\($0)") }
  }

  private static func withChild<Result>(_ body: (pid_t) -> Result) throws -> Result {
    var input: [Int32] = [0, 0]
    var output: [Int32] = [0, 0]
    guard pipe(&input) == 0, pipe(&output) == 0 else { throw Failure(description: "no pipe: \(errno)") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO)
    for file in input + output { posix_spawn_file_actions_addclose(&actions, file) }
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("child"), strdup(command), nil]
    defer { for argument in arguments { free(argument) } }
    var process: pid_t = 0
    let status = posix_spawn(&process, "/proc/self/exe", &actions, nil, &arguments, environ)
    close(input[0])
    close(output[1])
    defer {
      close(input[1])
      close(output[0])
    }
    guard status == 0 else { throw Failure(description: "no process: \(status)") }
    var byte: UInt8 = 0
    guard read(output[0], &byte, 1) == 1 else { throw Failure(description: "the process ended before it ran") }
    let result = body(process)
    _ = write(input[1], &byte, 1)
    waitpid(process, nil, 0)
    return result
  }
}
