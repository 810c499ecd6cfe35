import ArgumentParser
import ControllerCommand

/// The controller by itself: what runs in a cluster.
@main
enum SwarmscaleController {
  static func main() async {
    await ControllerCommand.main()
  }
}
