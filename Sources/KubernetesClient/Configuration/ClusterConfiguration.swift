/// All that is needed to reach one API server: address, TLS, credentials, proxy.
package struct ClusterConfiguration: Hashable, Sendable {
  /// The server's URL without a trailing slash, such as `https://10.0.0.1:6443`; may have a path.
  package var server: String
  /// How to verify the server and how to identify ourselves by certificate.
  package var tls: TLSSettings
  /// How to authenticate by header.
  package var credentials: Credentials
  /// The proxy's URL (`http`, `https`, `socks5`, `socks5h`); nil: as the environment's `HTTPS_PROXY` and `NO_PROXY` say.
  package var proxyURL: String?
  /// Whom to act as, if not ourselves.
  package var impersonation: Impersonation?
  /// The namespace to use where none is named.
  package var defaultNamespace: String
  /// Where this configuration comes from, for people: a file and context, or "in-cluster".
  package var origin: String

  /// Makes a configuration.
  package init(
    server: String, tls: TLSSettings = TLSSettings(), credentials: Credentials = .none, proxyURL: String? = nil,
    impersonation: Impersonation? = nil, defaultNamespace: String = "default", origin: String = "code"
  ) {
    self.server = server
    self.tls = tls
    self.credentials = credentials
    self.proxyURL = proxyURL
    self.impersonation = impersonation
    self.defaultNamespace = defaultNamespace
    self.origin = origin
  }
}

/// How to verify a server and how to identify ourselves by certificate.
package struct TLSSettings: Hashable, Sendable {
  /// The certificates that may have signed the server's; nil: those that the system trusts.
  package var certificateAuthority: PEMSource?
  /// The name to send as SNI and to verify instead of the URL's host.
  package var serverName: String?
  /// True: accept any certificate. Anyone on the path can then read the credentials.
  package var skipsVerification: Bool
  /// Our own certificate, if we identify ourselves by one.
  package var clientCertificate: ClientCertificateSource?

  /// Makes settings; the defaults verify against the certificates that the system trusts.
  package init(
    certificateAuthority: PEMSource? = nil, serverName: String? = nil, skipsVerification: Bool = false,
    clientCertificate: ClientCertificateSource? = nil
  ) {
    self.certificateAuthority = certificateAuthority
    self.serverName = serverName
    self.skipsVerification = skipsVerification
    self.clientCertificate = clientCertificate
  }
}

/// Where our certificate and its private key come from.
package struct ClientCertificateSource: Hashable, Sendable {
  /// The certificate, with any intermediate certificates after it.
  package var certificate: PEMSource
  /// The private key.
  package var key: PEMSource

  /// Makes a source.
  package init(certificate: PEMSource, key: PEMSource) {
    self.certificate = certificate
    self.key = key
  }
}

/// How to authenticate by header.
///
/// A client certificate is a matter of TLS (`TLSSettings.clientCertificate`); it may come besides any of these.
package enum Credentials: Hashable, Sendable {
  /// No header.
  case none
  /// A fixed bearer token.
  case bearer(Secret)
  /// A bearer token in a file that is replaced before the token expires.
  case tokenFile(path: String)
  /// User name and password.
  case basic(user: String, password: Secret)
  /// A program that prints a token or a client certificate.
  case exec(ExecPlugin)
}

/// Whom to act as (headers `Impersonate-…`).
package struct Impersonation: Hashable, Sendable {
  /// The user's name.
  package var user: String
  /// The user's UID, if any.
  package var uid: String?
  /// The groups to act as a member of.
  package var groups: [String]
  /// Further attributes in order.
  package var extra: [Extra]

  /// One further attribute of the user.
  package struct Extra: Hashable, Sendable {
    /// The attribute's name.
    package var name: String
    /// Its values.
    package var values: [String]

    /// Makes an attribute.
    package init(name: String, values: [String]) {
      self.name = name
      self.values = values
    }
  }

  /// Makes an impersonation.
  package init(user: String, uid: String? = nil, groups: [String] = [], extra: [Extra] = []) {
    self.user = user
    self.uid = uid
    self.groups = groups
    self.extra = extra
  }

  /// The header fields that ask the server for it.
  package var headers: [(name: String, value: String)] {
    var fields = [(name: "Impersonate-User", value: user)]
    if let uid { fields.append((name: "Impersonate-Uid", value: uid)) }
    fields += groups.map { (name: "Impersonate-Group", value: $0) }
    for attribute in extra {
      let name = "Impersonate-Extra-" + percentEncoded(attribute.name, keeping: isHeaderTokenByte)
      fields += attribute.values.map { (name: name, value: $0) }
    }
    return fields
  }
}

/// A credential plugin of a kubeconfig file (`users[].user.exec`).
package struct ExecPlugin: Hashable, Sendable {
  /// When the plugin may ask the person at the terminal.
  package enum InteractiveMode: String, Hashable, Sendable {
    /// It never needs standard input.
    case never = "Never"
    /// It uses standard input if there is a terminal.
    case ifAvailable = "IfAvailable"
    /// It can't work without a terminal.
    case always = "Always"
  }

  /// The version of `ExecCredential` to speak: `client.authentication.k8s.io/v1` or `…/v1beta1`.
  package var apiVersion: String
  /// The program: a name looked up in `PATH`, or a path.
  package var command: String
  /// Its arguments.
  package var arguments: [String]
  /// Environment variables to add, in order.
  package var environment: [Variable]
  /// When it may ask at the terminal.
  package var interactiveMode: InteractiveMode
  /// What to tell a person when the program isn't there.
  package var installHint: String?
  /// The cluster to tell it about, if it asks for that (`provideClusterInfo`).
  package var clusterInfo: ClusterInfo?

  /// One environment variable.
  package struct Variable: Hashable, Sendable {
    /// The variable's name.
    package var name: String
    /// Its value.
    package var value: String

    /// Makes a variable.
    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// What a plugin is told about the cluster.
  package struct ClusterInfo: Hashable, Sendable {
    /// The server's URL.
    package var server: String
    /// How it is verified.
    package var tls: TLSSettings
    /// The proxy's URL, if any.
    package var proxyURL: String?
    /// The value of the cluster's extension `client.authentication.k8s.io/exec` as JSON text, if any.
    package var configurationJSON: String?

    /// Makes the information.
    package init(server: String, tls: TLSSettings, proxyURL: String? = nil, configurationJSON: String? = nil) {
      self.server = server
      self.tls = tls
      self.proxyURL = proxyURL
      self.configurationJSON = configurationJSON
    }
  }

  /// Makes a plugin's description.
  package init(
    apiVersion: String, command: String, arguments: [String] = [], environment: [Variable] = [],
    interactiveMode: InteractiveMode = .ifAvailable, installHint: String? = nil, clusterInfo: ClusterInfo? = nil
  ) {
    self.apiVersion = apiVersion
    self.command = command
    self.arguments = arguments
    self.environment = environment
    self.interactiveMode = interactiveMode
    self.installHint = installHint
    self.clusterInfo = clusterInfo
  }
}
