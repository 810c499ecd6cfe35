import KubernetesCore
package import KubernetesRuntime
import ScalingDecision

/// Carries out what a plan orders of single workers: drain orders go to the coordinator, deletion costs to the pods.
package struct FleetOrderCarrier: Sendable {
  private let orders: any FleetOrders
  private let client: APIClient
  private let fieldManager: String

  /// Makes a carrier that writes as `fieldManager`.
  package init(orders: any FleetOrders, client: APIClient, fieldManager: String) {
    self.orders = orders
    self.client = client
    self.fieldManager = fieldManager
  }

  /// Carries out orders about pods of a namespace; returns once all are. A worker keeps to a drain order for `lifetime`.
  ///
  /// - Throws: `KubernetesError`, when a cost can't be set: a write of the count would remove others than were chosen.
  func carryOut(_ list: [WorkerOrder], namespace: String, lifetime: Duration) async throws(KubernetesError) {
    var costs: [(pod: ObjectKey, cost: Int32)] = []
    for order in list {
      switch order {
      case .drain(let worker):
        await orders.drain(ObjectKey(namespace: namespace, name: worker), timeout: lifetime)
      case .undrain(let worker): await orders.withdrawDrain(ObjectKey(namespace: namespace, name: worker))
      case .setDeletionCost(let worker, let cost):
        costs.append((ObjectKey(namespace: namespace, name: worker), cost))
      }
    }
    let failures = await withTaskGroup(of: KubernetesError?.self) { group in
      for (pod, cost) in costs { group.addTask { await set(cost, on: pod) } }
      var failures: [KubernetesError] = []
      for await failure in group { if let failure { failures.append(failure) } }
      return failures
    }
    if let failure = failures.first { throw failure }
  }

  private func set(_ cost: Int32, on pod: ObjectKey) async -> KubernetesError? {
    do {
      let patch = JSONValue.object([
        "metadata": .object(["annotations": .object([Pod.deletionCostAnnotation: .string(String(cost))])])
      ])
      let request = try APIRequest.patch(
        Pod.resource, pod, nil, .merge(try KubernetesJSON.encode(patch)), WriteOptions(fieldManager: fieldManager))
      _ = try await client.raw(request)
      return nil
    } catch let error as KubernetesError {
      // A pod that is gone needs no cost.
      return error.code == .notFound ? nil : error
    } catch {
      return KubernetesError(.invalid, "\(error)")
    }
  }
}
