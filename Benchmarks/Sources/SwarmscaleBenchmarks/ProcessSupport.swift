#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What Linux says about this process's memory.
enum ProcessMemory {
  /// The memory that the process has in RAM now, in bytes (`VmRSS`).
  static func resident() throws -> Int { try field("VmRSS:") }

  /// The most that it has had since `resetPeak()` (`VmHWM`).
  static func peak() throws -> Int { try field("VmHWM:") }

  /// Makes the present size the peak.
  static func resetPeak() throws {
    guard let file = fopen("/proc/self/clear_refs", "w") else {
      throw BenchmarkError("/proc/self/clear_refs can't be opened: peaks of memory need Linux with procfs.")
    }
    defer { fclose(file) }
    guard fputs("5", file) >= 0 else { throw BenchmarkError("/proc/self/clear_refs can't be written.") }
  }

  /// Gives freed memory back to the system, where the C library can (glibc's `malloc_trim`).
  static func giveBack() {
    typealias Trim = @convention(c) (Int) -> CInt
    guard let address = dlsym(nil, "malloc_trim") else { return }
    _ = unsafeBitCast(address, to: Trim.self)(0)
  }

  private static func field(_ name: String) throws -> Int {
    let text = String(decoding: try readFile("/proc/self/status"), as: UTF8.self)
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      if let number = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int($0) }) {
        return number * 1024
      }
    }
    throw BenchmarkError("/proc/self/status has no \(name): this needs Linux.")
  }
}

/// The bytes of a file, read without a second copy.
func readFile(_ path: String) throws -> [UInt8] {
  guard let file = fopen(path, "r") else { throw BenchmarkError("\(path) can't be opened (errno \(errno)).") }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  if fseek(file, 0, SEEK_END) == 0, ftell(file) > 0 {
    bytes.reserveCapacity(ftell(file))
    rewind(file)
  }
  try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 1) { buffer in
    while true {
      let count = fread(buffer.baseAddress, 1, buffer.count, file)
      bytes.append(contentsOf: buffer[..<count])
      if count < buffer.count { break }
    }
    guard ferror(file) == 0 else { throw BenchmarkError("\(path) can't be read.") }
  }
  return bytes
}

/// Writes a file.
func writeFile(_ path: String, _ bytes: [UInt8]) throws {
  guard let file = fopen(path, "w") else { throw BenchmarkError("\(path) can't be written (errno \(errno)).") }
  let count = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
  guard fclose(file) == 0, count == bytes.count else { throw BenchmarkError("\(path) can't be written: disk full?") }
}

/// Runs this program again in a process of its own and gives what it printed.
func runSelf(_ arguments: [String]) throws -> String {
  var ends: [Int32] = [0, 0]
  guard pipe(&ends) == 0 else { throw BenchmarkError("no pipe can be made (errno \(errno)).") }
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
  posix_spawn_file_actions_addclose(&actions, ends[0])
  let program = "/proc/self/exe"
  let pointers = ([CommandLine.arguments[0]] + arguments).map { strdup($0) }
  defer { pointers.forEach { free($0) } }
  var process = pid_t()
  let result = posix_spawn(&process, program, &actions, nil, pointers + [nil], environ)
  close(ends[1])
  defer { close(ends[0]) }
  guard result == 0 else { throw BenchmarkError("\(program) can't be started (errno \(result)).") }
  var output: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = read(ends[0], &buffer, buffer.count)
    if count <= 0 { break }
    output += buffer[..<count]
  }
  var status: Int32 = 0
  waitpid(process, &status, 0)
  guard status == 0 else {
    throw BenchmarkError("a run with \(arguments.joined(separator: " ")) ended with wait status \(status).")
  }
  return String(decoding: output, as: UTF8.self)
}
