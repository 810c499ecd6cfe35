import Foundation
package import Testing

/// Whether tests run that take many seconds of arithmetic, or kill processes: when `SWARMSCALE_SLOW_TESTS` is set, as
/// `scripts/test` does, or a variable that says how many seeds one of them runs (`SWARMSCALE_…_SEEDS`, `…_SEED`).
///
/// `swift test` alone is to stay under two minutes, and tests with real clocks are not to wait for a core beside them.
package let runsSlowTests = ProcessInfo.processInfo.environment.keys.contains {
  $0 == "SWARMSCALE_SLOW_TESTS" || ($0.hasPrefix("SWARMSCALE_") && ($0.hasSuffix("_SEEDS") || $0.hasSuffix("_SEED")))
}

extension Trait where Self == ConditionTrait {
  /// Skipped by `swift test` alone; its suite is named in `scripts/test`, to which `TidyTests` holds it.
  package static var slow: Self {
    .enabled(if: runsSlowTests, "takes many seconds: SWARMSCALE_SLOW_TESTS=1 runs it, and so does scripts/test")
  }

  /// Skipped by `swift test` alone as well: its real clocks and connections are not to wait for a core beside a thousand other
  /// tests. `scripts/test` runs its target after them, one test at a time.
  package static var alone: Self {
    .enabled(if: runsSlowTests, "wants the cores for itself: SWARMSCALE_SLOW_TESTS=1 runs it, and so does scripts/test")
  }
}
