import ArgumentParser
import SidecarCommand

/// The sidecar by itself.
@main
enum SwarmscaleSidecar {
  static func main() async {
    await SidecarCommand.main()
  }
}
