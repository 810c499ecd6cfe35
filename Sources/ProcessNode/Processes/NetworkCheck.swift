import CProcessSpawn
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A TCP or HTTP probe: connects, asks if there is something to ask, and looks at the answer's status.
final class NetworkCheck: Sendable {
  typealias Handler = @Sendable (PodLifecycle.CheckOutcome) -> Void

  private struct State {
    var isConnected = false
    var handler: Handler?
    var response: [UInt8] = []
  }

  /// More of an answer isn't read.
  private static let longestResponse = 64 << 10

  private let target: String
  /// The request; nil for a TCP probe.
  private let request: [UInt8]?
  private let state: Mutex<State>

  /// Starts a probe; gives its registration with the loop for `drop`, nil when it has failed at once.
  static func start(
    host: String, port: Int, request: [UInt8]?, loop: DescriptorLoop, _ handler: @escaping Handler
  ) -> UInt64? {
    let check = NetworkCheck(target: "\(host):\(port)", request: request, handler: handler)
    guard let number = UInt16(exactly: port), number > 0 else {
      handler(.failure("\(port) is no port"))
      return nil
    }
    var code: Int32 = 0
    let descriptor = cspawn_connect(host == "localhost" ? "127.0.0.1" : host, number, &code)
    guard descriptor >= 0 else {
      let hint = code == EINVAL ? "local mode probes IPv4 addresses only" : NodeError.text(of: code)
      handler(.failure("connect to \(check.target): \(hint)"))
      return nil
    }
    return loop.add(descriptor, .write) { check.ready($0) }
  }

  private init(target: String, request: [UInt8]?, handler: @escaping Handler) {
    self.target = target
    self.request = request
    state = Mutex(State(handler: handler))
  }

  /// The bytes of a GET request.
  static func request(host: String, port: Int, path: String, headers: [HTTPHeader]) -> [UInt8] {
    var lines = ["GET \(path) HTTP/1.1"]
    func isGiven(_ name: String) -> Bool { headers.contains { $0.name.lowercased() == name } }
    if !isGiven("host") { lines.append("Host: \(host):\(port)") }
    if !isGiven("user-agent") { lines.append("User-Agent: kube-probe/swarmscale") }
    if !isGiven("accept") { lines.append("Accept: */*") }
    lines += headers.map { "\($0.name): \($0.value)" }
    // A line break within a field would begin another one.
    let clean = lines.map { $0.unicodeScalars.filter { $0 != "\r" && $0 != "\n" } }.map {
      String(String.UnicodeScalarView($0))
    }
    return Array((clean + ["Connection: close", "", ""]).joined(separator: "\r\n").utf8)
  }

  private func ready(_ descriptor: Int32) -> DescriptorLoop.Next {
    if !state.withLock({ $0.isConnected }) {
      let code = cspawn_socket_error(descriptor)
      if code != 0 { return finish(.failure("connect to \(target): \(NodeError.text(of: code))")) }
      state.withLock { $0.isConnected = true }
      guard let request else { return finish(.success) }
      // A request fits into a new socket's buffer.
      let sent = request.withUnsafeBytes { cspawn_send(descriptor, $0.baseAddress, $0.count) }
      if sent != 0 { return finish(.failure("send to \(target): \(NodeError.text(of: sent))")) }
      return .wait(.read)
    }
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let got = read(descriptor, &buffer, buffer.count)
      if got < 0 && errno == EINTR { continue }
      if got < 0 && errno == EAGAIN { return .wait(.read) }
      if got < 0 { return finish(.failure("read from \(target): \(NodeError.text(of: errno))")) }
      if got == 0 { return finish(.failure("\(target) closed the connection without an HTTP response")) }
      let outcome = state.withLock { state -> (PodLifecycle.CheckOutcome?, Bool) in
        state.response += buffer.prefix(got)
        return (Self.outcome(of: state.response), state.response.count > Self.longestResponse)
      }
      // The rest is read too, up to a limit: servers complain about clients that hang up in the middle of an answer.
      if let outcome = outcome.0 { tell(outcome) }
      if outcome.1 { return finish(.failure("\(target) sent no HTTP response")) }
    }
  }

  /// What the beginning of a response says; nil when the status line isn't there yet.
  static func outcome(of response: [UInt8]) -> PodLifecycle.CheckOutcome? {
    guard let end = response.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
    let line = String(decoding: response[..<end], as: UTF8.self).split(whereSeparator: { $0 == " " || $0.isNewline })
    guard line.count >= 2, line[0].hasPrefix("HTTP/1."), let status = Int(line[1]) else {
      return .failure("the answer is no HTTP/1 response")
    }
    if status == 100 { return nil }
    return (200..<400).contains(status) ? .success : .failure("HTTP probe failed with statuscode: \(status)")
  }

  private func tell(_ outcome: PodLifecycle.CheckOutcome) {
    let handler = state.withLock { state in
      defer { state.handler = nil }
      return state.handler
    }
    handler?(outcome)
  }

  private func finish(_ outcome: PodLifecycle.CheckOutcome) -> DescriptorLoop.Next {
    tell(outcome)
    return .close
  }
}
