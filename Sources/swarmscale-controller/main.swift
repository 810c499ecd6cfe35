import ArgumentParser
import ControllerCommand

await ControllerCommand.main()
