import KubernetesCore

/// A request with everything that libcurl has to be told, checked and in text form; made before the curl thread sees it.
struct PreparedRequest: Sendable {
  /// The HTTP method's name.
  var method: APIRequest.Method
  /// The whole URL.
  var url: String
  /// Lines for `CURLOPT_HTTPHEADER`; one of them may hold the token.
  var headerLines: [String]
  /// The body, if any.
  var body: [UInt8]?
  /// Certificates and key for a new connection.
  var tls: TLSMaterial
  /// The line for `CURLOPT_CONNECT_TO`, when the URL's host is the name to verify rather than the address.
  var connectTo: String?
  /// Whether the body is collected or streamed.
  var mode: TransferMode
  /// How long the head (of a stream) or the whole may take.
  var timeout: Duration
  /// How long a stream may be silent.
  var idleTimeout: Duration?
}

/// Whether a response's body is collected or handed over while it arrives.
enum TransferMode: Hashable, Sendable {
  /// Collected, up to so many bytes.
  case collect(maximumBytes: Int)
  /// Handed over; arrival is paused while more than so many bytes wait for the consumer.
  case stream(highWaterBytes: Int)
}

/// Turns requests into what libcurl is told.
struct RequestEncoder: Sendable {
  /// The server.
  let address: ServerAddress
  /// The name to verify instead of the URL's host.
  let tlsServerName: String?
  /// Fields that go with every request.
  let fixedHeaders: [APIRequest.HeaderField]

  /// Makes an encoder for one cluster.
  init(configuration: ClusterConfiguration, userAgent: String) throws {
    address = try ServerAddress(configuration.server)
    let name = configuration.tls.serverName
    tlsServerName = address.scheme == "https" && name != address.host ? name : nil
    var headers = [APIRequest.HeaderField("User-Agent", userAgent)]
    if let impersonation = configuration.impersonation {
      headers += impersonation.headers.map { APIRequest.HeaderField($0.name, $0.value) }
    }
    fixedHeaders = headers
  }

  /// What to tell libcurl about `request`.
  func prepare(
    _ request: APIRequest, mode: TransferMode, credential: Credential, tls: TLSMaterial
  ) throws -> PreparedRequest {
    guard request.path.hasPrefix("/"),
      request.path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x3F && $0 != 0x23 })
    else {
      throw KubernetesError(
        .invalid, "The request path \"\(request.path)\" must begin with \"/\" and be percent-encoded, without a query.")
    }
    var headers = fixedHeaders + request.headers
    if let authorization = credential.authorization {
      headers.append(APIRequest.HeaderField("Authorization", Self.value(of: authorization)))
    }
    var host = address.authority
    var connectTo: String?
    if let tlsServerName {
      connectTo = "\(tlsServerName):\(address.port):\(address.host):\(address.port)"
      headers.append(APIRequest.HeaderField("Host", address.authority))
      host = "\(tlsServerName):\(address.port)"
    }
    var lines = try headers.map(Self.line(for:))
    // libcurl adds these by itself unless it is told not to: a form's content type, and a wait for "100 Continue".
    lines.append("Expect:")
    if !headers.contains(where: { $0.name.lowercased() == "content-type" }) { lines.append("Content-Type:") }
    return PreparedRequest(
      method: request.method,
      url: "\(address.scheme)://\(host)\(address.basePath)\(request.path)\(Self.encodedQuery(request.query))",
      headerLines: lines, body: request.body, tls: tls, connectTo: connectTo, mode: mode, timeout: request.timeout,
      idleTimeout: request.idleTimeout)
  }

  /// `?a=b&c=d` with names and values percent-encoded; empty without items.
  static func encodedQuery(_ items: [APIRequest.QueryItem]) -> String {
    guard !items.isEmpty else { return "" }
    return "?"
      + items.map {
        percentEncoded($0.name, keeping: isUnreservedByte) + "=" + percentEncoded($0.value, keeping: isUnreservedByte)
      }.joined(separator: "&")
  }

  private static func value(of authorization: Credential.Authorization) -> String {
    switch authorization {
    case .bearer(let token): "Bearer " + token.value
    case .basic(let user, let password): "Basic " + base64Encoded("\(user):\(password.value)".utf8)
    }
  }

  /// One field as a line; a line end inside would smuggle in further fields.
  private static func line(for field: APIRequest.HeaderField) throws -> String {
    guard !field.name.isEmpty, field.name.utf8.allSatisfy({ isHeaderTokenByte($0) || $0 == 0x25 }) else {
      throw KubernetesError(.invalid, "\"\(field.name)\" can't be the name of a header field.")
    }
    guard field.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
      throw KubernetesError(
        .misconfigured,
        "The value of the header field \(field.name) has a line end or control character in it. "
          + (field.name == "Authorization" ? "Check the token: it must be one line." : "Remove it."))
    }
    // "Name:" would tell libcurl to leave the field out; "Name;" sends it empty.
    return field.value.isEmpty ? field.name + ";" : field.name + ": " + field.value
  }
}
