package import KubernetesCore

/// Tasks and queues as lines for people.
package enum TaskTexts {
  /// A row for each queue.
  package static func queues(_ answer: JSONValue) -> [String] {
    let names = ["pending", "leased", "done", "dead", "oldestSeconds"]
    let rows = (answer["queues"]?.arrayValue ?? []).map { queue in
      [text(queue["queue"])] + names.map { text(queue[$0]) } + [text(queue["durability"])]
    }
    return table([["QUEUE", "PENDING", "LEASED", "DONE", "DEAD", "OLDEST", "DURABILITY"]] + rows)
  }

  /// A row for each task.
  package static func tasks(_ answer: JSONValue) -> [String] {
    let rows = (answer["tasks"]?.arrayValue ?? []).map { task in
      [
        text(task["id"]), text(task["state"]), text(task["lane"]), text(task["attempts"]), text(task["key"]),
        text(task["worker"] ?? task["reason"] ?? task["lastFailure"]),
      ]
    }
    return table([["TASK", "STATE", "LANE", "ATTEMPTS", "KEY", "WORKER OR REASON"]] + rows)
  }

  /// All that is known of a task, a line each.
  package static func task(_ task: JSONValue) -> [String] {
    (task.objectValue ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key): \(text($0.value))" }
  }

  private static func text(_ value: JSONValue?) -> String {
    guard let value, value != .null else { return "-" }
    let text = value.stringValue ?? String(decoding: value.text, as: UTF8.self)
    // What a worker has written must not move the cursor of whoever reads it.
    return String(
      text.map { $0.isNewline || ($0.unicodeScalars.first?.value ?? 0) < 0x20 || $0 == "\u{7F}" ? " " : $0 })
  }

  /// Columns, each as wide as its widest text, the last as it is.
  static func table(_ rows: [[String]]) -> [String] {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      row.enumerated().map { column, text in
        column == row.count - 1 ? text : text + String(repeating: " ", count: widths[column] - text.count)
      }.joined(separator: "  ")
    }
  }
}
