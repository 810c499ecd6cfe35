import CCurl
import CCurlShim
import KubernetesCore

/// A transfer on the curl thread: its easy handle, and the memory that libcurl points to while it runs.
final class RunningTransfer {
  /// What the task sees.
  let shared: Transfer
  /// libcurl's handle; it goes back to the pool at the end.
  let handle: UnsafeMutableRawPointer
  let settings: CurlWorker.Settings
  /// The transfer's deadlines.
  var deadlines: TransferDeadlines
  /// What went wrong on our side (too large, malformed head): more precise than libcurl's "write error".
  private(set) var failure: KubernetesError?
  /// Called when the head has come: a stream's limit of silence may be due before the limit for its head was.
  var deadlineMoved: (() -> Void)?

  private let loop: CurlLoop
  private var parser: ResponseHeadParser
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private var connectToList: UnsafeMutablePointer<curl_slist>?
  private let errorText: UnsafeMutablePointer<CChar>
  private var hasCountedConnections = false

  /// Prepares `shared` to run on `handle`.
  init(_ shared: Transfer, handle: UnsafeMutableRawPointer, settings: CurlWorker.Settings, loop: CurlLoop) {
    self.shared = shared
    self.handle = handle
    self.settings = settings
    self.loop = loop
    let request = shared.request
    deadlines = TransferDeadlines(
      mode: request.mode, timeout: request.timeout, idleTimeout: request.idleTimeout,
      now: settings.timeSource.monotonicNow)
    parser = ResponseHeadParser(maximumBytes: settings.limits.headerBytes)
    errorText = .allocate(capacity: ccurl_error_size)
    errorText.initialize(repeating: 0, count: ccurl_error_size)
  }

  /// The transfer's id.
  var id: UInt64 { shared.id }

  /// True when the body is streamed.
  var isStream: Bool {
    if case .stream = shared.request.mode { true } else { false }
  }

  /// True when the final head has arrived.
  var hasHead: Bool { parser.isDone }

  /// Frees what libcurl pointed to; the handle must have been reset before.
  func freeBuffers() {
    curl_slist_free_all(headerList)
    curl_slist_free_all(connectToList)
    headerList = nil
    connectToList = nil
    errorText.deallocate()
  }

  // MARK: Callbacks

  /// libcurl gives one header line; returns how much of it was taken.
  func receive(headerLine line: UnsafeRawBufferPointer) -> Int {
    switch parser.receive(line: line) {
    case .more: return line.count
    case .head(let head):
      deadlines.receivedHead(now: settings.timeSource.monotonicNow)
      deadlineMoved?()
      countConnections()
      loop.count { $0.countResponse(status: head.status) }
      shared.receivedHead(head)
      return line.count
    case .tooLarge:
      failure = KubernetesError(
        .malformedResponse,
        "\(settings.server) sent more than \(settings.limits.headerBytes) bytes of header fields; "
          + "it isn't a Kubernetes API server, or a proxy on the way is broken.")
      return 0
    case .malformed:
      failure = KubernetesError(
        .malformedResponse,
        "\(settings.server) sent a header that isn't HTTP. Check that the URL leads to a Kubernetes API server.")
      return 0
    }
  }

  /// libcurl gives a piece of the body; returns how much of it was taken, or the sign to pause.
  func receive(body bytes: UnsafeRawBufferPointer) -> Int {
    deadlines.receivedBytes(now: settings.timeSource.monotonicNow)
    switch shared.received(bytes) {
    case .accepted: return bytes.count
    case .pause:
      deadlines.paused()
      loop.count { $0.pauses += 1 }
      return ccurl_writefunc_pause
    case .tooLarge:
      failure = KubernetesError(
        .malformedResponse,
        "The response of \(settings.server) is larger than the \(limitText) allowed for this request. "
          + "Ask for less at once (limit=), or allow more.")
      return bytes.isEmpty ? 1 : 0
    case .abandoned: return bytes.isEmpty ? 1 : 0
    }
  }

  private var limitText: String {
    switch shared.request.mode {
    case .collect(let bytes), .stream(let bytes): "\(bytes) bytes"
    }
  }

  /// Counts the connections that this transfer has opened, once.
  func countConnections() {
    guard !hasCountedConnections else { return }
    hasCountedConnections = true
    var opened = 0
    ccurl_easy_getinfo_long(handle, CURLINFO_NUM_CONNECTS, &opened)
    if opened > 0 { loop.count { $0.connectionsOpened += opened } }
  }

  // MARK: Errors

  /// libcurl's code as an error that says what to do.
  func error(for code: CURLcode) -> KubernetesError {
    failure ?? CurlFailure(code: code, detail: String(cString: errorText), settings: settings).error
  }

  /// A missed deadline as an error that says what to do.
  func error(for expiry: TransferDeadlines.Expiry) -> KubernetesError {
    let server = settings.server
    return switch expiry {
    case .whole(let limit):
      KubernetesError(.timedOut, "\(server) did not answer within \(limit). Check the server's load and the network.")
    case .head(let limit):
      KubernetesError(
        .timedOut, "\(server) did not begin to answer within \(limit). Check the server's load and the network.")
    case .idle(let limit):
      KubernetesError(
        .timedOut,
        "\(server) was silent for \(limit) within a stream; the connection is probably half-open. Open it anew.")
    }
  }

