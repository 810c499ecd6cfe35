import KubernetesCore

// What is sorted when it is made is also sorted when it is read: a record may have been written or edited by others.

extension DecisionInput: Codable {
  private enum CodingKeys: String, CodingKey {
    case now, specReplicas, statusReplicas, workers, readings, completedWork, foreignWriter, olderRival, unseenWorkers
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      now: try container.decode(Timestamp.self, forKey: .now),
      specReplicas: try container.decode(Int.self, forKey: .specReplicas),
      statusReplicas: try container.decode(Int.self, forKey: .statusReplicas),
      workers: try container.decode([WorkerObservation].self, forKey: .workers),
      readings: try container.decode([MetricReading].self, forKey: .readings),
      completedWork: try container.decodeIfPresent(Int64.self, forKey: .completedWork),
      foreignWriter: try container.decodeIfPresent(ForeignWriter.self, forKey: .foreignWriter),
      olderRival: try container.decodeIfPresent(String.self, forKey: .olderRival),
      unseenWorkers: try container.decodeIfPresent(Int.self, forKey: .unseenWorkers) ?? 0)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(now, forKey: .now)
    try container.encode(specReplicas, forKey: .specReplicas)
    try container.encode(statusReplicas, forKey: .statusReplicas)
    try container.encode(workers, forKey: .workers)
    try container.encode(readings, forKey: .readings)
    try container.encodeIfPresent(completedWork, forKey: .completedWork)
    try container.encodeIfPresent(foreignWriter, forKey: .foreignWriter)
    try container.encodeIfPresent(olderRival, forKey: .olderRival)
    if unseenWorkers != 0 { try container.encode(unseenWorkers, forKey: .unseenWorkers) }
  }
}

extension WorkerSamples: Codable {
  package init(from decoder: any Decoder) throws {
    self.init(try decoder.singleValueContainer().decode([WorkerSample].self))
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(samples)
  }
}
