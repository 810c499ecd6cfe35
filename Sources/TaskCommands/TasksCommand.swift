package import ArgumentParser

/// `swarmscale tasks`: queues of tasks, for people.
package struct TasksCommand: AsyncParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "tasks",
    abstract: "Submit tasks, look at them, and serve queues.",
    discussion: """
      All but serve talk to a queue's server: that of swarmscale local, of swarmscale tasks serve, or a sidecar. It is named by \
      --server or by the variable SWARMSCALE_TASKS.

      Exit codes: 0 done, 64 wrong usage, 65 refused by the queue, 66 no such task or no fleet, 69 the server can't be reached.

      docs/task-queue.md says what a queue promises.
      """,
    subcommands: [
      TasksSubmitCommand.self, TasksListCommand.self, TasksShowCommand.self, TasksRetryCommand.self,
      TasksDeadCommand.self, TasksFleetCommand.self, TasksServeCommand.self,
    ])

  /// Makes the command.
  package init() {}
}
