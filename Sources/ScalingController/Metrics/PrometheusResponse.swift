package import KubernetesCore
import ScalingDecision

/// Reads the answer to an instant query of the Prometheus HTTP API (also spoken by Thanos, Mimir, VictoriaMetrics).
package enum PrometheusResponse {
  /// The reading that an answer means.
  package static func collected(_ response: APIResponse, from server: String) -> CollectedMetric {
    let json = try? KubernetesJSON.decode(JSONValue.self, from: response.body)
    guard let json, let status = json["status"]?.stringValue else {
      return failed(
        .sourceFailed, "\(server) answered HTTP \(response.head.status) and no Prometheus reply\(hint(response))")
    }
    guard status == "success" else {
      let type = json["errorType"]?.stringValue ?? "error"
      let error = json["error"]?.stringValue ?? "no message"
      let reason: UnavailableReason = type == "bad_data" ? .misconfigured : .sourceFailed
      return failed(reason, "\(server) refused the query: \(type): \(String(error.prefix(500)))")
    }
    let result = json["data"]?["result"]
    switch json["data"]?["resultType"]?.stringValue {
    case "vector": return vector(result?.arrayValue ?? [], server)
    case "scalar": return scalar(result, server)
    case "string":
      return failed(.notANumber, "the query gives a text; it must give an instant vector or a scalar")
    case "matrix":
      return failed(
        .misconfigured,
        "the query gives a range of samples; apply a function such as last_over_time() or rate() to the range")
    case let type:
      return failed(.sourceFailed, "\(server) answered with the unknown result type \"\(type ?? "none")\"")
    }
  }

  private static func vector(_ series: [JSONValue], _ server: String) -> CollectedMetric {
    guard !series.isEmpty else {
      return failed(.absent, "the query gives no series; the metric's field absent says what that means")
    }
    var values: [Int64] = []
    var oldest: Timestamp?
    for element in series {
      guard let pair = element["value"] else {
        return failed(
          .notANumber, "a series of the query is a native histogram; apply histogram_quantile() or the like")
      }
      switch sample(pair, labels: element["metric"]) {
      case .failure(let failure): return CollectedMetric(.unavailable(.notANumber), failure: failure.message)
      case .success(let (milli, at)):
        values.append(milli)
        if let at { oldest = min(oldest ?? at, at) }
      }
    }
    return CollectedMetric(.series(milli: values, at: oldest))
  }

  private static func scalar(_ pair: JSONValue?, _ server: String) -> CollectedMetric {
    switch sample(pair ?? .null, labels: nil) {
    case .failure(let failure): CollectedMetric(.unavailable(.notANumber), failure: failure.message)
    case .success(let (milli, at)): CollectedMetric(.value(milli: milli, at: at))
    }
  }

  private struct Failure: Error {
    var message: String
  }

  /// Reads `[seconds, "value"]`.
  private static func sample(_ pair: JSONValue, labels: JSONValue?) -> Result<(Int64, Timestamp?), Failure> {
    guard let text = pair[1]?.stringValue else {
      return .failure(Failure(message: "a sample of the query has no value"))
    }
    switch PrometheusNumber(text) {
    case .milli(let milli): return .success((milli, timestamp(pair[0])))
    case .notANumber:
      return .failure(
        Failure(
          message: "the query gives NaN\(name(labels)); guard divisions by zero, such as a / (b > 0) or vector(0)"))
    case .outOfRange:
      return .failure(Failure(message: "the query gives \(text)\(name(labels)), which is beyond what can be counted"))
    case .malformed:
      return .failure(Failure(message: "the query gives \"\(text.prefix(40))\"\(name(labels)), which is no number"))
    }
  }

  private static func name(_ labels: JSONValue?) -> String {
    guard let members = labels?.objectValue, !members.isEmpty else { return "" }
    let text = members.sorted { $0.key < $1.key }.map { "\($0.key)=\"\($0.value.stringValue ?? "")\"" }
      .joined(separator: ",")
    return " for {\(text.prefix(200))}"
  }

  /// The evaluation's moment in milliseconds, which is what Prometheus writes; how old the sample itself may be is
  /// Prometheus' own lookback (5 minutes by default).
  private static func timestamp(_ seconds: JSONValue?) -> Timestamp? {
    switch seconds {
    case .int(let whole): return Timestamp(secondsSinceEpoch: whole)
    case .double(let value):
      guard value.isFinite, abs(value) < 9e9 else { return nil }
      return Timestamp(nanosecondsSinceEpoch: Int64((value * 1000).rounded()) * 1_000_000)
    default: return nil
    }
  }

  private static func hint(_ response: APIResponse) -> String {
    switch response.head.status {
    case 401, 403: "; check the credentials in authentication.secretRef"
    case 404: "; check the path of serverAddress (without /api/v1/query)"
    default: ""
    }
  }

  private static func failed(_ reason: UnavailableReason, _ message: String) -> CollectedMetric {
    CollectedMetric(.unavailable(reason), failure: message)
  }
}
