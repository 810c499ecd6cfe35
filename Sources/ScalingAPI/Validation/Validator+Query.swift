extension Validator {
  /// A PromQL query, its server and its credentials; whether the query parses is for the server to say.
  mutating func checkQuery(_ query: SwarmAutoscaler.PrometheusQuery, at path: String) {
    checkAddress(query.serverAddress, at: "\(path).serverAddress")
    if (query.query ?? "").allSatisfy(\.isWhitespace) {
      report(
        .required, "\(path).query", "the query is missing", fix: "write PromQL in quotes, such as \"sum(queue_depth)\"")
    }
    _ = check(query.absent, at: "\(path).absent")
    checkAuthentication(query, at: path)
    guard let tls = query.tls else { return }
    if let reference = tls.caSecretRef {
      checkName(reference.name, at: "\(path).tls.caSecretRef.name", "the name of the Secret", example: "prometheus-ca")
    }
    if let reference = tls.clientSecretRef {
      checkName(
        reference.name, at: "\(path).tls.clientSecretRef.name", "the name of the Secret", example: "prometheus-client")
    }
    if tls.insecureSkipVerify == true {
      advise(
        "\(path).tls.insecureSkipVerify", value: "true",
        "whoever can answer in the server's place decides the count of workers",
        fix: "name the server's authority in caSecretRef")
    }
    if query.serverAddress?.hasPrefix("http://") == true {
      advise("\(path).tls", "it has no effect on an http address", fix: "write https in serverAddress, or remove tls")
    }
  }

  private mutating func checkAuthentication(_ query: SwarmAutoscaler.PrometheusQuery, at path: String) {
    guard let authentication = query.authentication else { return }
    _ = check(authentication.type, at: "\(path).authentication.type", required: true)
    checkName(
      authentication.secretRef?.name, at: "\(path).authentication.secretRef.name", "the name of the Secret",
      example: "prometheus-token")
    if query.serverAddress?.hasPrefix("http://") == true {
      advise(
        "\(path).authentication", "credentials go over the network unencrypted with an http address",
        fix: "write https in serverAddress")
    }
  }

  private mutating func checkAddress(_ address: String?, at path: String) {
    guard let address, !address.isEmpty else {
      report(
        .required, path, "the address of the server is missing",
        fix: "write it, such as http://prometheus.monitoring:9090")
      return
    }
    let rest =
      if address.hasPrefix("http://") { address.dropFirst(7) } else if address.hasPrefix("https://") {
        address.dropFirst(8)
      } else { Substring() }
    let authority = rest.prefix { $0 != "/" }
    let isPrintable = address.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    if authority.contains("@") {
      report(
        .invalid, path, value: "(hidden)", "credentials don't belong in the address, where everybody can read them",
        fix: "put them in a Secret and name it in authentication.secretRef")
    } else if authority.isEmpty || authority.hasPrefix(":") || !isPrintable || rest.contains("?")
      || rest.contains("#")
    {
      report(
        .invalid, path, value: address, "it must be an http or https URL without query and fragment",
        fix: "write it like http://prometheus.monitoring:9090")
    }
  }
}
