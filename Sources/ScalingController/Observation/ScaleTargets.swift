package import KubernetesCore
package import KubernetesRuntime

/// The object that an autoscaler scales, as found on the server.
package struct ScaleTarget: Hashable, Sendable {
  /// Its kind of resource.
  package var resource: GroupVersionResource
  /// Its kind, such as `Deployment`.
  package var kind: String
  /// Namespace and name.
  package var key: ObjectKey
  /// Its scale as last read.
  package var scale: Scale
  /// Its parsed pod selector.
  package var selector: Selector
}

/// Finds targets by kind and reads and writes their scale.
package struct ScaleTargets: Sendable {
  private let client: APIClient
  private let discovery: Discovery
  private let fieldManager: String

  /// Makes a reader and writer; `fieldManager` stands in `managedFields` as our name.
  package init(client: APIClient, discovery: Discovery, fieldManager: String) {
    self.client = client
    self.discovery = discovery
    self.fieldManager = fieldManager
  }

  /// Reads the target that `apiVersion`, `kind` and `name` point to.
  package func read(
    apiVersion: String, kind: String, name: String, namespace: String
  ) async throws(Trouble) -> ScaleTarget {
    let resource = try await discover(apiVersion: apiVersion, kind: kind)
    let key = ObjectKey(namespace: resource.isNamespaced ? namespace : "", name: name)
    let scale = try await readScale(resource.resource, key, kind: kind)
    return ScaleTarget(
      resource: resource.resource, kind: kind, key: key, scale: scale,
      selector: try Self.selector(of: scale, kind: kind, key))
  }

  /// Reads the target's scale anew.
  package func reread(_ target: ScaleTarget) async throws(Trouble) -> ScaleTarget {
    var target = target
    target.scale = try await readScale(target.resource, target.key, kind: target.kind)
    target.selector = try Self.selector(of: target.scale, kind: target.kind, target.key)
    return target
  }

  /// Writes a count, on condition that the target hasn't changed since it was read.
  package func write(_ replicas: Int, to target: ScaleTarget) async throws -> Scale {
    var scale = target.scale
    scale.replicas = Int32(clamping: replicas)
    return try await client.replaceScale(
      of: target.resource, target.key, scale, WriteOptions(fieldManager: fieldManager, priority: .write))
  }

  /// Who owns which of the target's fields; empty when it can't be read.
  package func managedFields(of target: ScaleTarget) async -> [ManagedFieldsEntry] {
    do {
      var request = try APIRequest.get(target.resource, target.key)
      request.headers = [.init("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")]
      return try await client.send(request, as: PartialObjectMetadata.self).metadata.managedFields
    } catch {
      return []
    }
  }

  private func discover(apiVersion: String, kind: String) async throws(Trouble) -> ScalableResource {
    do {
      return try await discovery.scalableResource(apiVersion: apiVersion, kind: kind)
    } catch let failure as DiscoveryFailure {
      let reason = if case .noScale = failure { "NoScaleSubresource" } else { "FailedGetScale" }
      throw Trouble(.ableToScale, reason, failure.description)
    } catch let error as KubernetesError {
      throw Trouble(.ableToScale, "FailedGetScale", "can't find \(kind) (\(apiVersion))", error)
    } catch {
      throw Trouble(.ableToScale, "FailedGetScale", "\(error)", retry: .backOff(after: nil))
    }
  }

  private func readScale(
    _ resource: GroupVersionResource, _ key: ObjectKey, kind: String
  ) async throws(Trouble) -> Scale {
    do {
      return try await client.scale(of: resource, key)
    } catch let error as KubernetesError {
      throw Trouble(.ableToScale, "FailedGetScale", "can't read the scale of \(kind) \(key)", error)
    } catch {
      throw Trouble(.ableToScale, "FailedGetScale", "\(error)", retry: .backOff(after: nil))
    }
  }

  private static func selector(of scale: Scale, kind: String, _ key: ObjectKey) throws(Trouble) -> Selector {
    guard !scale.selector.isEmpty else {
      throw Trouble(
        .scalingActive, "InvalidSelector",
        "the scale of \(kind) \(key) names no pod selector; a custom resource needs labelSelectorPath in its CRD's scale subresource, and its controller must fill that field"
      )
    }
    do {
      return try Selector(scale.selector)
    } catch {
      throw Trouble(.scalingActive, "InvalidSelector", "the scale of \(kind) \(key) has an unusable selector: \(error)")
    }
  }
}
