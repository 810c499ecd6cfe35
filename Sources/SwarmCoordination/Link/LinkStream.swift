import CoordinationProtocol
import GRPCNIOTransportHTTP2
import RateBudget
import Synchronization

/// What belongs to one stream: the numbers of its groups, and whether it was welcomed.
final class LinkStream: Sendable {
  private struct State {
    var numbers = GroupNumbers()
    var isWelcome = false
  }

  private let state = Mutex(State())

  /// Whether the coordinator has said welcome.
  var isWelcome: Bool { state.withLock { $0.isWelcome } }

  /// Notes the welcome; false: there was one already.
  func welcome() -> Bool {
    state.withLock { state in
      defer { state.isWelcome = true }
      return !state.isWelcome
    }
  }

  /// The hello, as it is sent.
  func wire(_ hello: WorkerHello, now: BudgetTime) -> WireHello {
    state.withLock { hello.wire(numbers: &$0.numbers, now: now) }
  }

  /// A frame, as it is sent.
  func wire(_ frame: WorkerFrame, now: BudgetTime) -> WireWorkerFrame {
    state.withLock { frame.wire(numbers: &$0.numbers, now: now) }
  }

  /// Reads a frame.
  func read(_ wire: WireCoordinatorFrame) throws -> CoordinatorFrame {
    let numbers = state.withLock { $0.numbers }
    return try CoordinatorFrame(validating: wire) { numbers.key(of: $0) }
  }
}

extension LinkConfiguration {
  /// Where to connect to. An address in brackets or with a colon is IPv6.
  var target: any ResolvableTarget {
    let digits = host.utf8.allSatisfy {
      $0 == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
    }
    if digits { return .ipv4(address: host, port: port) }
    if host.contains(":") { return .ipv6(address: host.filter { $0 != "[" && $0 != "]" }, port: port) }
    return .dns(host: host, port: port)
  }

  /// How the transport is secured.
  var transportSecurity: HTTP2ClientTransport.Posix.TransportSecurity {
    switch security {
    case .plaintext: .plaintext
    case .tls(let authorities, _):
      .tls { config in
        if let authorities { config.trustRoots = .certificates([.file(path: authorities, format: .pem)]) }
      }
    }
  }
}
