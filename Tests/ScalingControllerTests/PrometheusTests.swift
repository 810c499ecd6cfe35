import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import ScalingDecision
import Synchronization
import TestSupport
import Testing

@testable import ScalingController

@Suite("Numbers of Prometheus")
struct PrometheusNumberTests {
  @Test(
    "Decimal text becomes thousandths exactly, rounded to the nearest",
    arguments: [
      ("0", 0), ("1", 1000), ("0.3333", 333), ("0.0005", 1), ("0.00049999", 0), ("2.9999999999999996", 3000),
      ("3.0000000000000004", 3000), ("1e+06", 1_000_000_000), ("1E6", 1_000_000_000), ("1.5e-3", 2), ("1.4e-3", 1),
      ("-5.25", -5250), ("+7", 7000), (".5", 500), ("5.", 5000), ("0.1e1", 1000), ("1e-400", 0), ("0e99999", 0),
      ("9223372036854775.807", .max), ("9223372036854775.8074", .max), ("0.0000000000000000000000000001", 0),
      ("123456789012.345", 123_456_789_012_345),
    ] as [(String, Int64)])
  func exact(text: String, milli: Int64) {
    #expect(PrometheusNumber(text) == .milli(milli))
  }

  @Test(
    "What is no finite number in range is told apart",
    arguments: [
      ("NaN", .notANumber), ("+Inf", .outOfRange), ("-Inf", .outOfRange), ("1e20", .outOfRange),
      ("9223372036854775.808", .outOfRange), ("9223372036854775.8075", .outOfRange), ("", .malformed),
      (".", .malformed), ("e5", .malformed), ("1e", .malformed), ("1 ", .malformed), ("0x10", .malformed),
      ("1.2.3", .malformed), ("--1", .malformed), ("five", .malformed),
    ] as [(String, PrometheusNumber)])
  func strange(text: String, expected: PrometheusNumber) {
    #expect(PrometheusNumber(text) == expected)
  }
}

@Suite("Answers of Prometheus")
struct PrometheusResponseTests {
  private func collected(_ body: String, status: Int = 200) -> CollectedMetric {
    PrometheusResponse.collected(
      APIResponse(head: APIResponseHead(status: status), body: Array(body.utf8)), from: "http://p:9090")
  }

