package import ArgumentParser
import KubernetesCore
import KubernetesYAML
import MockClaude
import MockClaudeServer
import UnixSignals
import YAML

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `mock-claude`: runs MockClaude as a program until SIGTERM or SIGINT.
package struct MockClaudeCommand: AsyncParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "mock-claude",
    abstract: "Serve a local Claude Messages API with real limits, faults and an oracle of what was charged.",
    discussion: """
      Listens on 127.0.0.1 and accepts any key unless the configuration names some. It needs no network and costs \
      nothing; what it answers is made of random words. Faults, pace and limits are set by --config, changed below /admin \
      while it runs, or asked for by a request: header X-Mock-Fault, or directives in the last user message.

      Try it:
        mock-claude --port 8080 --tier start &
        curl -N http://127.0.0.1:8080/v1/messages -H 'x-api-key: any' -H 'anthropic-version: 2023-06-01' \\
          -d '{"model":"claude-sonnet-4-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"<<out=50>>"}]}'
        curl http://127.0.0.1:8080/admin/oracle
        ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_API_KEY=any claude -p hello

      docs/mock-claude.md lists every setting.
      """)

  @Option(help: "Port on 127.0.0.1; 0 takes a free one.")
  package var port = 0

  @Option(help: ArgumentHelp("Configuration, YAML or JSON.", valueName: "file"))
  package var config: String?

  @Option(help: "Tier of the limits: start, build or scale. (default: scale)")
  package var tier: String?

  @Option(help: "Seed of all draws. (default: 1)")
  package var seed: UInt64?

  @Option(help: ArgumentHelp("File into which the URL is written when requests are accepted.", valueName: "file"))
  package var readyFile: String?

  /// Makes the command.
  package init() {}

  package func run() async throws {
    let configuration = try configuration()
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let server: MockClaudeServer
    do {
      server = try await MockClaudeServer(configuration: configuration, port: port)
    } catch {
      throw CannotListen(port: port, cause: error)
    }
    print(server.url)
    if let readyFile {
      // Written whole, so that nobody reads half a URL.
      try Data((server.url + "\n").utf8).write(to: URL(filePath: readyFile), options: .atomic)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask {
        for await _ in signals { return }
      }
      try await group.next()
      group.cancelAll()
      try? await group.waitForAll()
    }
  }

  private func configuration() throws -> MockConfiguration {
    var configuration = MockConfiguration()
    if let config {
      do {
        let (documents, problem) = YAMLDocument.read([UInt8](try Data(contentsOf: URL(filePath: config))))
        if let problem { throw problem }
        let json = documents.first?.json ?? .object([:])
        configuration = try JSONDecoder().decode(MockConfiguration.self, from: Data(json.text))
      } catch {
        throw ValidationError("--config \(config): \(error)")
      }
    }
    if let tier {
      guard let known = Tier(rawValue: tier) else {
        throw ValidationError("--tier \(tier): known are start, build and scale")
      }
      configuration.tier = known
    }
    configuration.seed = seed ?? configuration.seed
    return configuration
  }
}

/// The port can't be had.
private struct CannotListen: Error, CustomStringConvertible {
  var port: Int
  var cause: any Error

  var description: String {
    "can't listen on 127.0.0.1:\(port): \(cause); choose another --port, or 0 for a free one"
  }
}
