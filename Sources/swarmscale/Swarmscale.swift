import ArgumentParser
import ControllerCommand
import LocalMode
import Observability
import TaskCommands
import UserCommands

/// The user's tool.
@main
struct Swarmscale: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swarmscale",
    abstract: "Scale fleets of Claude-powered workers on Kubernetes.",
    version: swarmscaleVersion,
    subcommands: [
      LocalCommand.self, ControllerCommand.self, ValidateCommand.self, InjectCommand.self, ReplayCommand.self,
      DrainCommand.self, TasksCommand.self,
    ])
}