  private func vector(_ values: String...) -> String {
    let series = values.map { #"{"metric":{"job":"x"},"value":[1790000000.25,"\#($0)"]}"# }
    return #"{"status":"success","data":{"resultType":"vector","result":[\#(series.joined(separator: ","))]}}"#
  }

  private static let at = Timestamp(nanosecondsSinceEpoch: 1_790_000_000_250_000_000)

  @Test("Vectors and scalars become readings with the evaluation's time")
  func numbers() {
    #expect(collected(vector("3", "0.5")).reading == .series(milli: [3000, 500], at: Self.at))
    let scalar = #"{"status":"success","data":{"resultType":"scalar","result":[1790000000.25,"12"]}}"#
    #expect(collected(scalar).reading == .value(milli: 12_000, at: Self.at))
    #expect(collected(vector("-1")).reading == .series(milli: [-1000], at: Self.at))
  }

  @Test("An empty vector is absent; NaN, infinity, texts and histograms are no numbers")
  func nothing() {
    #expect(collected(vector()).reading == .unavailable(.absent))
    for value in ["NaN", "+Inf", "1e300", "x"] {
      let metric = collected(vector("1", value))
      #expect(metric.reading == .unavailable(.notANumber))
      #expect(metric.failure?.contains(#"job="x""#) == true)
    }
    let text = #"{"status":"success","data":{"resultType":"string","result":[1790000000,"hi"]}}"#
    #expect(collected(text).reading == .unavailable(.notANumber))
    let histogram =
      #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#
    #expect(collected(histogram).reading == .unavailable(.notANumber))
  }

  @Test("A refused query is told with the server's message; a range tells what to write instead")
  func refused() {
    let bad = collected(
      #"{"status":"error","errorType":"bad_data","error":"parse error: unexpected character"}"#, status: 400)
    #expect(bad.reading == .unavailable(.misconfigured))
    #expect(bad.failure?.contains("bad_data: parse error: unexpected character") == true)
    let slow = collected(#"{"status":"error","errorType":"timeout","error":"query timed out"}"#, status: 503)
    #expect(slow.reading == .unavailable(.sourceFailed))
    let matrix = collected(#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#)
    #expect(matrix.reading == .unavailable(.misconfigured))
    #expect(matrix.failure?.contains("last_over_time") == true)
  }

  @Test("Something else than Prometheus is named as that", arguments: [(200, "<html>"), (401, ""), (404, "404 page")])
  func other(status: Int, body: String) {
    let metric = collected(body, status: status)
    #expect(metric.reading == .unavailable(.sourceFailed))
    #expect(metric.failure?.contains("HTTP \(status)") == true)
  }
}

/// Transports that answer one response and note what they were made for.
private final class Servers: QueryTransportFactory {
  struct State {
    var made: [QueryServer] = []
    var requests: [APIRequest] = []
    var shutDown = 0
  }

  let state = Mutex(State())
  let response: APIResponse

  init(status: Int = 200, _ value: String = "7") {
    response = APIResponse(
      head: APIResponseHead(status: status),
      body: Array(
        #"{"status":"success","data":{"resultType":"scalar","result":[1790000000,"\#(value)"]}}"#.utf8))
  }

  struct Transport: QueryTransport {
    let servers: Servers
    func send(_ request: APIRequest) async throws -> APIResponse {
      servers.state.withLock { $0.requests.append(request) }
      return servers.response
    }
    func shutdown() async { servers.state.withLock { $0.shutDown += 1 } }
  }

  func makeTransport(for server: QueryServer) throws -> any QueryTransport {
    state.withLock { $0.made.append(server) }
    return Transport(servers: self)
  }
}

@Suite("The Prometheus source")
struct PrometheusSourceTests {
  private let api = ScriptedTransport()
  private let time = ManualTimeSource()

  private func source(_ factory: (any QueryTransportFactory)?) -> PrometheusSource {
    PrometheusSource(factory: factory, client: APIClient(transport: api, time: time))
  }

  /// The resolved query of a metric, from the JSON of its fields.
  private func query(_ fields: String) throws -> ResolvedAutoscaler.Query {
    let json = try KubernetesJSON.decode(
      JSONValue.self,
      from: Array(
        #"""
        {"metadata":{"name":"a"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"},
        "metrics":[{"type":"Prometheus","prometheus":{"serverAddress":"https://p:9090/base",\#(fields),
        "target":{"type":"AverageValue","averageValue":"4"}}}]}}
        """#.utf8))
    guard case .prometheus(let query, _) = try SwarmAutoscaler(json).resolved().metrics.first else {
      throw KubernetesError(.invalid, "no Prometheus metric")
    }
    return query
  }

  private func expectSecret(_ name: String, _ data: String, times: Int? = 1) {
    api.expect(.get, "/api/v1/namespaces/ns/secrets/\(name)", times: times, .json(#"{"data":{\#(data)}}"#))
  }

  @Test("A query is one GET of the instant query API, and its connection is kept")
  func request() async throws {
    let servers = Servers()
    let source = source(servers)
    let query = try query(#""query":"sum(rate(x[1m]))""#)
    for _ in 0..<3 {
      #expect(
        await source.collect(query, namespace: "ns").reading
          == .value(milli: 7000, at: Timestamp(secondsSinceEpoch: 1_790_000_000)))
    }
    let state = servers.state.withLock { $0 }
    #expect(state.made == [QueryServer(address: "https://p:9090/base")])
    #expect(state.requests.count == 3)
    let request = try #require(state.requests.first)
    #expect(request.method == .get && request.path == "/api/v1/query")
    #expect(request.query == [.init("query", "sum(rate(x[1m]))"), .init("timeout", "7s")])
    #expect(request.timeout == .seconds(8))
    await source.shutdown()
    #expect(servers.state.withLock { $0.shutDown } == 1)
    #expect(await source.collect(query, namespace: "ns").reading == .unavailable(.misconfigured))
  }

  @Test("A long query goes into a body")
  func longQuery() {
    let request = PrometheusSource.request(String(repeating: "a + ", count: 1000) + "b")
    #expect(request.method == .post && request.query.isEmpty)
    #expect(String(decoding: request.body ?? [], as: UTF8.self).hasPrefix("query=a%20%2B%20a"))
  }

  @Test("Credentials and certificates come from Secrets of the autoscaler's namespace, read once a minute")
  func secrets() async throws {
    // "t0ken\n", "me", "pw", "CA" in base64.
    expectSecret("auth", #""token":"dDBrZW4K""#, times: nil)
    expectSecret("ca", #""ca.crt":"Q0E=""#, times: nil)
    let servers = Servers()
    let source = source(servers)
    let query = try query(
      #"""
      "query":"x","authentication":{"type":"Bearer","secretRef":{"name":"auth"}},
      "tls":{"caSecretRef":{"name":"ca"},"serverName":"prom.internal"}
      """#)
    for _ in 0..<2 { _ = await source.collect(query, namespace: "ns") }
    let server = try #require(servers.state.withLock { $0.made.first })
    #expect(server.credentials == .bearer("t0ken"))
    #expect(server.certificateAuthority == Array("CA".utf8))
    #expect(server.serverName == "prom.internal" && !server.skipsVerification)
    #expect("\(server)" == "https://p:9090/base")
    #expect(api.requests.count == 2)
    time.advance(by: .seconds(61))
    _ = await source.collect(query, namespace: "ns")
    #expect(api.requests.count == 4)
    #expect(servers.state.withLock { $0.made.count } == 1)
  }

  @Test("Basic authentication, and verification switched off")
  func basic() async throws {
    expectSecret("auth", #""username":"bWU=","password":"cHc=""#)
    let servers = Servers()
    let query = try query(
      #"""
      "query":"x","authentication":{"type":"Basic","secretRef":{"name":"auth"}},"tls":{"insecureSkipVerify":true}
      """#)
    _ = await source(servers).collect(query, namespace: "ns")
    let server = try #require(servers.state.withLock { $0.made.first })
    #expect(server.credentials == .basic(user: "me", password: "pw"))
    #expect(server.skipsVerification)
  }

  @Test("Refused credentials are read again at the next pass")
  func refused() async throws {
    expectSecret("auth", #""token":"dDBrZW4=""#, times: nil)
    let query = try query(#""query":"x","authentication":{"type":"Bearer","secretRef":{"name":"auth"}}"#)
    let source = source(Servers(status: 401))
    for _ in 0..<2 { _ = await source.collect(query, namespace: "ns") }
    #expect(api.requests.count == 2)
  }

  @Test("A Secret that is missing, forbidden or lacks the key is told with what to do")
  func secretTrouble() async throws {
    let query = try query(#""query":"x","authentication":{"type":"Bearer","secretRef":{"name":"auth"}}"#)
    expectSecret("auth", #""other":"Q0E=""#)
    let lacking = await source(Servers()).collect(query, namespace: "ns")
    #expect(lacking.reading == .unavailable(.misconfigured))
    #expect(lacking.failure?.contains("no key \"token\"; its keys are other") == true)
    api.expect(.get, "/api/v1/namespaces/ns/secrets/auth", .status(403, reason: "Forbidden"))
    let forbidden = await source(Servers()).collect(query, namespace: "ns")
    #expect(forbidden.reading == .unavailable(.misconfigured))
    #expect(forbidden.failure?.contains("Role") == true)
  }

  @Test("Without an HTTP client the metric says so")
  func noClient() async throws {
    let metric = await source(nil).collect(try query(#""query":"x""#), namespace: "ns")
    #expect(metric.reading == .unavailable(.misconfigured))
    #expect(metric.failure?.contains("no HTTP client") == true)
  }

  @Test("No more than 32 servers are connected; the one unused for longest goes")
  func eviction() async throws {
    let servers = Servers()
    let source = source(servers)
    var query = try query(#""query":"x""#)
    for index in 0..<33 {
      query.serverAddress = "http://p\(index)"
      _ = await source.collect(query, namespace: "ns")
    }
    #expect(servers.state.withLock { $0.shutDown } == 1)
    query.serverAddress = "http://p1"
    _ = await source.collect(query, namespace: "ns")
    #expect(servers.state.withLock { $0.made.count } == 33)
    query.serverAddress = "http://p0"
    _ = await source.collect(query, namespace: "ns")
    #expect(servers.state.withLock { $0.made.count } == 34)
  }
}
