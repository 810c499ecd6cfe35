import ArgumentParser
import ControllerCommand

/// The user's tool.
@main
struct Swarmscale: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swarmscale",
    abstract: "Scale fleets of Claude-powered workers on Kubernetes.",
    version: swarmscaleVersion,
    subcommands: [ControllerCommand.self])
}
