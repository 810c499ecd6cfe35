import CCurl
import CCurlShim
import KubernetesCore

/// The curl thread: owns every curl handle, runs libcurl's multi interface and carries out commands.
///
/// Made, used and freed on that one thread.
final class CurlWorker {
  /// What doesn't change from transfer to transfer.
  struct Settings: Sendable {
    /// Monotonic time for deadlines.
    var timeSource: any TimeSource
    /// The server's URL, for messages.
    var server: String
    /// Where the configuration comes from, for messages.
    var origin: String
    /// Whether to accept any certificate.
    var skipsVerification: Bool
    /// The proxy, if one is configured.
    var proxyURL: String?
    /// Bounds.
    var limits: CurlTransport.Limits
  }

  /// Libcurl's own granularity of waiting without a deadline; wake-ups come at once.
  private static let longestWait = Duration.seconds(60)

  let loop: CurlLoop
  let multi: UnsafeMutableRawPointer
  let settings: Settings
  private var running: [UInt64: RunningTransfer] = [:]
  private var byHandle: [UnsafeMutableRawPointer: RunningTransfer] = [:]
  private var idleHandles: [UnsafeMutableRawPointer] = []
  private var streamCount = 0
  /// A lower bound of all deadlines. Where one may move forward it is noted; elsewhere they only move later, so that
  /// recomputing the bound when it has come is enough.
  private var nextDeadlineCheck: MonotonicTime?

  /// Takes over `multi`.
  init(loop: CurlLoop, multi: UnsafeMutableRawPointer, settings: Settings) {
    self.loop = loop
    self.multi = multi
    self.settings = settings
  }

  private var now: MonotonicTime { settings.timeSource.monotonicNow }

  /// Works until the loop is stopped; then ends every transfer with an error and frees everything.
  func run() {
    ccurl_multi_setopt_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX))
    ccurl_multi_setopt_long(multi, CURLMOPT_MAXCONNECTS, settings.limits.connections)
    ccurl_multi_setopt_long(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 250)
    updateConnectionLimit()
    while true {
      let (commands, stops) = loop.takeCommands()
      commands.forEach(carryOut)
      if stops { break }
      var count: Int32 = 0
      let code = curl_multi_perform(multi, &count)
      if code != CURLM_OK { failAll(multiError(code)) }
      readMessages()
      expireDeadlines()
      curl_multi_poll(multi, nil, 0, waitMilliseconds(), nil)
    }
    failAll(CurlLoop.shutDownError)
    idleHandles.forEach { curl_easy_cleanup($0) }
    idleHandles = []
    let multi = multi
    loop.markStopped { curl_multi_cleanup(multi) }
  }

  private func carryOut(_ command: CurlCommand) {
    switch command {
    case .start(let transfer): start(transfer)
    case .cancel(let id):
      guard let transfer = running[id] else { return }
      end(transfer, CancellationError())
      loop.count { $0.cancellations += 1 }
    case .resume(let id):
      guard let transfer = running[id] else { return }
      transfer.deadlines.resumed(now: now)
      noteDeadline(of: transfer)
      // May call the write function at once with what was held back.
      let code = curl_easy_pause(transfer.handle, ccurl_pause_continue)
      if code != CURLE_OK { fail(transfer, code) }
    }
  }

  // MARK: Starting and ending

  private func start(_ transfer: Transfer) {
    guard let handle = idleHandles.popLast() ?? curl_easy_init() else {
      transfer.finished(KubernetesError(.unreachable, "libcurl has no memory for another request."))
      return
    }
    let started = RunningTransfer(transfer, handle: handle, settings: settings, loop: loop)
    do {
      try started.configure()
      let code = curl_multi_add_handle(multi, handle)
      if code != CURLM_OK { throw multiError(code) }
    } catch {
      release(started)
      transfer.finished(error)
      loop.count { $0.failures += 1 }
      return
    }
    running[transfer.id] = started
    byHandle[handle] = started
    started.deadlineMoved = { [unowned self, unowned started] in noteDeadline(of: started) }
    noteDeadline(of: started)
    if started.isStream {
      streamCount += 1
      updateConnectionLimit()
    }
    publishInFlight()
  }

  /// Takes the transfer from libcurl (which closes its connection or stream if it still runs) and tells its task.
  private func end(_ transfer: RunningTransfer, _ error: (any Error)?) {
    running[transfer.id] = nil
    byHandle[transfer.handle] = nil
    transfer.countConnections()
    curl_multi_remove_handle(multi, transfer.handle)
    release(transfer)
    if transfer.isStream {
      streamCount -= 1
      updateConnectionLimit()
    }
    publishInFlight()
    transfer.shared.finished(error)
  }

  private func release(_ transfer: RunningTransfer) {
    curl_easy_reset(transfer.handle)
    transfer.freeBuffers()
    if idleHandles.count < settings.limits.idleHandles {
      idleHandles.append(transfer.handle)
    } else {
      curl_easy_cleanup(transfer.handle)
    }
  }

  private func fail(_ transfer: RunningTransfer, _ code: CURLcode) {
    let error = transfer.error(for: code)
    loop.count { $0.failures += 1 }
    end(transfer, error)
  }

  private func failAll(_ error: KubernetesError) {
    for id in running.keys.sorted() {
      guard let transfer = running[id] else { continue }
      loop.count { $0.failures += 1 }
      end(transfer, error)
    }
  }

  private func publishInFlight() {
    let (requests, streams) = (running.count, streamCount)
    loop.count {
      $0.requestsInFlight = requests
      $0.streamsInFlight = streams
    }
  }

  /// Streams last for minutes: over HTTP/1.1 each holds a connection, so they come on top of the limit.
  private func updateConnectionLimit() {
    ccurl_multi_setopt_long(multi, CURLMOPT_MAX_HOST_CONNECTIONS, settings.limits.connections + streamCount)
  }

  // MARK: Results and deadlines

  private func readMessages() {
    var left: Int32 = 0
    while let message = curl_multi_info_read(multi, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle,
        let transfer = byHandle[handle]
      else { continue }
      // Copied out: removing the handle frees the message.
      let code = message.pointee.data.result
      if code == CURLE_OK, transfer.failure == nil, transfer.hasHead {
        end(transfer, nil)
      } else {
        fail(transfer, code == CURLE_OK ? CURLE_WEIRD_SERVER_REPLY : code)
      }
    }
  }

  private func noteDeadline(of transfer: RunningTransfer) {
    guard let deadline = transfer.deadlines.next else { return }
    nextDeadlineCheck = nextDeadlineCheck.map { min($0, deadline) } ?? deadline
  }

  private func expireDeadlines() {
    let now = now
    guard let check = nextDeadlineCheck, check <= now else { return }
    nextDeadlineCheck = nil
    for id in running.keys.sorted() {
      guard let transfer = running[id] else { continue }
      if let expiry = transfer.deadlines.expiry(now: now) {
        loop.count { $0.failures += 1 }
        end(transfer, transfer.error(for: expiry))
      } else {
        noteDeadline(of: transfer)
      }
    }
  }

  /// The time until the next deadline, rounded up: waking too early would spin.
  private func waitMilliseconds() -> Int32 {
    guard let check = nextDeadlineCheck else { return 60_000 }
    let wait = max(.zero, min(check - now, Self.longestWait))
    return Int32((wait.nanosecondsClamped + 999_999) / 1_000_000)
  }

  private func multiError(_ code: CURLMcode) -> KubernetesError {
    KubernetesError(
      .unreachable, "libcurl failed while talking to \(settings.server): \(String(cString: curl_multi_strerror(code)))."
    )
  }
}
