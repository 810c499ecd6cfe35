import KubernetesCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The files that arguments name: files, folders with all files of the known endings below, and `-`.
enum ManifestFiles {
  private static let endings: Set<String> = ["yaml", "yml", "json"]

  /// The paths, folders replaced by their files in the order of their names.
  static func expand(_ arguments: [String]) -> [String] {
    arguments.flatMap { argument -> [String] in
      var isFolder = false
      guard argument != "-", FileManager.default.fileExists(atPath: argument, isDirectory: &isFolder), isFolder,
        let names = try? FileManager.default.subpathsOfDirectory(atPath: argument)
      else { return [argument] }
      let base = argument.hasSuffix("/") ? String(argument.dropLast()) : argument
      return names.filter { name in
        let parts = name.split(separator: "/")
        guard let last = parts.last, !parts.contains(where: { $0.hasPrefix(".") }) else { return false }
        return endings.contains(String(last.split(separator: ".").last ?? "")) && last.contains(".")
      }.sorted().map { "\(base)/\($0)" }
    }
  }
}
