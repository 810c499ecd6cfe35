/// One event of a watch.
package enum WatchEvent<Object> {
  /// The object came into being, or into the selection.
  case added(Object)
  /// The object changed.
  case modified(Object)
  /// The object is gone, or left the selection; its last state.
  case deleted(Object)
  /// Nothing before this version is missing. `endsInitialEvents`: the initial state is complete (watch-list).
  case bookmark(resourceVersion: String, endsInitialEvents: Bool)
  /// The watch failed; the stream ends.
  case error(APIStatus)

  /// The event with its object transformed.
  package func map<Other>(_ transform: (Object) throws -> Other) rethrows -> WatchEvent<Other> {
    switch self {
    case .added(let object): .added(try transform(object))
    case .modified(let object): .modified(try transform(object))
    case .deleted(let object): .deleted(try transform(object))
    case .bookmark(let version, let ends): .bookmark(resourceVersion: version, endsInitialEvents: ends)
    case .error(let status): .error(status)
    }
  }

  /// The annotation of the bookmark that ends the initial events.
  package static var initialEventsEndAnnotation: String { "k8s.io/initial-events-end" }
}

extension WatchEvent: Sendable where Object: Sendable {}
extension WatchEvent: Equatable where Object: Equatable {}
extension WatchEvent: Hashable where Object: Hashable {}

extension WatchEvent where Object: WatchedObject {
  /// What the watch's state machine needs to know of the event.
  package var progress: WatchProgress {
    switch self {
    case .added(let object), .modified(let object), .deleted(let object):
      .version(object.resourceVersion)
    case .bookmark(let version, _): .version(version)
    case .error(let status): .error(status)
    }
  }
}

private enum WatchEventKeys: String, CodingKey { case type, object }

extension WatchEvent: Decodable where Object: Decodable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: WatchEventKeys.self)
    let type = try container.decode(String.self, forKey: .type)
    switch type {
    case "ADDED": self = .added(try container.decode(Object.self, forKey: .object))
    case "MODIFIED": self = .modified(try container.decode(Object.self, forKey: .object))
    case "DELETED": self = .deleted(try container.decode(Object.self, forKey: .object))
    case "BOOKMARK":
      let metadata = try container.decode(PartialObjectMetadata.self, forKey: .object).metadata
      self = .bookmark(
        resourceVersion: metadata.resourceVersion,
        endsInitialEvents: metadata.annotations[Self.initialEventsEndAnnotation] == "true")
    case "ERROR": self = .error(try container.decode(APIStatus.self, forKey: .object))
    default:
      throw DecodingError.dataCorruptedError(
        forKey: .type, in: container, debugDescription: "\"\(type.prefix(32))\" is not a type of watch event")
    }
  }
}
