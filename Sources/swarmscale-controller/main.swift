import ControllerCommand

await ControllerCommand.main()
