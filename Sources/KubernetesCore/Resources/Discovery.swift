/// The groups that a server offers (`/apis`).
package struct APIGroupList: Hashable, Sendable, Codable {
  /// The groups.
  package var groups: [APIGroup]

  /// Makes a list.
  package init(groups: [APIGroup]) { self.groups = groups }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    groups = try container.decode(.groups, default: [])
  }
}

/// One API group and its versions.
package struct APIGroup: Hashable, Sendable, Codable {
  /// One version of a group.
  package struct Version: Hashable, Sendable, Codable {
    /// `group/version`.
    package var groupVersion: String
    /// The version alone.
    package var version: String

    /// Makes a version.
    package init(groupVersion: String, version: String) {
      self.groupVersion = groupVersion
      self.version = version
    }
  }

  /// The group's name.
  package var name: String
  /// The versions that are served.
  package var versions: [Version]
  /// The version that the server prefers.
  package var preferredVersion: Version?

  /// Makes a group.
  package init(name: String, versions: [Version], preferredVersion: Version? = nil) {
    self.name = name
    self.versions = versions
    self.preferredVersion = preferredVersion
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    name = try container.decode(.name, default: "")
    versions = try container.decode(.versions, default: [])
    preferredVersion = try container.decodeOptional(.preferredVersion)
  }
}

/// The kinds of resource of one group and version (`/apis/group/version`).
package struct APIResourceList: Hashable, Sendable, Codable {
  /// One kind of resource, or subresource.
  package struct Resource: Hashable, Sendable, Codable {
    /// The plural name, such as `deployments`, or `deployments/scale` for a subresource.
    package var name: String
    /// The singular name.
    package var singularName: String
    /// Whether objects of the kind live in a namespace.
    package var namespaced: Bool
    /// The kind, such as `Deployment`.
    package var kind: String
    /// The group of the kind, when it is another than the list's: `autoscaling` for scales.
    package var group: String?
    /// The version of the kind, when it is another than the list's.
    package var version: String?
    /// What can be done with it, such as `get` and `watch`.
    package var verbs: [String]

    /// Makes an entry.
    package init(
      name: String, singularName: String = "", namespaced: Bool, kind: String, group: String? = nil,
      version: String? = nil, verbs: [String]
    ) {
      self.name = name
      self.singularName = singularName
      self.namespaced = namespaced
      self.kind = kind
      self.group = group
      self.version = version
      self.verbs = verbs
    }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      name = try container.decode(.name, default: "")
      singularName = try container.decode(.singularName, default: "")
      namespaced = try container.decode(.namespaced, default: false)
      kind = try container.decode(.kind, default: "")
      group = try container.decodeOptional(.group)
      version = try container.decodeOptional(.version)
      verbs = try container.decode(.verbs, default: [])
    }
  }

  /// `group/version` of the list.
  package var groupVersion: String
  /// The kinds of resource and their subresources.
  package var resources: [Resource]

  /// Makes a list.
  package init(groupVersion: String, resources: [Resource]) {
    self.groupVersion = groupVersion
    self.resources = resources
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    groupVersion = try container.decode(.groupVersion, default: "")
    resources = try container.decode(.resources, default: [])
  }

  /// The resource (not a subresource) of a kind.
  package func resource(kind: String) -> Resource? {
    resources.first { $0.kind == kind && !$0.name.utf8.contains(UInt8(ascii: "/")) }
  }
}

/// The version of a server (`/version`).
package struct VersionInfo: Hashable, Sendable, Codable {
  /// The major version, such as `1`.
  package var major: String
  /// The minor version, such as `34`, with a vendor's suffix such as `34+`.
  package var minor: String
  /// The full version, such as `v1.34.1`.
  package var gitVersion: String

  /// Makes a version.
  package init(major: String, minor: String, gitVersion: String) {
    self.major = major
    self.minor = minor
    self.gitVersion = gitVersion
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    major = try container.decode(.major, default: "")
    minor = try container.decode(.minor, default: "")
    gitVersion = try container.decode(.gitVersion, default: "")
  }

  /// The minor version as a number, without a vendor's suffix.
  package var minorNumber: Int? { Int(minor.prefix { $0.isASCII && $0.isNumber }) }
}
