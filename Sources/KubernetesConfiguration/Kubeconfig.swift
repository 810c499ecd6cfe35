import KubernetesClient
import KubernetesCore
import YAML

/// One or several kubeconfig files merged as kubectl merges them: the first file that names a thing wins.
struct Kubeconfig {
  /// The kinds of named entries.
  enum Kind: String {
    case cluster, context, user
  }

  /// The files that were there, in order.
  private(set) var files: [String] = []
  /// The current context and the file that chose it.
  private(set) var currentContext: (name: String, file: String)?
  private var entries: [Kind: [String: YAMLEntry]] = [.cluster: [:], .context: [:], .user: [:]]

  /// Reads `paths`; with `ignoresMissing` files that aren't there are passed over.
  init(paths: [String], ignoresMissing: Bool) throws {
    for path in paths {
      let bytes: [UInt8]
      do {
        bytes = try WatchedFile.read(path: path, purpose: "the kubeconfig")
      } catch {
        if ignoresMissing, !WatchedFile.exists(path: path) { continue }
        throw error
      }
      try add(String(decoding: bytes, as: UTF8.self), file: path)
      files.append(path)
    }
  }

  private mutating func add(_ text: String, file: String) throws {
    guard let node = try Self.compose(text, file: file), !node.isNull else { return }
    let root = try YAMLEntry(node, place: file, file: file)
    if currentContext == nil, let name = try root.text("current-context") { currentContext = (name, file) }
    for kind in [Kind.cluster, .context, .user] {
      for item in try root.entries(kind.rawValue + "s") {
        guard let name = try item.text("name") else { throw misconfigured("\(item.place) has no name. Give it one.") }
        let place = "\(kind.rawValue) \"\(name)\" in \(file)"
        // An entry without content is legal: a user without credentials.
        let entry =
          try item.entry(kind.rawValue, place: place)
          ?? YAMLEntry(
            YAMLNode(.mapping([]), line: 1), place: place, file: file)
        if entries[kind]?[name] == nil { entries[kind]?[name] = entry }
      }
    }
  }

  /// Parses `text`; the error names the place but never quotes the file, which may hold secrets.
  private static func compose(_ text: String, file: String) throws -> YAMLNode? {
    do throws(YAMLError) {
      return try YAMLParser.document(of: text)
    } catch {
      throw misconfigured("The kubeconfig \(file) isn't valid YAML: \(error). Correct the file.")
    }
  }

  /// The names of all entries of `kind`.
  func names(_ kind: Kind) -> [String] { (entries[kind] ?? [:]).keys.sorted() }

  /// The entry `name`; `wantedBy` says who names it.
  func entry(_ kind: Kind, _ name: String, wantedBy: String) throws -> YAMLEntry {
    guard let entry = entries[kind]?[name] else {
      throw misconfigured(
        "\(wantedBy) names the \(kind.rawValue) \"\(name)\", which isn't in \(files.joined(separator: ", ")). "
          + "Known \(kind.rawValue)s: \(quotedList(names(kind))).")
    }
    return entry
  }
}
