extension MockClaudeEngine {
  /// The limits of one pool as the Rate Limits API lists them.
  struct RateLimitRow {
    struct Limit {
      var dimension: Dimension
      var value: Int64
      /// Only for a workspace.
      var organizationValue: Int64?
    }

    var group: ModelGroup
    var limits: [Limit]
  }

  /// The limits of an organisation, or the overrides of a workspace, with what it inherits if asked for.
  mutating func rateLimits(organization: String, workspace: String?, inherited: Bool) -> [RateLimitRow] {
    groups.indices.compactMap { group in
      let pool = pool(organization: organization, group: group)
      let limits = Dimension.allCases.compactMap { dimension -> RateLimitRow.Limit? in
        let whole = pools[pool].buckets[dimension].map { buckets[$0].limit }
        guard let workspace else {
          return whole.map { RateLimitRow.Limit(dimension: dimension, value: $0, organizationValue: nil) }
        }
        let own = pools[pool].workspaceBuckets.first { $0.workspace == workspace && $0.dimension == dimension }
        guard let value = own.map({ buckets[$0.bucket].limit }) ?? (inherited ? whole : nil) else { return nil }
        return RateLimitRow.Limit(dimension: dimension, value: value, organizationValue: whole)
      }
      return limits.isEmpty ? nil : RateLimitRow(group: groups[group], limits: limits)
    }
  }
}
