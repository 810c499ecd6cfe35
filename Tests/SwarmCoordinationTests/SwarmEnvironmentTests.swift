import CoordinationProtocol
import SwarmCoordination
import Testing

/// The contract of the environment: docs/sidecar.md.
@Suite struct SwarmEnvironmentTests {
  private static let pod = [
    "SWARMSCALE_COORDINATOR": "https://swarmscale.system.svc:8443", "SWARMSCALE_NAMESPACE": "team",
    "SWARMSCALE_POD": "reviewer-1",
  ]

  private static func read(
    _ variables: [String: String], files: Set<String> = []
  ) throws(SwarmConfigurationError) -> SwarmEnvironment {
    try SwarmEnvironment(reading: { variables[$0] }, fileExists: { files.contains($0) })
  }

  @Test("Without variables a worker is on its own")
  func alone() throws {
    let environment = try Self.read([:])
    #expect(environment.coordinator == nil && environment.link(readingToken: { _ in nil }) == nil)
    #expect(environment.upstream.description == "https://api.anthropic.com" && environment.slots == nil)
    // What the downward API gives without a coordinator does no harm, and an empty value is none.
    #expect(try Self.read(["SWARMSCALE_NAMESPACE": "team", "SWARMSCALE_COORDINATOR": ""]).coordinator == nil)
  }

  @Test("All variables are read")
  func all() throws {
    var variables = Self.pod
    variables["SWARMSCALE_POD_UID"] = "u-1"
    variables["SWARMSCALE_AUTOSCALER"] = "reviewers"
    variables["SWARMSCALE_WORKER_KIND"] = "review"
    variables["SWARMSCALE_TOKEN_FILE"] = "/t"
    variables["SWARMSCALE_CA_FILE"] = "/c"
    variables["SWARMSCALE_COORDINATOR_SERVER_NAME"] = "swarmscale"
    variables["SWARMSCALE_SLOTS"] = "4"
    variables["ANTHROPIC_UPSTREAM"] = "http://127.0.0.1:9"
    let environment = try Self.read(variables, files: ["/c"])
    let identity = environment.identity(incarnation: "i")
    #expect(identity.client == "team/reviewer-1/i" && identity.fleetName == "team/reviewers")
    #expect(identity.uid == "u-1" && identity.kind == "review" && environment.slots == 4)
    #expect(environment.upstream.description == "http://127.0.0.1:9")
    let found = environment.link { "token of \($0)" }
    let link = try #require(found)
    #expect(link.host == "swarmscale.system.svc" && link.port == 8443)
    #expect(link.security == .tls(authorities: "/c", serverName: "swarmscale") && link.token() == "token of /t")
  }

  @Test("Token and authorities have their places; without a file there the system's authorities count")
  func defaults() throws {
    let place = "/var/run/secrets/swarmscale.dev/"
    let bareLink = try Self.read(Self.pod).link { $0 }
    let bare = try #require(bareLink)
    #expect(bare.security == .tls(authorities: nil, serverName: nil) && bare.token() == place + "token")
    let mountedLink = try Self.read(Self.pod, files: [place + "ca.crt"]).link { _ in nil }
    let mounted = try #require(mountedLink)
    #expect(mounted.security == .tls(authorities: place + "ca.crt", serverName: nil))
  }

  @Test(
    "A token is shown over TLS, and without it only on this machine",
    arguments: [
      ("https://c:1", true), ("http://127.0.0.1:1", true), ("http://localhost:1", true), ("http://[::1]:1", true),
      ("http://10.0.0.1:1", false), ("http://coordinator:1", false),
    ])
  func clearToken(address: String, isShown: Bool) throws {
    var variables = Self.pod
    variables["SWARMSCALE_COORDINATOR"] = address
    let linkLink = try Self.read(variables).link { _ in "secret" }
    let link = try #require(linkLink)
    #expect((link.token() == "secret") == isShown)
  }

  @Test(
    "What is wrong is named with its value and what to do",
    arguments: [
      ("SWARMSCALE_COORDINATOR", "coordinator:8443", "https://host:port is needed"),
      ("SWARMSCALE_COORDINATOR", "https://coordinator", "https://host:port is needed"),
      ("SWARMSCALE_COORDINATOR", "https://a:0", "https://host:port is needed"),
      ("SWARMSCALE_COORDINATOR", "https://::1:80", "https://host:port is needed"),
      ("SWARMSCALE_COORDINATOR", "https://user@host:80", "https://host:port is needed"),
      ("SWARMSCALE_NAMESPACE", nil, "metadata.namespace"), ("SWARMSCALE_POD", nil, "metadata.name"),
      ("SWARMSCALE_POD", "team/pod", "without namespace or slash"),
      ("SWARMSCALE_AUTOSCALER", "team/reviewers", "without namespace or slash"),
      ("SWARMSCALE_SLOTS", "0", "a number from 1"), ("SWARMSCALE_SLOTS", "four", "a number from 1"),
      ("SWARMSCALE_CA_FILE", "/missing", "no such file"),
      ("ANTHROPIC_UPSTREAM", "api.anthropic.com", "a URL is needed"),
      ("SWARMSCALE_WORKER_KIND", String(repeating: "k", count: 129), "a shorter word"),
    ] as [(String, String?, String)])
  func wrong(variable: String, value: String?, advice: String) {
    var variables = Self.pod
    variables[variable] = value
    let error = #expect(throws: SwarmConfigurationError.self) { try Self.read(variables) }
    #expect(error?.variable == variable && error?.value == value)
    #expect(error?.description.contains(advice) == true, "\(error?.description ?? "")")
  }

  @Test("A token is read without the white space around it; a file that isn't there is no token")
  func token() {
    #expect(ProcessFacts.token("/nonexistent/token") == nil)
    #expect(ProcessFacts.token("/proc/sys/kernel/ostype") == "Linux")
    #expect(ProcessFacts.incarnation() != ProcessFacts.incarnation())
  }
}
