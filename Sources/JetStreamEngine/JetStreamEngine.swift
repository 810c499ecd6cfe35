package import CoordinationEngine
package import Logging
package import NATSClient
import NIOCore
import Synchronization
package import TaskQueue

/// A coordination engine on NATS JetStream: what many pods share.
///
/// `run()` has to run, in the same process, for verbs to be answered: it keeps the connection, gives signs of life for tasks that are held, and fires what is
/// scheduled (each engine that runs takes its part of that).
package final class JetStreamEngine: CoordinationEngine {
  private let link: EngineLink
  private let jobs = EngineJobs()
  private let jetStreamTasks: JetStreamTasks
  private let jetStreamState: JetStreamState
  private let jetStreamBlobs: JetStreamBlobs
  private let jetStreamCounters: JetStreamCounters
  private let jetStreamSchedules: JetStreamSchedules
  private let jetStreamMessages: JetStreamMessages

  /// An engine that isn't running yet.
  package init(
    _ configuration: JetStreamEngineConfiguration,
    logger: Logger = Logger(label: "jetstream") { _ in SwiftLogNoOpLogHandler() }
  ) {
    link = EngineLink(NATSClient(configuration.client, logger: logger), configuration)
    jetStreamTasks = JetStreamTasks(link, jobs: jobs, logger: logger)
    jetStreamState = JetStreamState(link)
    jetStreamBlobs = JetStreamBlobs(link)
    jetStreamCounters = JetStreamCounters(link)
    jetStreamMessages = JetStreamMessages(link)
    jetStreamSchedules = JetStreamSchedules(link, tasks: jetStreamTasks, messages: jetStreamMessages, logger: logger)
  }

  package var durability: Durability { link.configuration.durability }
  package var tasks: any TaskEngine { jetStreamTasks }
  package var state: any StateStore { jetStreamState }
  package var blobs: any BlobStore { jetStreamBlobs }
  package var counters: any Counters { jetStreamCounters }
  package var schedules: any Schedules { jetStreamSchedules }
  package var messages: any Messages { jetStreamMessages }
  /// The connection, for its counters.
  package var client: NATSClient { link.client }
  /// Consumers that were stuck and were made anew.
  package var mendedConsumers: Int { jetStreamTasks.mendedConsumers }

  package func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [link] in try await link.client.run() }
      group.addTask { [jobs] in await jobs.run() }
      group.addTask { [self] in await keepAlive() }
      group.addTask { [jetStreamTasks] in await jetStreamTasks.mendConsumers() }
      group.addTask { [jetStreamSchedules] in await jetStreamSchedules.run() }
      // The connection's end is the end of all: by `close`, by cancellation, or by an error that no further attempt mends.
      try await group.next()
      link.close()
      jobs.end()
      group.cancelAll()
    }
  }

  /// Signs of life for what is held, three in the time that the server waits for one.
  private func keepAlive() async {
    while !link.isClosed {
      do { try await link.client.pause(link.configuration.ackWait / 3) } catch { return }
      jetStreamTasks.held.keepAlive()
    }
  }

  package func close() async {
    link.close()
    // What is held goes back before the connection ends, so that nobody waits for its lease.
    jetStreamTasks.end()
    jobs.end()
    link.client.drain()
  }
}
