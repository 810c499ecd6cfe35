import NATSTestSupport
import Testing

/// All suites with a real nats-server, one test after the other: each starts processes of its own.
@Suite("NATS server", .serialized, .enabled(if: hasNATSServer), .timeLimit(.minutes(5)))
enum NATSServerTests {}
