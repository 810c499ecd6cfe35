/// The names that embedding uses in objects: the contract of docs/embedding.md.
package enum EmbeddingNames {
  /// On a pod (or its template), as label or annotation: `enabled` asks for the sidecar, `disabled` refuses it.
  package static let embed = "swarmscale.dev/embed"
  /// The value that asks for it.
  package static let enabled = "enabled"
  /// The value that refuses it.
  package static let disabled = "disabled"
  /// Annotation: the app containers that are workers, with commas between them; without it all are.
  package static let containers = "swarmscale.dev/embed-containers"
  /// Annotation: `ignore` when no `envFrom` source sets the variables that embedding adds.
  package static let envFrom = "swarmscale.dev/embed-env-from"
  /// Annotation: the autoscaler of a pod whose owner doesn't tell.
  package static let autoscaler = "swarmscale.dev/autoscaler"
  /// Annotation that embedding leaves: what was embedded.
  package static let embedded = "swarmscale.dev/embedded"
  /// Annotation that embedding leaves: what was decided and may surprise.
  package static let notes = "swarmscale.dev/embed-notes"
  /// Annotation that embedding leaves: the authorities of the coordinator's certificate, which the pod sees as a file.
  package static let authority = "swarmscale.dev/ca-bundle"

  /// The container.
  package static let sidecar = "swarmscale-sidecar"
  /// The volume with token and authorities.
  package static let volume = "swarmscale"
  /// Where it is mounted: where the sidecar and the library look (`SwarmEnvironment.defaultTokenFile`).
  package static let mountPath = "/var/run/secrets/swarmscale.dev"
  /// The file of the token in it.
  package static let tokenFile = "token"
  /// The file of the authorities in it.
  package static let authorityFile = "ca.crt"

  /// Where Claude's clients find the API.
  package static let baseURL = "ANTHROPIC_BASE_URL"
  /// Makes Claude Code try on instead of giving up.
  package static let watchdog = "CLAUDE_CODE_RETRY_WATCHDOG"
}
