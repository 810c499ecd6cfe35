extension APIBudget.Spec {
  /// The fields of a Spec, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("provider", .string),
    FieldShape("models", .list(.string)),
    FieldShape("limits", .object(APIBudget.Limits.shape)),
    FieldShape("target", .object(SwarmAutoscaler.PercentBand.shape)),
    FieldShape("burst", .object(APIBudget.Burst.shape)),
    FieldShape("reserve", .int32),
    FieldShape("shares", .list(.object(APIBudget.Share.shape))),
    FieldShape("spend", .object(APIBudget.Spend.shape)),
  ]
}

extension APIBudget.Limits {
  /// The fields of a Limits, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("requestsPerMinute", .quantity),
    FieldShape("inputTokensPerMinute", .quantity),
    FieldShape("outputTokensPerMinute", .quantity),
  ]
}

extension APIBudget.Burst {
  /// The fields of a Burst, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("seconds", .int32)
  ]
}

extension APIBudget.Share {
  /// The fields of a Share, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("autoscaler", .string),
    FieldShape("weight", .int32),
    FieldShape("priority", .string),
  ]
}

extension APIBudget.Spend {
  /// The fields of a Spend, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("hourlyUSD", .quantity),
    FieldShape("dailyUSD", .quantity),
    FieldShape("prices", .list(.object(APIBudget.Price.shape))),
  ]
}

extension APIBudget.Price {
  /// The fields of a Price, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("model", .string),
    FieldShape("inputUSD", .quantity),
    FieldShape("outputUSD", .quantity),
    FieldShape("cacheWriteUSD", .quantity),
    FieldShape("cacheWriteHourUSD", .quantity),
    FieldShape("cacheReadUSD", .quantity),
  ]
}
