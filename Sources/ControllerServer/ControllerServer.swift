import Hummingbird
package import Logging
import ServiceLifecycle
package import StatusPage

/// One answer of a health check.
package enum HealthStatus: Sendable, Hashable {
  /// All is well.
  case ok
  /// Not (yet) well; the text says what is missing.
  case failing(String)
}

/// What the controller's HTTP server asks the controller.
package struct ControllerServerEndpoints: Sendable {
  /// Whether the process works: a failing answer makes the kubelet restart the container.
  package var liveness: @Sendable () -> HealthStatus
  /// Whether it can do its job (caches filled, API server reachable): a failing answer takes it out of Services.
  package var readiness: @Sendable () -> HealthStatus
  /// The metrics as Prometheus text.
  package var metrics: @Sendable () -> String

  /// Bundles the three questions.
  package init(
    liveness: @escaping @Sendable () -> HealthStatus,
    readiness: @escaping @Sendable () -> HealthStatus,
    metrics: @escaping @Sendable () -> String
  ) {
    self.liveness = liveness
    self.readiness = readiness
    self.metrics = metrics
  }
}

/// Serves `/healthz`, `/readyz`, `/metrics`, and the page where there is one, over HTTP/1.1.
package struct ControllerServer: Service {
  private let endpoints: ControllerServerEndpoints
  private let page: StatusPage?
  private let host: String
  private let port: Int
  private let logger: Logger
  private let onListening: @Sendable (Int) async -> Void

  /// Makes a server on `host:port` (port 0 picks a free one); `onListening` is told the port once it accepts. Without a
  /// `page` its paths don't exist.
  package init(
    endpoints: ControllerServerEndpoints,
    page: StatusPage? = nil,
    host: String,
    port: Int,
    logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }
  ) {
    self.endpoints = endpoints
    self.page = page
    self.host = host
    self.port = port
    self.logger = logger
    self.onListening = onListening
  }

  package func run() async throws {
    let endpoints = self.endpoints
    let onListening = self.onListening
    let router = Router(context: ControllerRequestContext.self)
    if let page { router.add(middleware: PageMiddleware(page: page)) }
    router.get("healthz") { _, _ in Self.response(to: endpoints.liveness()) }
    router.get("readyz") { _, _ in Self.response(to: endpoints.readiness()) }
    router.get("metrics") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: .init(byteBuffer: ByteBuffer(string: endpoints.metrics())))
    }
    let application = Application(
      router: router,
      configuration: .init(address: .hostname(host, port: port), serverName: "swarmscale"),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) },
      logger: logger)
    guard let page else { return try await application.run() }
    // Streams of events never end by themselves, and the server waits for its connections.
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await application.run() }
        group.addTask { try await page.run() }
        // The page ends by cancellation only, the server by shutdown or failure: then all ends.
        defer { group.cancelAll() }
        try await group.next()
      }
    } onGracefulShutdown: {
      page.close()
    }
  }

  private static func response(to status: HealthStatus) -> Response {
    switch status {
    case .ok: plain(.ok, "ok\n")
    case .failing(let why): plain(.serviceUnavailable, why + "\n")
    }
  }

  private static func plain(_ status: HTTPResponse.Status, _ text: String) -> Response {
    Response(
      status: status, headers: [.contentType: "text/plain; charset=utf-8"],
      body: .init(byteBuffer: ByteBuffer(string: text)))
  }
}
