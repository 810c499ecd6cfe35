/// Keeps a cache's list and watch going: what to request next, from which version, and when.
///
/// The machine holds no objects and does no I/O. Its driver calls a function for each thing that happens and carries
/// out the returned `Action`:
///
///     start → .list ─listed→ .list (next page) … ─listed→ .finishListAndWatch ─streamOpened→ .read ─event→ .read …
///                 ↖───────────── 410 / Expired ─────────────────────────────────────────────┘
///              .watch ←─ the stream ended: resume after the last version seen
///              .wait  ←─ a failure: call `deadline(now:)` when the time has come
///
/// Every action but `.read` means that an open stream is to be closed first. A continuation that expires in the middle
/// of a paged list restarts that list without pages, so it can't happen again. A stream that lives less than
/// `shortStreamLife` counts as a failure, so a server that accepts and closes streams isn't asked in a hot loop.
package struct WatchStateMachine: Sendable {
  /// The constants of a watch.
  package struct Configuration: Hashable, Sendable {
    /// The most objects of one page of a list.
    package var pageSize: Int
    /// Whether the first list may come from the server's memory (resourceVersion 0), which is cheap and may be old.
    package var allowsStaleFirstList: Bool
    /// After which time the server is to end a stream; up to half of it is added at random, so that the watches of
    /// many clients don't end together.
    package var streamTimeout: Duration
    /// The longest silence of a stream. Servers send a bookmark each minute, so two missed ones mean half-open.
    package var idleTimeout: Duration
    /// The wait after a first failure.
    package var initialBackoff: Duration
    /// The longest wait.
    package var maximumBackoff: Duration
    /// A stream that lives shorter than this counts as a failure.
    package var shortStreamLife: Duration

    /// Makes a configuration; the defaults suit a controller.
    package init(
      pageSize: Int = 500, allowsStaleFirstList: Bool = false, streamTimeout: Duration = .seconds(300),
      idleTimeout: Duration = .seconds(150), initialBackoff: Duration = .milliseconds(800),
      maximumBackoff: Duration = .seconds(30), shortStreamLife: Duration = .seconds(1)
    ) {
      self.pageSize = pageSize
      self.allowsStaleFirstList = allowsStaleFirstList
      self.streamTimeout = streamTimeout
      self.idleTimeout = idleTimeout
      self.initialBackoff = initialBackoff
      self.maximumBackoff = maximumBackoff
      self.shortStreamLife = shortStreamLife
    }
  }

  /// The next page to ask for.
  package struct ListRequest: Hashable, Sendable {
    /// Whether this begins a list: pages collected before are to be thrown away.
    package var isFirstPage: Bool
    /// The most objects of the page; nil for all at once.
    package var limit: Int?
    /// The token of the page before.
    package var continueToken: String?
    /// nil for the newest state, `0` for any.
    package var resourceVersion: String?

    /// Makes a request for a page.
    package init(isFirstPage: Bool, limit: Int?, continueToken: String?, resourceVersion: String?) {
      self.isFirstPage = isFirstPage
      self.limit = limit
      self.continueToken = continueToken
      self.resourceVersion = resourceVersion
    }

    /// The options of the request to send; selectors are the driver's to add.
    package var options: ListOptions {
      ListOptions(limit: limit, continueToken: continueToken, resourceVersion: resourceVersion)
    }
  }

  /// The stream to open.
  package struct WatchRequest: Hashable, Sendable {
    /// The version after which to begin.
    package var resourceVersion: String
    /// After which time the server is to end the stream.
    package var timeout: Duration
    /// The longest silence before the driver reports `.idle`.
    package var idleTimeout: Duration

    /// Makes a request for a stream.
    package init(resourceVersion: String, timeout: Duration, idleTimeout: Duration) {
      self.resourceVersion = resourceVersion
      self.timeout = timeout
      self.idleTimeout = idleTimeout
    }

    /// The options of the request to send; selectors are the driver's to add.
    package var options: WatchOptions {
      WatchOptions(resourceVersion: resourceVersion, timeout: timeout, idleTimeout: idleTimeout)
    }
  }

  /// What the driver does next.
  package enum Action: Hashable, Sendable {
    /// Ask for a page; answer with `listed` or `failed`.
    case list(ListRequest)
    /// The list is complete: replace the cache by its pages; then open a stream as for `watch`.
    case finishListAndWatch(WatchRequest)
    /// Open a stream; answer with `streamOpened` or `failed`.
    case watch(WatchRequest)
    /// Read on; answer with `event` or `streamEnded`.
    case read
    /// Do nothing before `until`; then call `deadline`.
    case wait(until: MonotonicTime)
    /// Nothing: what was reported doesn't belong to the state, such as an event of a stream that was given up.
    case ignore
  }

  /// Where the watch stands.
  package enum State: Hashable, Sendable {
    case idle
    case listing(ListRequest)
    case opening(WatchRequest)
    case watching(since: MonotonicTime, lastActivity: MonotonicTime)
    case waiting(until: MonotonicTime, next: Resumption)
  }

  /// What follows a wait.
  package enum Resumption: Hashable, Sendable {
    case list(ListRequest)
    case watch
  }

  /// Why a stream ended.
  package enum StreamEnd: Hashable, Sendable {
    /// The server ended it, as it does after the time asked for and when it restarts.
    case closedByServer
    /// Nothing came for the idle timeout: the connection is half-open.
    case idle
    /// The connection broke, or a frame couldn't be read.
    case failed(KubernetesError)
  }

  /// The constants.
  package let configuration: Configuration
  /// Where the watch stands.
  package internal(set) var state: State = .idle
  /// The last version seen; empty before the first list. Opaque.
  package internal(set) var resourceVersion = ""
  /// How many failures there were since a stream last lived well.
  package internal(set) var consecutiveFailures = 0
  /// The last failure; nil once a list or stream went well again. `.forbidden` and `.notFound` are retried, slowly.
  package internal(set) var lastError: KubernetesError?
  /// How often a list was begun.
  package internal(set) var listCount = 0

  /// Makes a machine that hasn't started.
  package init(configuration: Configuration = Configuration()) { self.configuration = configuration }

  /// When the driver should call `deadline(now:)`, if nothing else happens before; nil for no such time.
  package var nextDeadline: MonotonicTime? {
    switch state {
    case .watching(_, let lastActivity): lastActivity + configuration.idleTimeout
    case .waiting(let until, _): until
    case .idle, .listing, .opening: nil
    }
  }
}
