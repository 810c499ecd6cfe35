import Foundation
import KubernetesCore
import TestSupport
import Testing

@testable import ProcessNode

/// The shim by itself: what it tells of a process, and that nothing gets away from it.
@Suite struct ShimTests {
  private func start(
    _ loop: DescriptorLoop, _ script: String, log: String? = nil, _ inbox: Inbox<ContainerProcess.Event>
  ) throws -> ContainerProcess {
    let launch = Launch(
      arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"], workingDirectory: "/", logPath: log)
    return try ContainerProcess.start(launch, shimPath: NodeRig.shim, loop: loop) { _, event in inbox.put(event) }
  }

  private func end(_ inbox: Inbox<ContainerProcess.Event>) async -> ContainerProcess.Event {
    while true {
      let event = await inbox.next()
      switch event {
      case .started, .usage: continue
      case .failed, .exited, .lost: return event
      }
    }
  }

  @Test("A full disk costs the output, not the container")
  func fullDisk() async throws {
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    _ = try start(loop, "yes | head -c 1000000; exit 5", log: "/dev/full", inbox)
    guard case .exited(.code(5), _, let lost) = await end(inbox) else {
      Issue.record("\(inbox.all)")
      return
    }
    #expect(lost >= 1_000_000)
    await loop.shutdown()
  }

  @Test("Output without a log comes with the end, up to 8 KiB")
  func capture() async throws {
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    _ = try start(loop, "echo out; echo err >&2", inbox)
    #expect(await end(inbox) == .exited(.code(0), output: Array("out\nerr\n".utf8), lostBytes: 0))
    _ = try start(loop, "yes | head -c 1000000", inbox)
    guard case .exited(.code(0), let output, _) = await end(inbox) else { throw TestFailure("\(inbox.all)") }
    #expect(output.count == 8 << 10)
    await loop.shutdown()
  }

  @Test("A container has no file open but its own three")
  func descriptors() async throws {
    // Without close-on-exec, as some libraries open files.
    let leak = open("/dev/null", O_RDONLY)
    defer { close(leak) }
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    _ = try start(loop, "exec sleep 1000", inbox)
    guard case .started(let pid) = await inbox.next() else { throw TestFailure("\(inbox.all)") }
    // Told when `sh` runs, so that it may still become `sleep`.
    try await eventually {
      (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").sorted()) == ["0", "1", "2"]
    }
    await loop.shutdown()
  }

  @Test("Killing the shim ends the container's process too, and is told")
  func lost() async throws {
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    _ = try start(loop, "sleep 1000", inbox)
    guard case .started(let pid) = await inbox.next() else { throw TestFailure("\(inbox.all)") }
    let facts = String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/stat") ?? Data(), as: UTF8.self)
    // After the name in parentheses: state, parent.
    let parent = facts.split(separator: ")").last?.split(separator: " ").dropFirst().first.flatMap { Int32($0) }
    kill(try #require(parent), SIGKILL)
    #expect(await end(inbox) == .lost)
    try await eventually { !exists(String(pid)) }
    await loop.shutdown()
  }

  @Test("The end of the loop, as of the node, ends everything before it returns")
  func loopEnd() async throws {
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("shim-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    _ = try start(
      loop,
      "trap '' TERM HUP INT; (setsid sh -c 'echo $$ > \(folder)/daemon; exec sleep 1000' &) ; while :; do sleep 1; done",
      inbox)
    guard case .started(let pid) = await inbox.next() else { throw TestFailure("\(inbox.all)") }
    let file = "\(folder)/daemon"
    try await eventually { (FileManager.default.contents(atPath: file)?.count ?? 0) > 1 }
    let daemon = String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
      .trimmingCharacters(in: .newlines)
    #expect(exists(daemon))
    await loop.shutdown()
    #expect(!exists(String(pid)) && !exists(daemon))
    #expect(throws: NodeError.self) { try start(loop, "true", inbox) }
  }

  @Test("A process that forks as fast as it can is brought to an end")
  func forkStorm() async throws {
    let loop = try DescriptorLoop()
    let inbox = Inbox<ContainerProcess.Event>()
    let script = "i=0; while [ $i -lt 2000 ]; do (setsid sleep 1000 &); i=$((i+1)); done; sleep 1000"
    let process = try start(loop, script, inbox)
    guard case .started = await inbox.next() else { throw TestFailure("\(inbox.all)") }
    process.kill()
    guard case .exited(.signal(9), _, _) = await end(inbox) else { throw TestFailure("\(inbox.all)") }
    await loop.shutdown()
  }

  @Test("A folder belongs to one node at a time")
  func folderLock() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lock-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let lock = try FolderLock(folder)
    #expect(throws: NodeError.self) { try FolderLock(folder) }
    lock.release()
    #expect(throws: Never.self) { try FolderLock(folder) }
  }

  @Test("HTTP answers are told apart by their status line alone")
  func statusLines() {
    func outcome(_ text: String) -> PodLifecycle.CheckOutcome? { NetworkCheck.outcome(of: Array(text.utf8)) }
    #expect(outcome("HTTP/1.1 200 OK\r\n") == .success)
    #expect(outcome("HTTP/1.0 399\n") == .success)
    #expect(outcome("HTTP/1.1 500 Oh\r\n") == .failure("HTTP probe failed with statuscode: 500"))
    #expect(outcome("HTTP/1.1 20") == nil)
    #expect(outcome("SSH-2.0-x\r\n") != .success)
    let request = NetworkCheck.request(host: "h", port: 1, path: "/", headers: [HTTPHeader("X", "a\r\nY: b")])
    #expect(String(decoding: request, as: UTF8.self).contains("X: aY: b\r\n"))
  }
}
