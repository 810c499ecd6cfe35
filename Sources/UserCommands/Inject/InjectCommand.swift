package import ArgumentParser
import KubernetesCore
import WorkerEmbedding

/// `swarmscale inject`: embeds the worker side in manifests, as the webhook does in a cluster.
package struct InjectCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "inject",
    abstract: "Add the sidecar to the pod templates of manifests, as the admission webhook does in a cluster.",
    discussion: """
      Reads YAML or JSON with any number of documents; folders with all .yaml, .yml and .json files below; - for the \
      standard input. Writes all documents to the standard output: Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs, \
      Rollouts and Pods with the sidecar, the others as they are; and what was done to the standard error.

      Documents that aren't touched are kept byte for byte. In others only the lists and fields that change are written anew: \
      comments and formatting elsewhere stay. Documents in flow style (JSON) are written as YAML. What was injected before is brought \
      up to date; with the same settings nothing changes.

      The autoscalers among the documents say which worker belongs to which, and how (spec.embed.mode). The annotation \
      swarmscale.dev/embed: disabled keeps a workload as it is. docs/embedding.md says more.

      Exit codes: 0 done, 1 a file can't be read, 64 wrong usage.

      Examples:
        swarmscale inject -f fleet.yaml | kubectl apply -f -
        kubectl get deployment reviewers -o yaml | swarmscale inject -f - --autoscaler reviewers
      """)

  @Option(
    name: [.customShort("f"), .customLong("filename")], parsing: .upToNextOption,
    help: ArgumentHelp("Files and folders to read; - for the standard input.", valueName: "file"))
  package var files: [String] = []

  @Option(help: ArgumentHelp("Image with swarmscale-sidecar on its PATH.", valueName: "image"))
  package var image = EmbeddingSettings.defaultImage

  @Option(
    help: ArgumentHelp(
      "The coordinator, such as https://swarmscale-coordinator.swarmscale-system.svc:8443. Default: each pod has a budget of its own.",
      valueName: "url"))
  package var coordinator: String?

  @Option(
    help: ArgumentHelp(
      "Authorities of the coordinator's certificate, PEM; they go into an annotation of the pods. Default: the system's.",
      valueName: "file"))
  package var caFile: String?

  @Option(
    help: ArgumentHelp("Autoscaler of the workloads that no autoscaler among the documents scales.", valueName: "name"))
  package var autoscaler: String?

  @Option(
    help: ArgumentHelp(
      "How long a worker may take to finish, in seconds, where no autoscaler among the documents says so.",
      valueName: "seconds"))
  package var drainTimeout: Int64 = 1_800

  @Option(
    help: ArgumentHelp(
      "Version of the cluster: before 1.29 the sidecar is a plain container, then an init container that goes on.",
      valueName: "version"))
  package var kubernetesVersion = "1.29"

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name the files to read with -f FILE.") }
    guard files.count(where: { $0 == "-" }) <= 1 else {
      throw ValidationError("The standard input can be read only once.")
    }
    guard KubernetesVersion(kubernetesVersion) != nil else {
      throw ValidationError("--kubernetes-version \(kubernetesVersion): a version such as 1.29 is needed.")
    }
    guard (0...86_400).contains(drainTimeout) else {
      throw ValidationError("--drain-timeout \(drainTimeout): 0 to 86400 seconds.")
    }
  }

  package func run() throws {
    do throws(KubernetesError) {
      let output = CommandOutput.standard
      var injector = ManifestInjector(try options())
      for path in ManifestFiles.expand(files) {
        try injector.read(try InputFile(path).all(), file: path == "-" ? "stdin" : path)
      }
      var text = injector.inject()
      for remark in injector.remarks { output.remark(remark) }
      // The output adds a newline of its own.
      if text.hasSuffix("\n") { text.removeLast() }
      output.write(text)
    } catch {
      CommandOutput.standard.remark(error.message)
      throw ExitCode.failure
    }
  }

  private func options() throws(KubernetesError) -> ManifestInjector.Options {
    var settings = EmbeddingSettings(image: image, coordinator: coordinator)
    if let caFile { settings.authority = String(decoding: try InputFile(caFile).all(), as: UTF8.self) }
    return ManifestInjector.Options(
      settings: settings, server: KubernetesVersion(kubernetesVersion) ?? .nativeSidecars, autoscaler: autoscaler ?? "",
      drainSeconds: drainTimeout)
  }
}
