import KubernetesCore
import ScalingDecision
import ScalingObservation

// The page's JSON. Moments are whole seconds since the epoch unless a name says otherwise; what isn't known is null.
// docs/page.md describes it.

extension FleetEntry {
  /// Writes the present of a fleet.
  func write(to json: inout JSONText, decisionID: (UInt64) -> String) {
    json.object { json in
      json.member("namespace", key.namespace)
      json.member("name", key.name)
      json.member("target", target)
      json.member("at", last.at)
      json.member("current", last.current.value)
      json.member("ready", last.ready.value)
      json.member("desired", last.desired.value)
      json.member("demand", last.demand.value)
      json.member("allowed", last.allowed.value)
      json.member("inFlight", last.inFlight.value)
      json.member("min", minimum.value)
      json.member("max", maximum.value)
      json.member("step", step?.rawValue)
      json.member("limited", step?.limits ?? false)
      json.member("dryRun", isDryRun)
      json.member("troubled", isTroubled)
      json.member("removed", removed)
      json.member("removedBusy", removedBusy)
      json.member("lostWork", lostWork)
      json.member("decision", decision == 0 ? nil : decisionID(decision))
    }
  }

  /// Writes the history, column by column.
  func writePoints(to json: inout JSONText) {
    let columns: [(name: String, value: (FleetPoint) -> CompactCount)] = [
      ("current", \.current), ("ready", \.ready), ("desired", \.desired), ("demand", \.demand),
      ("allowed", \.allowed), ("inFlight", \.inFlight),
    ]
    json.write(series.points, columns)
  }
}

extension BudgetEntry {
  /// Writes the present of a budget.
  func write(to json: inout JSONText, withPoints: Bool) {
    json.object { json in
      json.member("namespace", sample.key.namespace)
      json.member("name", sample.key.name)
      json.member("at", at)
      json.member("dimensions", array: { json in for dimension in sample.dimensions { dimension.write(to: &json) } })
      json.member("waitP95Milliseconds", sample.waitP95Milliseconds)
      json.member("waiting", sample.waiting)
      json.member("rejectedForRate", sample.rejectedForRate)
      json.member("rejectedForRamp", sample.rejectedForRamp)
      json.member("overloaded", sample.overloaded)
      json.member("spentTodayMicroUSD", sample.spentToday)
      json.member("dailyLimitMicroUSD", sample.dailyLimit)
      json.member("clients", sample.clients)
      json.member("learning", sample.isLearning)
      json.member("standing", sample.standing)
      guard withPoints else { return }
      json.name("points")
      let columns: [(name: String, value: (BudgetPoint) -> CompactCount)] = [
        ("requests", \.requests), ("inputTokens", \.inputTokens), ("inputTokensTotal", \.inputTokensTotal),
        ("outputTokens", \.outputTokens), ("rejected", \.rejected), ("waitCentiseconds", \.wait),
        ("waiting", \.waiting),
      ]
      json.write(series.points, columns)
    }
  }
}

extension BudgetSample.Dimension {
  fileprivate func write(to json: inout JSONText) {
    json.object { json in
      json.member("name", name.rawValue)
      json.member("limit", limit)
      json.member("admitted", admitted)
      json.member("waiting", waiting)
      json.member("foreign", foreign)
      json.member("utilizationPermille", utilization)
      json.member("lowerPercent", lowerPercent)
      json.member("upperPercent", upperPercent)
      json.member("source", source)
    }
  }
}

extension DecisionEntry {
  /// Writes the entry as it stands in lists.
  func writeMembers(to json: inout JSONText, decisionID: (UInt64) -> String) {
    json.member("id", decisionID(number))
    json.member("atMilliseconds", at.milliseconds)
    json.member("namespace", fleet.namespace)
    json.member("name", fleet.name)
    json.member("words", words)
    json.member("current", current)
    json.member("desired", desired)
    json.member("written", written)
    json.member("step", step?.rawValue)
    json.member("limited", step?.limits ?? false)
    json.member("dryRun", isDryRun)
    json.member("trouble", step == nil)
  }

