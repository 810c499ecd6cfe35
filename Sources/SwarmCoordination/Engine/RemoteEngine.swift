import CoordinationAPI
package import CoordinationEngine
import JSON
import NIOHTTP1
import RateBudget
package import TaskQueue

/// The engine behind a server (`swarmscale tasks serve`, a sidecar), over its HTTP API (docs/api/coordination.yaml).
///
/// A verb is said again only where that can't do harm: where the server was never reached, for whatever only looks, for blobs, and for
/// the verbs of tasks, whose keys and tickets say which they are. Anything else whose answer was lost is `unavailable`: it may
/// have taken effect or not. Watches and subscriptions connect again by themselves, and a watch goes on where it was.
package final class RemoteEngine: CoordinationEngine {
  private let link: RemoteLink

  /// Makes an engine in front of a server; it connects when there is something to say.
  package init(
    _ address: UpstreamAddress, clock: any CoordinationClock = SystemClock(),
    patience: RemotePatience = RemotePatience()
  ) {
    link = RemoteLink(address, clock: clock, patience: patience)
  }

  /// What the server's engine says of itself; `memory` until it has said something (`run`, `look`).
  package var durability: Durability { link.durability }
  package var tasks: any TaskEngine { RemoteTasks(link: link) }
  package var state: any StateStore { RemoteState(link: link) }
  package var blobs: any BlobStore { RemoteBlobs(link: link) }
  package var counters: any Counters { RemoteCounters(link: link) }
  package var schedules: any Schedules { RemoteSchedules(link: link) }
  package var messages: any Messages { RemoteMessages(link: link) }

  /// Learns what the server's engine is.
  ///
  /// - Throws: `EngineError`; `CancellationError`.
  package func look() async throws {
    let facts = try await link.engine { try await $0.json(.GET, "/v1/engine", isHarmless: true) }
    guard let durability = facts["durability"]?.stringValue.flatMap({ Durability(name: $0) }) else {
      throw RemoteLink.misunderstood
    }
    link.note(durability)
  }

  package func run() async throws {
    while !link.closing.isEnded {
      do {
        try await look()
        return await link.closing.wait()
      } catch is EngineError {
        // Whoever needs the server hears of it; here it is only asked what it is.
        try await link.clock.sleep(until: link.clock.now + .seconds(1))
      }
    }
  }

  package func close() async { await link.close() }
}

extension RemoteLink {
  /// An answer that isn't as the API has it.
  static let misunderstood = EngineError.unavailable(
    "the engine's server answers what this program doesn't understand: is it of the same version?")

  /// Says something, with errors as an engine's.
  func engine<Value>(_ body: (RemoteLink) async throws -> Value) async throws -> Value {
    do {
      return try await body(self)
    } catch RemoteFailure.unavailable(let words) {
      throw EngineError.unavailable(words)
    } catch RemoteFailure.refused(let error) {
      throw EngineError(error) ?? EngineError.unavailable(error.message)
    }
  }

  /// Says something, with errors as a queue's.
  func queue<Value>(_ body: (RemoteLink) async throws -> Value) async throws -> Value {
    do {
      return try await body(self)
    } catch RemoteFailure.unavailable(let words) {
      throw TaskQueueError.unavailable(words)
    } catch RemoteFailure.refused(let error) {
      throw TaskQueueError(error) ?? TaskQueueError.unavailable(error.message)
    } catch let error as EngineError {
      throw TaskQueueError.unavailable("\(error)")
    }
  }
}

extension JSONValue {
  /// The bytes that the API has under `name`, in Base64.
  func bytes(_ name: String) throws(EngineError) -> [UInt8] {
    guard let bytes = self["\(name)Base64"]?.stringValue.flatMap(Base64.decode) else { throw RemoteLink.misunderstood }
    return bytes
  }

  /// A member, read as one type.
  func required<Value>(_ name: String, _ read: (JSONValue) -> Value?) throws(EngineError) -> Value {
    guard let value = self[name].flatMap(read) else { throw RemoteLink.misunderstood }
    return value
  }

  /// The elements of the array under `name`.
  func elements(_ name: String) throws(EngineError) -> [JSONValue] { try required(name, \.arrayValue) }

  /// A number of seconds, exact to the nanosecond below 100 days.
  init(exact duration: Duration) {
    let (seconds, attoseconds) = duration.components
    self = attoseconds == 0 ? .int(seconds) : .double(Double(seconds) + Double(attoseconds) / 1e18)
  }
}
