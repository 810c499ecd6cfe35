import CoordinationEngine
import NATSClient
import NIOCore

/// Numbers in a counter stream: the server adds, and its receipt has the sum.
package struct JetStreamCounters: Counters {
  let link: EngineLink

  init(_ link: EngineLink) { self.link = link }

  static func ensure(_ link: EngineLink) async throws {
    var stream = StreamConfiguration(
      name: link.layout.counterStream, subjects: ["\(link.layout.counterSubjects)>"])
    stream.maximumMessagesPerSubject = 1
    stream.allowsDirect = true
    stream.allowsCounters = true
    try await link.ensureOnce(stream)
  }

  private func subject(_ name: String) throws -> String {
    try StateLimits().check(key: name)
    return "\(link.layout.counterSubjects)u.\(name)"
  }

  package func add(_ delta: Int64, to name: String) async throws -> Int64 {
    try await link.engine {
      let subject = try subject(name)
      try await Self.ensure(link)
      var options = PublishOptions()
      options.increment = Int(delta)
      // A lost answer is told: whether it was added is unknown, and saying it again might add it twice.
      let ack = try await link.jetStream.publish(subject, options: options)
      return try Self.number(ack.value, name)
    }
  }

  package func value(of name: String) async throws -> Int64 {
    try await link.engine {
      let subject = try subject(name)
      try await Self.ensure(link)
      let message = try await link.patiently {
        try await link.jetStream.message(link.layout.counterStream, .last(subject: subject))
      }
      guard let message else { return 0 }
      return try Self.number((try? JSONValue(parsing: message.message.payload))?["val"]?.string, name)
    }
  }

  package func remove(_ name: String) async throws {
    try await link.engine {
      let subject = try subject(name)
      try await Self.ensure(link)
      try await link.patiently { try await link.jetStream.purgeStream(link.layout.counterStream, subject: subject) }
    }
  }

  /// The server's sums have no bound.
  private static func number(_ text: String?, _ name: String) throws -> Int64 {
    guard let text, let value = Int64(text) else {
      throw EngineError.corrupt("the counter \(name) has no value of 64 bits (\(text ?? "none")): remove it")
    }
    return value
  }
}
