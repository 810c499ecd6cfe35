package import ArgumentParser
import Foundation
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import ScalingAPI

/// `swarmscale drain --status`: who drains, who is given up, and what holds a shrink.
package struct DrainCommand: AsyncParsableCommand {
  /// How the result is shown.
  package enum Format: String, ExpressibleByArgument, CaseIterable {
    case table, json
  }

  package static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "Show what fleets do to shrink without losing work.",
    discussion: """
      Reads the autoscalers and the pods of their targets; nothing is changed. What each worker does at this moment is on the \
      controller's page.

      Exit codes: 0 shown, 64 wrong usage, 66 no such autoscaler, 69 the cluster can't be read, 78 no usable kubeconfig.
      """)

  @Flag(help: "Show the state of drains; there is nothing else to do yet, so it is required.")
  package var status = false

  @Argument(help: "Only this autoscaler, with its pods.")
  package var name: String?

  @Option(name: [.customShort("n"), .long], help: "The namespace; all without it.")
  package var namespace: String?

  @Option(help: "The kubeconfig file; else as for kubectl.")
  package var kubeconfig: String?

  @Option(help: "The context of the kubeconfig.")
  package var context: String?

  @Option(name: [.customShort("o"), .long], help: "table or json.")
  package var output = Format.table

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard status else { throw ValidationError("say --status; swarmscale drain shows, it doesn't drain by itself.") }
  }

  package func run() async throws {
    let out = CommandOutput.standard
    do {
      let fleets = try await read()
      if let name, fleets.isEmpty {
        out.remark("there is no autoscaler called \(name)\(namespace.map { " in \($0)" } ?? "")")
        throw ExitCode(66)
      }
      switch output {
      case .table: DrainStatus.table(fleets).forEach(out.write)
      case .json: out.write(String(decoding: try KubernetesJSON.encode(fleets), as: UTF8.self))
      }
    } catch let error as KubernetesError {
      out.remark(error.message)
      throw ExitCode(error.code == .misconfigured ? 78 : 69)
    }
  }

  /// The fleets that are asked for, as the cluster has them.
  func read() async throws -> [DrainStatus] {
    let time = SystemTimeSource()
    let environment = ProcessInfo.processInfo.environment
    let cluster = try loadClusterConfiguration(
      explicitPath: kubeconfig, context: context, environment: environment)
    let transport = try CurlTransport(
      configuration: cluster,
      credentials: credentialProvider(for: cluster, environment: environment, timeSource: time),
      userAgent: "swarmscale", timeSource: time)
    let client = APIClient(transport: transport, time: time)
    let result: Result<[DrainStatus], any Error>
    do { result = .success(try await read(client)) } catch { result = .failure(error) }
    await transport.shutdown()
    return try result.get()
  }

  private func read(_ client: APIClient) async throws -> [DrainStatus] {
    var autoscalers: [SwarmAutoscaler] = []
    try await client.list(SwarmAutoscaler.self, namespace: namespace) { page, isFirst in
      if isFirst { autoscalers = [] }
      autoscalers += page.filter { name == nil || $0.metadata.name == name }
    }
    var fleets: [DrainStatus] = []
    for autoscaler in autoscalers {
      var pods: [Pod] = []
      if let text = autoscaler.status?.selector, !text.isEmpty {
        let request = try APIRequest.list(
          Pod.resource, namespace: autoscaler.metadata.namespace, ListOptions(labelSelector: try Selector(text)))
        pods = try KubernetesJSON.decodeList(of: Pod.self, from: try await client.raw(request).body).items
      }
      fleets.append(DrainStatus(autoscaler, pods: pods))
    }
    return fleets
  }
}
