import Foundation
import KubernetesClient
import KubernetesCore
import Synchronization

/// Real time, with a handle to jump ahead so that nothing has to wait for a file's check interval.
final class ShiftableTimeSource: TimeSource {
  private let origin = ContinuousClock.now
  private let shift = Mutex(Duration.zero)

  var wallNow: Timestamp { Timestamp(secondsSinceEpoch: Int64(Date().timeIntervalSince1970)) }
  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: origin.duration(to: .now) + shift.withLock { $0 }) }

  func sleep(until deadline: MonotonicTime) async throws {
    try await ContinuousClock().sleep(for: deadline - monotonicNow)
  }

  func advance(by duration: Duration) { shift.withLock { $0 += duration } }
}

/// What kept a test's helper from starting.
struct HelperFailure: Error, CustomStringConvertible {
  var description: String
}

/// The folder with the tests' certificates, made once by the openssl command.
enum TestCertificates {
  private static let made = Result { try make() }

  /// The path of the file `name`.
  static func path(_ name: String) throws -> String { try made.get() + "/" + name }

  /// The bytes of the file `name`.
  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: try path(name))))
  }

  private static func make() throws -> String {
    let folder = try temporaryFolder()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["bash", supportFile("make_certificates.sh"), folder]
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw HelperFailure(description: "make_certificates.sh failed; is openssl installed?")
    }
    return folder
  }
}

/// A new folder for a test's files.
func temporaryFolder() throws -> String {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("swarmscale-tests-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  return url.path
}

/// The path of a file beside this one.
func supportFile(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name).path
}

/// A running `test_server.py`.
final class TestServer: Sendable {
  /// How the server is set up.
  struct Options {
    /// The certificate's file name; nil: plain HTTP.
    var certificate: String? = "server.pem"
    /// Whether it refuses clients without a certificate.
    var requiresClientCertificate = false
  }

  let port: Int
  let proxyPort: Int
  let scheme: String
  private let process: Process
  private let input: Pipe

  private init(_ options: Options) throws {
    process = Process()
    input = Pipe()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    var arguments = ["python3", supportFile("test_server.py")]
    if let certificate = options.certificate {
      arguments += [
        "--cert", try TestCertificates.path(certificate), "--client-ca", try TestCertificates.path("ca.crt"),
      ]
    }
    if options.requiresClientCertificate { arguments.append("--require-client-cert") }
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    var line = ""
    while !line.hasSuffix("\n") {
      let data = output.fileHandleForReading.availableData
      guard !data.isEmpty else { throw HelperFailure(description: "test_server.py ended; is python3 installed?") }
      line += String(decoding: data, as: UTF8.self)
    }
    let words = line.split(whereSeparator: \.isWhitespace)
    guard words.count == 4, let port = Int(words[1]), let proxyPort = Int(words[3]) else {
      throw HelperFailure(description: "test_server.py said \(line)")
    }
    self.port = port
    self.proxyPort = proxyPort
    scheme = options.certificate == nil ? "http" : "https"
  }

  /// Runs `body` with a server of its own.
  static func with<Result>(_ options: Options = Options(), _ body: (TestServer) async throws -> Result) async throws
    -> Result
  {
    let server = try TestServer(options)
    defer { server.stop() }
    return try await body(server)
  }

  private func stop() {
    try? input.fileHandleForWriting.close()
    process.terminate()
    process.waitUntilExit()
  }

  /// A configuration that reaches and trusts this server, around any proxy of the environment.
  func configuration(
    certificateAuthority: String? = "ca.crt", clientCertificate: ClientCertificateSource? = nil
  ) throws -> ClusterConfiguration {
    ClusterConfiguration(
      server: "\(scheme)://127.0.0.1:\(port)",
      tls: TLSSettings(
        certificateAuthority: try certificateAuthority.map { .data(try TestCertificates.bytes($0)) },
        clientCertificate: clientCertificate),
      proxyURL: "", origin: "the test")
  }
}

/// Runs `body` with a transport to `configuration` that is shut down afterwards.
func withTransport<Result>(
  _ configuration: ClusterConfiguration, credentials: any CredentialProvider = StaticCredentialProvider(),
  timeSource: any TimeSource = ShiftableTimeSource(), limits: CurlTransport.Limits = CurlTransport.Limits(),
  _ body: (CurlTransport) async throws -> Result
) async throws -> Result {
  let transport = try CurlTransport(
    configuration: configuration, credentials: credentials, userAgent: "swarmscale/test", timeSource: timeSource,
    limits: limits)
  do {
    let result = try await body(transport)
    await transport.shutdown()
    return result
  } catch {
    await transport.shutdown()
    throw error
  }
}

extension CurlTransport {
  /// How often the server has noted `what`, once it has done so `count` times.
  func noted(_ what: String, atLeast count: Int) async throws -> Int? {
    let response = try await send(
      APIRequest(path: "/wait", query: [.init("for", what), .init("count", String(count))], timeout: .seconds(300)))
    return Int(String(decoding: response.body, as: UTF8.self))
  }
}
