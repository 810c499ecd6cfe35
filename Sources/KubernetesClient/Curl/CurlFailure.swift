import CCurl
import KubernetesCore

/// A failed transfer in libcurl's words, to be told in ours.
struct CurlFailure {
  /// libcurl's code.
  var code: CURLcode
  /// libcurl's text for this case; it never has header fields in it.
  var detail: String
  /// Server and origin.
  var settings: CurlWorker.Settings

  /// The failure as an error that says what to do.
  var error: KubernetesError {
    let reason = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
    let kind = kind
    return KubernetesError(kind.code, "\(kind.what(settings)): \(reason). \(kind.advice(settings))")
  }

  private enum Kind {
    case unresolvable, proxy, refused, slow, untrusted, ownCertificate, badURL, garbled, broken

    var code: KubernetesError.Code {
      switch self {
      case .unresolvable, .proxy, .refused, .broken: .unreachable
      case .slow: .timedOut
      case .untrusted, .ownCertificate: .tlsRejected
      case .badURL: .misconfigured
      case .garbled: .malformedResponse
      }
    }

    func what(_ settings: CurlWorker.Settings) -> String {
      switch self {
      case .unresolvable: "The host of \(settings.server) can't be resolved"
      case .proxy: "The proxy on the way to \(settings.server) can't be used"
      case .refused: "No connection to \(settings.server)"
      case .slow: "No connection to \(settings.server) in time"
      case .untrusted: "The certificate of \(settings.server) isn't trusted"
      case .ownCertificate: "The client certificate or a certificate file can't be used with \(settings.server)"
      case .badURL: "libcurl can't use the URL of \(settings.server)"
      case .garbled: "The response of \(settings.server) can't be understood"
      case .broken: "The connection to \(settings.server) broke"
      }
    }

    func advice(_ settings: CurlWorker.Settings) -> String {
      switch self {
      case .unresolvable: "Check the server's name in \(settings.origin) and the DNS of this host."
      case .proxy: "Check proxy-url in \(settings.origin), or the variables HTTPS_PROXY and NO_PROXY."
      case .refused: "Check that the API server runs and that its address in \(settings.origin) is right."
      case .slow: "Check the network between here and the server, and any firewall."
      case .untrusted: "Check the certificate authority and tls-server-name in \(settings.origin)."
      case .ownCertificate: "Check the client certificate, its key and the certificate authority in \(settings.origin)."
      case .badURL: "Check the server's URL and proxy-url in \(settings.origin)."
      case .garbled: "Check that the URL leads to a Kubernetes API server and not to something else."
      case .broken: "It will be opened anew; if this goes on, check the server and any load balancer on the way."
      }
    }
  }

  private var kind: Kind {
    switch code {
    // libcurl's way to say that the answer isn't HTTP.
    case CURLE_UNSUPPORTED_PROTOCOL where detail.contains("HTTP/0.9"): .garbled
    case CURLE_COULDNT_RESOLVE_HOST: .unresolvable
    case CURLE_COULDNT_RESOLVE_PROXY, CURLE_PROXY: .proxy
    case CURLE_COULDNT_CONNECT: .refused
    case CURLE_OPERATION_TIMEDOUT: .slow
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS,
      CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      .untrusted
    case CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CRL_BADFILE, CURLE_SSL_CLIENTCERT,
      CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED:
      .ownCertificate
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_NOT_BUILT_IN, CURLE_BAD_FUNCTION_ARGUMENT,
      CURLE_UNKNOWN_OPTION:
      .badURL
    case CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING, CURLE_WRITE_ERROR: .garbled
    // With TLS 1.3 a server refuses our certificate only after the handshake: the alert comes with the first read.
    case CURLE_SSL_CONNECT_ERROR, CURLE_RECV_ERROR, CURLE_SEND_ERROR:
      detail.contains("alert") && detail.contains("certificate") || detail.contains("unknown ca")
        ? .ownCertificate : .broken
    default: .broken
    }
  }
}
