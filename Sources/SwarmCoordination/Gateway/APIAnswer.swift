import NIOCore
import NIOHTTP1
import RateBudget

/// Answers in the API's own form that the gateway makes itself. It never sends the headers of subscriptions: Claude Code
/// would take them for a plan's quota.
enum APIAnswer {
  /// An error.
  static func error(
    _ status: Int, type: String, message: String, code: String? = nil, headers: [(String, String)] = []
  ) -> ClaudeResponse {
    let details = code.map { #","details":{"error_code":\#(quoted($0))}"# } ?? ""
    let text = #"{"type":"error","error":{"type":"\#(type)","message":\#(quoted(message))\#(details)}}"#
    var fields = HTTPHeaders([("content-type", "application/json"), ("content-length", String(text.utf8.count))])
    for (name, value) in headers { fields.add(name: name, value: value) }
    return ClaudeResponse(
      status: HTTPResponseStatus(statusCode: status), headers: fields, isEventStream: false,
      body: ClaudeBody(nil, ready: [ByteBuffer(string: text)]))
  }

  /// 429 for a request that the budget doesn't admit.
  static func refused(_ refusal: Refusal, using generator: inout some RandomNumberGenerator) -> ClaudeResponse {
    let message = "Swarmscale holds this request back: \(refusal.explanation)."
    guard !refusal.isWorthRetrying else { return tryLater(message, using: &generator) }
    var headers = [("x-should-retry", "false")]
    var code: String?
    switch refusal {
    case .upstreamPause(let wait), .spendCeiling(_, let wait):
      headers.append(("retry-after", String(max(1, wait.components.seconds))))
    case .upstreamSpendLimit(let reported): code = reported
    case .queueFull, .tooManyClients, .deadlineBeforeRetry: break
    }
    return error(429, type: "rate_limit_error", message: message, code: code, headers: headers)
  }

  /// 429 that is worth another attempt. Clients give up on a retry-after above 60 s, and they add no jitter.
  static func tryLater(_ message: String, using generator: inout some RandomNumberGenerator) -> ClaudeResponse {
    error(
      429, type: "rate_limit_error", message: message,
      headers: [("retry-after", String(Int.random(in: 15...55, using: &generator)))])
  }

  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case _ where scalar.value < 0x20: result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
