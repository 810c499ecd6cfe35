package import Logging
import RateBudget
package import SwarmCoordination

/// What the gateway does, as log lines. Metadata is made of budgets, statuses, causes and counts alone.
package enum SidecarLog {
  /// Writes one event.
  package static func write(_ event: GatewayEvent, to logger: Logger) {
    switch event {
    case .admitted(let group, let waited):
      logger.debug("admitted", metadata: ["budget": "\(group)", "waited.ms": "\(milliseconds(waited))"])
    case .answered(let group, let status):
      logger.debug("answered", metadata: ["budget": "\(group)", "http.status": "\(status)"])
    case .retried(let group, let cause):
      logger.info("repeating an attempt", metadata: ["budget": "\(group)", "cause": "\(cause.rawValue)"])
    case .refused(let group, let cause):
      logger.warning("refused a request", metadata: ["budget": "\(group)", "cause": "\(cause)"])
    case .opened(let model):
      logger.warning("the API fails this model; it is left alone for a while", metadata: ["budget": "\(model)"])
    case .settled(let group, let usage, let isComplete):
      logger.debug(
        "settled",
        metadata: [
          "budget": "\(group)", "input": "\(usage.chargedInput ?? 0)", "output": "\(usage.output ?? 0)",
          "complete": "\(isComplete)",
        ])
    }
  }

  private static func milliseconds(_ duration: Duration) -> Int64 {
    duration.wholeNanoseconds / 1_000_000
  }
}
