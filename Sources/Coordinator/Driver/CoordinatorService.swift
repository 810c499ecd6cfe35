package import CoordinationProtocol
package import GRPCCore
import RateBudget

/// The gRPC service: one stream for each worker. What is wrong with one ends that one.
package struct CoordinatorService: WireCoordination.ServiceProtocol {
  private let engine: CoordinatorEngine
  private let authenticator: any Authenticator
  private let clock: any BudgetClock

  /// Makes the service of an engine.
  package init(engine: CoordinatorEngine, authenticator: any Authenticator, clock: any BudgetClock) {
    self.engine = engine
    self.authenticator = authenticator
    self.clock = clock
  }

  package func join(
    request: StreamingServerRequest<WireWorkerMessage>, context: ServerContext
  ) async throws -> StreamingServerResponse<WireCoordinatorMessage> {
    let credential = PeerCredential(token: Self.token(in: request.metadata), address: context.remotePeer)
    return StreamingServerResponse { writer in
      try await serve(request.messages, credential: credential, writer: writer)
      return [:]
    }
  }

  private static func token(in metadata: Metadata) -> String? {
    for value in metadata[stringValues: "authorization"] where value.lowercased().hasPrefix("bearer ") {
      return String(value.dropFirst("bearer ".count))
    }
    return nil
  }

  private func serve(
    _ messages: RPCAsyncSequence<WireWorkerMessage, any Error>, credential: PeerCredential,
    writer: RPCWriter<WireCoordinatorMessage>
  ) async throws {
    let outbox = StreamOutbox()
    let groups = SharedGroups()
    let stream = await engine.open(outbox)
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await write(outbox, groups, writer) }
        group.addTask { try await receive(messages, credential, stream, groups) }
        defer { group.cancelAll() }
        try await group.next()
      }
      await engine.disconnect(stream)
    } catch {
      await engine.disconnect(stream)
      guard let end = error as? StreamEnd else { throw error }
      if let error = end.error { throw error }
    }
  }

  private func hello(_ message: WireWorkerMessage, _ groups: SharedGroups) throws -> WorkerHello {
    guard case .hello(let wire) = message.body else { throw RPCError(ProtocolViolation.helloExpected) }
    do throws(ProtocolViolation) {
      return try groups.read(wire, now: clock.now)
    } catch {
      throw RPCError(error)
    }
  }

  private func check(_ identity: WorkerIdentity, _ credential: PeerCredential) async throws {
    do throws(AuthenticationError) {
      let peer = try await authenticator.authenticate(credential, claiming: identity)
      guard let peer, !peer.mayBe(identity) else { return }
      throw .refused("the token belongs to another pod than the hello says")
    } catch {
      switch error {
      case .refused(let why): throw RPCError(code: .unauthenticated, message: why)
      case .unavailable(let why): throw RPCError(code: .unavailable, message: why)
      }
    }
  }

  private func receive(
    _ messages: RPCAsyncSequence<WireWorkerMessage, any Error>, _ credential: PeerCredential, _ stream: StreamID,
    _ groups: SharedGroups
  ) async throws {
    var iterator = messages.makeAsyncIterator()
    guard let first = try await iterator.next() else { return }
    let hello = try self.hello(first, groups)
    try await check(hello.identity, credential)
    await engine.join(hello, by: stream)
    while let message = try await iterator.next() {
      let frame: WorkerFrame
      switch message.body {
      case .frame(let wire):
        do throws(ProtocolViolation) {
          frame = try groups.read(wire, identity: hello.identity, now: clock.now)
        } catch {
          throw RPCError(error)
        }
      case .hello: throw RPCError(ProtocolViolation.helloTwice)
      // A kind of message that this version doesn't know.
      case nil: continue
      }
      await engine.handle(frame, from: stream)
    }
  }

  private func write(
    _ outbox: StreamOutbox, _ groups: SharedGroups, _ writer: RPCWriter<WireCoordinatorMessage>
  ) async throws {
    while true {
      var message = WireCoordinatorMessage()
      switch try await outbox.next() {
      case .welcome(let welcome): message.welcome = welcome.wire
      case .frame(let frame): message.frame = frame.wire { groups.number(of: $0) }
      case .close(let reason): throw StreamEnd(reason: reason)
      }
      try await writer.write(message)
    }
  }
}

/// The coordinator ends a stream.
private struct StreamEnd: Error {
  var reason: CloseReason

  var error: RPCError? {
    switch reason {
    case .goodbye: nil
    case .replaced: RPCError(code: .aborted, message: reason.explanation)
    case .ending: RPCError(code: .unavailable, message: reason.explanation)
    case .tooManyWorkers, .tooSlow: RPCError(code: .resourceExhausted, message: reason.explanation)
    }
  }
}

extension RPCError {
  fileprivate init(_ violation: ProtocolViolation) {
    let code: RPCError.Code = if case .version = violation { .failedPrecondition } else { .invalidArgument }
    self.init(code: code, message: violation.description)
  }
}
