import GRPCCore

extension CoordinatorLink {
  /// Where the coordinator is looked for, as host:port.
  package var place: String { configuration.place }

  /// Why the stream is lost, and what to do, in one line without a secret.
  package func explanation(of error: any Error) -> String { configuration.explanation(of: error) }
}

extension LinkConfiguration {
  var place: String { "\(host):\(port)" }

  /// Why the stream is lost, and what to do.
  func explanation(of error: any Error) -> String {
    guard let error = error as? RPCError else { return Self.line("\(error)") }
    // What the transport says is nested: the cause of the cause is the one that tells.
    let whole = Self.line(Self.causes(of: error).joined(separator: ": "))
    if case .tls(let authorities, let serverName) = security {
      if whole.contains("CERTIFICATE_VERIFY_FAILED") {
        return "the coordinator's certificate isn't signed by an authority in "
          + (authorities ?? "the system's certificates")
          + "; name the file with the right one in SWARMSCALE_CA_FILE (\(whole))"
      }
      if whole.contains("unableToValidateCertificate") || whole.contains("failedToValidateHostname") {
        return "the coordinator's certificate isn't for \(serverName ?? host); name what it is for in "
          + "SWARMSCALE_COORDINATOR_SERVER_NAME (\(whole))"
      }
    }
    switch error.code {
    case .unauthenticated:
      return "the coordinator refuses this worker's token: \(whole); see SWARMSCALE_TOKEN_FILE"
    default: return whole
    }
  }

  private static func causes(of error: any Error) -> [String] {
    guard let error = error as? RPCError else { return ["\(error)"] }
    return [error.message] + (error.cause.map { causes(of: $0) } ?? [])
  }

  private static func line(_ text: String) -> String {
    String(text.unicodeScalars.map { $0.value < 0x20 ? " " : Character($0) }.prefix(500))
  }
}
