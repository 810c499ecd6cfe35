import KubernetesClient
import KubernetesCore
import YAML

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One mapping of a kubeconfig file, with the words to say where it stands.
struct YAMLEntry {
  /// What it is and where, such as `user "alice" in /home/a/.kube/config`.
  let place: String
  /// The file that it stands in.
  let file: String
  private let node: YAMLNode

  /// Wraps a mapping; throws when it is something else.
  init(_ node: YAMLNode, place: String, file: String) throws {
    guard node.members != nil else {
      throw misconfigured("\(place) must be a mapping (name: value), but isn't one.\(Self.line(of: node))")
    }
    self.node = node
    self.place = place
    self.file = file
  }

  private static func line(of node: YAMLNode) -> String { " See line \(node.line)." }

  /// The value of `key` when it is there and not null.
  func value(_ key: String) -> YAMLNode? {
    guard let value = node[key], !value.isNull else { return nil }
    return value
  }

  /// The text of `key`; nil when it is missing or empty, as kubectl takes it.
  func text(_ key: String) throws -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.text else { throw wrongKind(key, value, "a text") }
    return text.isEmpty ? nil : text
  }

  /// The truth value of `key`; false when it is missing.
  func flag(_ key: String) throws -> Bool {
    guard let value = value(key) else { return false }
    guard let flag = value.bool else { throw wrongKind(key, value, "true or false") }
    return flag
  }

  /// The texts of the list `key`; none when it is missing.
  func texts(_ key: String) throws -> [String] {
    guard let value = value(key) else { return [] }
    guard let elements = value.elements else { throw wrongKind(key, value, "a list of texts") }
    return try elements.map { item in
      guard let text = item.text else { throw wrongKind(key, item, "a list of texts") }
      return text
    }
  }

  /// The mapping under `key`.
  func entry(_ key: String, place: String? = nil) throws -> YAMLEntry? {
    guard let value = value(key) else { return nil }
    return try YAMLEntry(value, place: place ?? "\(key) of \(self.place)", file: file)
  }

  /// The mappings of the list `key`; none when it is missing.
  func entries(_ key: String) throws -> [YAMLEntry] {
    guard let value = value(key) else { return [] }
    guard let elements = value.elements else { throw wrongKind(key, value, "a list") }
    return try elements.enumerated().map { index, item in
      try YAMLEntry(item, place: "\(key)[\(index)] of \(place)", file: file)
    }
  }

  /// The names and values of the mapping, sorted by name.
  func pairs() -> [(name: String, value: YAMLNode)] {
    (node.members ?? []).map { (name: $0.key, value: $0.value) }.sorted { $0.name < $1.name }
  }

  /// The bytes that `key` holds in base64; nil when it is missing or empty.
  func base64(_ key: String) throws -> [UInt8]? {
    guard let text = try text(key) else { return nil }
    let packed = text.filter { !$0.isWhitespace }
    guard let data = Data(base64Encoded: packed), !data.isEmpty else {
      throw misconfigured(
        "\(key) of \(place) isn't valid base64. Write the whole PEM file as one base64 line (base64 -w0 FILE), "
          + "or name the file in \(key.dropLast("-data".count)) instead.")
    }
    return [UInt8](data)
  }

  /// `path` seen from the folder of the file in which it stands.
  func resolved(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    guard let slash = file.lastIndex(of: "/") else { return path }
    return String(file[...slash]) + path
  }

  private func wrongKind(_ key: String, _ node: YAMLNode, _ expected: String) -> KubernetesError {
    misconfigured("\(key) of \(place) must be \(expected).\(Self.line(of: node))")
  }
}

/// An error about the local configuration.
func misconfigured(_ message: String) -> KubernetesError {
  KubernetesError(.misconfigured, message)
}

/// The values as a list for people, in quotes and sorted.
func quotedList(_ names: some Sequence<String>) -> String {
  let sorted = names.sorted()
  return sorted.isEmpty ? "none" : sorted.map { "\"\($0)\"" }.joined(separator: ", ")
}
