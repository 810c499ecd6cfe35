import CoordinationEngine
import NATSClient
import NIOCore
import Synchronization
import TaskQueue

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the parts of an engine share: the connection, patience, errors.
struct EngineLink: Sendable {
  let client: NATSClient
  let jetStream: JetStream
  let layout: Layout
  let configuration: JetStreamEngineConfiguration
  private let shared: Shared

  private final class Shared: Sendable {
    let isClosed = Mutex(false)
    let ready = Mutex<Set<String>>([])
    /// The server takes 50 batches of a stream at once, of all engines together, and turns the rest away.
    let batches = BatchGate(4)
  }

  init(_ client: NATSClient, _ configuration: JetStreamEngineConfiguration) {
    self.client = client
    self.configuration = configuration
    // A lost answer is noticed well within the patience, so that there is time to ask again.
    jetStream = JetStream(
      client, domain: configuration.domain, timeout: min(.seconds(5), configuration.patience))
    layout = Layout(prefix: configuration.prefix)
    shared = Shared()
  }

  var isClosed: Bool { shared.isClosed.withLock { $0 } }
  func close() { shared.isClosed.withLock { $0 = true } }

  /// Now, since 1970: leases in records are told by it, so machines' clocks have to agree within a fraction of a lease.
  static var wall: Duration {
    var time = timespec()
    // Can't fail: the clock exists on every system and the pointer is valid.
    clock_gettime(CLOCK_REALTIME, &time)
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
  }

  /// Whether trying again may help: the engine is away, or has no leader.
  static func isAbsence(_ error: any Error) -> Bool {
    switch error {
    case let error as NATSError:
      switch error.code {
      case .connectionLost, .connectTimeout, .noServers, .serverError, .reconnectBufferFull, .timeout, .noResponders,
        .closed,
        .authenticationFailed, .tlsFailed:
        true
      default: false
      }
    case let error as JetStreamError:
      (error.code == 503 || error.code == 500) && !isFull(error) && error.errorCode != 10052
    default: false
    }
  }

  /// Does something that may be done twice, again and again while the engine is away, for as long as the patience lasts.
  @discardableResult
  func patiently<Result>(_ body: () async throws -> Result) async throws -> Result {
    let end = client.eventLoop.now + .nanoseconds(configuration.patience.nanoseconds)
    var wait = Duration.milliseconds(20)
    while true {
      guard !isClosed else { throw Away(text: "the engine is closed") }
      do {
        return try await body()
      } catch  where Self.isAbsence(error) {
        if (error as? NATSError)?.code == .closed { throw Away(text: "the connection to NATS has ended: \(error)") }
        guard client.eventLoop.now < end else {
          throw Away(text: "NATS JetStream can't be reached (\(error)); keep what was to be said, and say it again")
        }
      }
      try await client.pause(wait)
      wait = min(wait * 2, .milliseconds(400))
    }
  }

  /// Stores all of the messages or none. A batch that was turned away is said again; one whose answer was lost isn't, it may be there.
  func atomically(_ entries: [JetStream.BatchEntry]) async throws -> PubAck {
    let end = client.eventLoop.now + .nanoseconds(configuration.patience.nanoseconds)
    while true {
      do {
        return try await shared.batches.pass { try await jetStream.publishAtomically(entries) }
      } catch let error as JetStreamError
        where error.errorCode == JetStreamError.tooManyBatches || error.errorCode == JetStreamError.batchIncomplete
      {
        guard client.eventLoop.now < end, !isClosed else {
          throw Away(text: "NATS JetStream has more to store at once than it takes (\(error.message)); submit it again")
        }
      }
      // Drawn, so that those that were turned away together don't come back together.
      try await client.pause(.microseconds(Int64.random(in: 1_000...20_000)))
    }
  }

  /// The engine was away for longer than the patience; becomes the error of whoever was asked.
  struct Away: Error {
    var text: String
  }

  /// Errors as state, blobs, counters, schedules and messages have them.
  func engine<Result>(_ body: () async throws -> Result) async throws -> Result {
    do {
      return try await body()
    } catch let error as Away {
      throw EngineError.unavailable(error.text)
    } catch let error where Self.isAbsence(error) {
      throw EngineError.unavailable("\(error)")
    } catch let error as JetStreamError where Self.isFull(error) {
      throw EngineError.full(what: "messages or bytes of the stream (\(error.message))", limit: 0)
    }
  }

  /// Errors as queues have them.
  func queue<Result>(_ name: String, _ body: () async throws -> Result) async throws -> Result {
    do {
      return try await body()
    } catch let error as Away {
      throw TaskQueueError.unavailable(error.text)
    } catch let error where Self.isAbsence(error) {
      throw TaskQueueError.unavailable("\(error)")
    } catch let error as JetStreamError where Self.isFull(error) {
      throw TaskQueueError.full(queue: name, what: "tasks that are not done", limit: configuration.taskLimits.tasks)
    }
  }

  /// Server's `errors.json`: maximum messages, bytes, resources.
  private static func isFull(_ error: JetStreamError) -> Bool {
    [10023, 10028, 10047, 10054, 10077].contains(error.errorCode)
  }

  /// Makes a stream unless it is there. Returns what it is.
  @discardableResult
  func ensure(_ stream: StreamConfiguration) async throws -> StreamInfo {
    var stream = stream
    stream.json["num_replicas"] = .integer(configuration.replicas)
    stream.json["storage"] = .string(configuration.storage.rawValue)
    do {
      return try await jetStream.streamInfo(stream.name)
    } catch let error as JetStreamError where error.errorCode == JetStreamError.streamNotFound {
      do {
        return try await jetStream.createStream(stream)
      } catch let error as JetStreamError where error.errorCode == JetStreamError.streamNameInUse {
        return try await jetStream.streamInfo(stream.name)
      }
    }
  }

  /// The same, once for each engine.
  func ensureOnce(_ stream: StreamConfiguration) async throws {
    guard !shared.ready.withLock({ $0.contains(stream.name) }) else { return }
    try await patiently { try await ensure(stream) }
    _ = shared.ready.withLock { $0.insert(stream.name) }
  }
}

extension ByteBuffer {
  /// All bytes.
  var bytes: [UInt8] { Array(readableBytesView) }
}
