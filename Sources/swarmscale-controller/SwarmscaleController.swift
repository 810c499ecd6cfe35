import ArgumentParser
import ControllerCommand

/// The controller by itself: what runs in a cluster.
@main
struct SwarmscaleController: AsyncParsableCommand {
  static let configuration = ControllerCommand.configuration(
    named: "swarmscale-controller", usedAs: "swarmscale-controller")

  @OptionGroup var options: ControllerOptions

  func run() async throws {
    try await ControllerCommand(options: options).run()
  }
}
