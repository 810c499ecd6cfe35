import KubernetesClient
import KubernetesCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a credential plugin prints (`ExecCredential` of client.authentication.k8s.io), and what it is told.
struct ExecCredential {
  /// The credential.
  var credential: Credential
  /// When it stops being valid; nil: never, as far as the plugin says.
  var expiresAt: Timestamp?

  private struct Wire: Decodable {
    struct Status: Decodable {
      var expirationTimestamp: String?
      var token: String?
      var clientCertificateData: String?
      var clientKeyData: String?
    }

    var apiVersion: String?
    var kind: String?
    var status: Status?
  }

  /// Reads a plugin's output; `apiVersion` is the one it was asked for. Errors never quote the output.
  init(output: [UInt8], apiVersion: String) throws {
    func wrong(_ what: String) -> KubernetesError { misconfigured("its output \(what)") }
    guard let wire = try? JSONDecoder().decode(Wire.self, from: Data(output)) else {
      throw wrong(output.isEmpty ? "is empty" : "isn't an ExecCredential in JSON")
    }
    guard wire.kind == "ExecCredential" else {
      throw wrong("has the kind \(wire.kind ?? "none") instead of ExecCredential")
    }
    guard wire.apiVersion == apiVersion else {
      throw wrong("has the apiVersion \(wire.apiVersion ?? "none") where the kubeconfig asks for \(apiVersion)")
    }
    guard let status = wire.status else { throw wrong("has no status") }
    let token = status.token.flatMap { $0.isEmpty ? nil : $0 }
    let certificate = status.clientCertificateData.flatMap { $0.isEmpty ? nil : $0 }
    let key = status.clientKeyData.flatMap { $0.isEmpty ? nil : $0 }
    guard (certificate == nil) == (key == nil) else {
      throw wrong("has only one of clientCertificateData and clientKeyData")
    }
    guard token != nil || certificate != nil else { throw wrong("has neither a token nor a client certificate") }
    credential = Credential(authorization: token.map { .bearer(Secret($0)) })
    if let certificate, let key {
      credential.clientCertificate = Credential.ClientCertificate(
        certificate: Array(certificate.utf8), key: Array(key.utf8))
    }
    if let text = status.expirationTimestamp {
      guard let time = try? Timestamp(rfc3339: text) else {
        throw wrong("has an expirationTimestamp that isn't RFC 3339, such as 2026-01-31T12:00:00Z")
      }
      expiresAt = time
    }
  }

  /// The value of `KUBERNETES_EXEC_INFO` for `plugin`.
  static func information(for plugin: ExecPlugin, isInteractive: Bool) throws -> String {
    var spec = "\"interactive\":\(isInteractive)"
    if let cluster = plugin.clusterInfo {
      var fields = ["\"server\":\(jsonString(cluster.server))"]
      if let name = cluster.tls.serverName { fields.append("\"tls-server-name\":\(jsonString(name))") }
      if cluster.tls.skipsVerification { fields.append("\"insecure-skip-tls-verify\":true") }
      if let authority = cluster.tls.certificateAuthority {
        let bytes =
          switch authority {
          case .data(let bytes): bytes
          case .file(let path): try WatchedFile.read(path: path, purpose: "the certificate authority")
          }
        fields.append("\"certificate-authority-data\":\(jsonString(Data(bytes).base64EncodedString()))")
      }
      if let proxy = cluster.proxyURL { fields.append("\"proxy-url\":\(jsonString(proxy))") }
      if let configuration = cluster.configurationJSON { fields.append("\"config\":\(configuration)") }
      spec += ",\"cluster\":{\(fields.joined(separator: ","))}"
    }
    return "{\"apiVersion\":\(jsonString(plugin.apiVersion)),\"kind\":\"ExecCredential\",\"spec\":{\(spec)}}"
  }
}

/// `text` as a JSON string with its quotes.
private func jsonString(_ text: String) -> String {
  String(decoding: JSONValue.string(text).text, as: UTF8.self)
}
