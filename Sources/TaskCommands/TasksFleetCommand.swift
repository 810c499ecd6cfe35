import ArgumentParser
import CoordinationAPI
import KubernetesCore
import SwarmOrchestrator

/// `swarmscale tasks fleet`.
struct TasksFleetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fleet",
    abstract: "Show how the workers on NATS are coordinated: tier, leader, cells.",
    discussion: """
      Reads what the fleet has written there, and asks no worker. docs/coordination.md says what tiers and cells are.
      """)

  @Flag(help: "Also a row for each pod.")
  var pods = false

  @Option(name: [.customShort("o"), .long], help: "table or json.")
  var output = TaskOutputFormat.table

  @OptionGroup var server: TaskServerOptions

  func run() async throws {
    try await server.withClient { client in try await lines(client).forEach { print($0) } }
  }

  /// What it prints.
  func lines(_ client: TaskClient) async throws -> [String] {
    guard let plan = try await client.value(of: FleetKeys.plan).flatMap({ PublishedPlan($0) }) else {
      throw TaskCommandError(
        66,
        "there is no fleet here: workers whose SWARMSCALE_TASKS is nats://… form one within seconds (name the same URL "
          + "by --server, with its prefix); those behind an http:// server form none")
    }
    let flow = try await client.value(of: FleetKeys.flow).flatMap { FleetFlow($0) } ?? FleetFlow()
    let view = FleetView(
      status: FleetStatus(plan, flow), plan: plan,
      heartbeats: try await client.values(below: FleetKeys.pods).compactMapValues { PodHeartbeat($0) })
    return output == .json ? [String(decoding: view.json.text, as: UTF8.self)] : view.lines(withPods: pods)
  }
}

/// A fleet as an onlooker sees it: the last plan, and the pods that have given a sign of life lately.
private struct FleetView {
  let status: FleetStatus
  let plan: PublishedPlan
  let heartbeats: [String: PodHeartbeat]

  /// Pods by name, with those of the plan that are silent.
  private var pods: [(name: String, heartbeat: PodHeartbeat?)] {
    Set(heartbeats.keys).union(plan.cells.values.flatMap(\.keys)).sorted().map { ($0, heartbeats[$0]) }
  }

  func lines(withPods: Bool) -> [String] {
    var lines = status.table.split(separator: "\n").map(String.init)
    if heartbeats.isEmpty {
      lines.append("no worker is there now: this is the last plan")
    } else if heartbeats[status.leader] == nil {
      lines.append("the leader is gone: workers go on by this plan, and one of them takes the lead within seconds")
    }
    guard withPods else { return lines }
    let rows = pods.map { row($0.name, $0.heartbeat) }
    return lines + TaskTexts.table([["POD", "CELL", "SLOTS", "BUSY", "QUEUES"]] + rows)
  }

  private func row(_ name: String, _ heartbeat: PodHeartbeat?) -> [String] {
    let cell = plan.cell(of: name).map(String.init) ?? "-"
    guard let heartbeat else { return [name, cell, "silent", "-", "-"] }
    let queues = heartbeat.queues.isEmpty ? "-" : heartbeat.queues.joined(separator: ",")
    return [name, cell, "\(heartbeat.slots)", "\(heartbeat.busy)", queues]
  }

  var json: JSONValue {
    let cells: [JSONValue] = status.cells.map { json($0) }
    let members: [JSONValue] = pods.map { json($0.name, $0.heartbeat) }
    return .object([
      "tier": text(status.tier.name), "epoch": JSONValue(status.epoch), "plan": JSONValue(status.version),
      "leader": text(status.leader), "isLeaderAlive": .bool(heartbeats[status.leader] != nil),
      "agents": number(status.agents), "shards": number(status.shards), "isResharding": .bool(status.isResharding),
      "cells": .array(cells), "pods": .array(members),
    ])
  }

  private func json(_ cell: FleetStatus.Cell) -> JSONValue {
    .object([
      "number": number(cell.number), "head": text(cell.head), "pods": number(cell.pods),
      "agents": number(cell.agents), "shards": number(cell.shards), "budget": number(cell.budget),
      "desiredSlots": number(cell.desiredSlots),
    ])
  }

  private func json(_ name: String, _ heartbeat: PodHeartbeat?) -> JSONValue {
    let queues: [JSONValue] = (heartbeat?.queues ?? []).map { .string($0) }
    return .object([
      "name": text(name), "cell": number(plan.cell(of: name)), "slots": number(heartbeat?.slots),
      "busy": number(heartbeat?.busy), "queues": .array(queues), "isSilent": .bool(heartbeat == nil),
    ])
  }

  private func number(_ value: Int?) -> JSONValue { value.map { .int(Int64($0)) } ?? .null }
  private func text(_ value: String) -> JSONValue { value.isEmpty ? .null : .string(value) }
}

extension TaskClient {
  /// The bytes of a key; nil: there is none, or the server keeps no keys.
  fileprivate func value(of key: String) async throws -> [UInt8]? {
    do {
      return Self.bytes(
        try await ask(.get, "/v1/state/keys/\(key)", query: [APIRequest.QueryItem("encoding", "base64")]))
    } catch let error as TaskCommandError where error.code == 66 { return nil }
  }

  /// The bytes of all keys below a prefix, by what stands behind it.
  fileprivate func values(below prefix: String) async throws -> [String: [UInt8]] {
    var values: [String: [UInt8]] = [:]
    var after: String?
    repeat {
      var query = [APIRequest.QueryItem("prefix", prefix), APIRequest.QueryItem("encoding", "base64")]
      if let after { query.append(APIRequest.QueryItem("after", after)) }
      let page = try await ask(.get, "/v1/state", query: query)
      let entries = page["keys"]?.arrayValue ?? []
      for entry in entries {
        guard let key = entry["key"]?.stringValue else { continue }
        values[String(key.dropFirst(prefix.count))] = Self.bytes(entry)
      }
      after = page["more"] == .bool(true) ? entries.last?["key"]?.stringValue : nil
    } while after != nil
    return values
  }

  private static func bytes(_ entry: JSONValue) -> [UInt8]? {
    entry["valueBase64"]?.stringValue.flatMap { Base64.decode($0) }
  }
}