  /// Writes everything: the steps in words, and the record as the decision log has it.
  func writeFull(to json: inout JSONText, decisionID: (UInt64) -> String) {
    json.object { json in
      writeMembers(to: &json, decisionID: decisionID)
      json.member("recordIs", record.isEmpty ? "gone" : isAbridged ? "abridged" : "whole")
      json.member("steps", array: { json in writeSteps(to: &json) })
      json.name("record")
      // Its end is the newline of the log.
      if record.isEmpty { json.null() } else { json.raw(record.dropLast()) }
    }
  }

  private func writeSteps(to json: inout JSONText) {
    guard !record.isEmpty else { return }
    do throws(KubernetesError) {
      for step in DecisionSteps(try DecisionRecord(line: record).plan).steps {
        json.object { json in
          json.member("key", step.key.rawValue)
          json.member("title", step.key.title)
          json.member("binding", step.isBinding)
          json.member("lines", array: { json in for line in step.lines where !line.isEmpty { json.string(line) } })
        }
      }
    } catch {
      // What this program wrote it can read; the words of the entry stand without the steps.
      return
    }
  }
}

extension JSONText {
  /// Writes points as one object of columns.
  fileprivate mutating func write<Point: SeriesPoint>(
    _ points: [Point], _ columns: [(name: String, value: (Point) -> CompactCount)]
  ) {
    object { json in
      json.member("at", array: { json in for point in points { json.number(point.at) } })
      for column in columns {
        json.member(
          column.name,
          array: { json in
            for point in points {
              if let value = column.value(point).value { json.number(value) } else { json.null() }
            }
          })
      }
    }
  }

  /// Writes the workers of a fleet: those that matter most first, at most `count` of them, and their sums.
  mutating func write(_ report: FleetActivityReport?, count: Int) {
    guard let report else { return null() }
    let workers = report.workers.map { WorkerRow(name: $0.key, worker: $0.value) }.sorted()
    object { json in
      json.member("total", workers.count)
      json.member("slots", workers.reduce(0) { $0 + $1.activity.slots })
      json.member("inFlight", workers.reduce(0) { $0 + $1.activity.inFlight })
      json.member("busy", workers.count { $0.activity.isBusy })
      json.member("draining", workers.count { $0.drainState != "none" })
      json.member("queued", report.backlog?.queued)
      json.member("list", array: { json in for worker in workers.prefix(count) { worker.write(to: &json) } })
    }
  }
}

/// A row of the workers' table.
private struct WorkerRow: Comparable {
  var name: String
  var worker: FleetActivityReport.Worker

  var activity: WorkerActivity { worker.activity }

  var drainState: String {
    switch activity.drain {
    case .none: "none"
    case .ordered: "ordered"
    case .acknowledged: "acknowledged"
    }
  }

  private var drainSince: Timestamp? {
    switch activity.drain {
    case .none: nil
    case .ordered(let since), .acknowledged(let since): since
    }
  }

  /// Draining workers first, then those with the oldest work, then by name.
  private var rank: (Int, Int64, String) {
    (drainState == "none" ? 1 : 0, activity.oldestWorkAt?.nanosecondsSinceEpoch ?? .max, name)
  }

  static func < (lhs: WorkerRow, rhs: WorkerRow) -> Bool { lhs.rank < rhs.rank }
  static func == (lhs: WorkerRow, rhs: WorkerRow) -> Bool { lhs.rank == rhs.rank }

  func write(to json: inout JSONText) {
    json.object { json in
      json.member("name", name)
      json.member("slots", activity.slots)
      json.member("inFlight", activity.inFlight)
      json.member("oldestWorkAt", activity.oldestWorkAt?.secondsSinceEpoch)
      json.member("waitingForAPI", activity.isWaitingForAPI)
      json.member("drain", drainState)
      json.member("drainSince", drainSince?.secondsSinceEpoch)
      json.member("reportedAt", worker.at.secondsSinceEpoch)
    }
  }
}