  // MARK: Configuration

  /// Tells libcurl all about the request; throws when this libcurl can't do something that is needed.
  func configure() throws {
    let options = CurlOptions(handle: handle)
    configureBasics(options)
    try configureRequest(options)
    configureTLS(options)
    if let (option, code) = options.failure {
      throw KubernetesError(
        .misconfigured,
        "This libcurl refuses option \(option.rawValue): \(String(cString: curl_easy_strerror(code))). "
          + "Use libcurl 7.85 or newer with OpenSSL.")
    }
  }

  private func configureBasics(_ options: CurlOptions) {
    let context = Unmanaged.passUnretained(self).toOpaque()
    options.set(CURLOPT_ERRORBUFFER, pointer: errorText)
    options.set(CURLOPT_NOSIGNAL, 1)
    options.set(CURLOPT_NOPROGRESS, 1)
    options.set(CURLOPT_PROTOCOLS_STR, "http,https")
    options.set(CURLOPT_FOLLOWLOCATION, 0)
    options.set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
    // Wait for the first connection to say whether it multiplexes rather than open one for each request.
    options.set(CURLOPT_PIPEWAIT, 1)
    // Refused for a reused handle that still has its buffer, which then is of this size already (libcurl 7.88, HTTP/2).
    options.hint(CURLOPT_BUFFERSIZE, 128 << 10)
    options.set(CURLOPT_TCP_NODELAY, 1)
    options.set(CURLOPT_TCP_KEEPALIVE, 1)
    options.set(CURLOPT_TCP_KEEPIDLE, 15)
    options.set(CURLOPT_TCP_KEEPINTVL, 5)
    options.setUserTimeout(milliseconds: 30_000)
    let connectTimeout = min(settings.limits.connectTimeout, shared.request.timeout)
    options.set(CURLOPT_CONNECTTIMEOUT_MS, Int(max(1, connectTimeout.nanosecondsClamped / 1_000_000)))
    options.set(CURLOPT_WRITEFUNCTION, curlDidReceiveBody)
    options.set(CURLOPT_WRITEDATA, pointer: context)
    options.set(CURLOPT_HEADERFUNCTION, curlDidReceiveHeader)
    options.set(CURLOPT_HEADERDATA, pointer: context)
    options.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    // Without this a proxy would get our credentials with its CONNECT.
    options.set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
    // Nothing packed is asked for: with libcurl 7.88 (Debian 12) a packed list beside a watch on one HTTP/2 connection now
    // and then stands still at its end until its time is over, one in 25 starts with 10,000 pods. What a proxy packs all
    // the same is unpacked.
    if CurlLibrary.hasCompression { options.set(CURLOPT_ACCEPT_ENCODING, "identity") }
    if let proxyURL = settings.proxyURL { options.set(CURLOPT_PROXY, proxyURL) }
  }

  private func configureRequest(_ options: CurlOptions) throws {
    let request = shared.request
    options.set(CURLOPT_URL, request.url)
    options.set(CURLOPT_PATH_AS_IS, 1)
    if let body = request.body ?? (request.method == .post ? [] : nil) {
      options.setBody(body)
      options.set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
    } else if request.method == .get {
      options.set(CURLOPT_HTTPGET, 1)
    } else {
      options.set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
    }
    for line in request.headerLines { headerList = try appended(line, to: headerList) }
    options.set(CURLOPT_HTTPHEADER, list: headerList)
    if let connectTo = request.connectTo {
      connectToList = try appended(connectTo, to: connectToList)
      options.set(CURLOPT_CONNECT_TO, list: connectToList)
    }
  }

  private func appended(
    _ line: String, to list: UnsafeMutablePointer<curl_slist>?
  ) throws -> UnsafeMutablePointer<curl_slist> {
    guard let longer = curl_slist_append(list, line) else {
      throw KubernetesError(.unreachable, "libcurl has no memory for another request.")
    }
    return longer
  }

  private func configureTLS(_ options: CurlOptions) {
    let tls = shared.request.tls
    if settings.skipsVerification {
      options.set(CURLOPT_SSL_VERIFYPEER, 0)
      options.set(CURLOPT_SSL_VERIFYHOST, 0)
    } else if let authority = tls.certificateAuthority {
      // Only the cluster's own authority counts: the system's would let any public one vouch for the server.
      options.set(CURLOPT_CAINFO_BLOB, blob: authority)
      options.set(CURLOPT_CAPATH, nil)
    }
    if let client = tls.clientCertificate {
      options.set(CURLOPT_SSLCERTTYPE, "PEM")
      options.set(CURLOPT_SSLCERT_BLOB, blob: client.certificate)
      options.set(CURLOPT_SSLKEYTYPE, "PEM")
      options.set(CURLOPT_SSLKEY_BLOB, blob: client.key)
    }
  }
}

private func curlDidReceiveBody(
  _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  return Unmanaged<RunningTransfer>.fromOpaque(context).takeUnretainedValue()
    .receive(body: UnsafeRawBufferPointer(start: data, count: size * count))
}

private func curlDidReceiveHeader(
  _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  return Unmanaged<RunningTransfer>.fromOpaque(context).takeUnretainedValue()
    .receive(headerLine: UnsafeRawBufferPointer(start: data, count: size * count))
}
