// Decoding with defaults: a key that is absent keeps the value that the initialiser gives.

extension MockConfiguration: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case seed, tier, depthSeconds, keys, limits, inputEstimateErrorPercent, bytesPerTokenHundredths,
      minimumCacheableTokens, pace, stream, headers, ramp, spend, cutsStreamsWhenEmpty, faults, foreign,
      oracleSeconds, clock
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    seed = try values.value(.seed, or: seed)
    tier = try values.value(.tier, or: tier)
    depthSeconds = try values.value(.depthSeconds, or: depthSeconds)
    keys = try values.value(.keys, or: keys)
    limits = try values.value(.limits, or: limits)
    inputEstimateErrorPercent = try values.value(.inputEstimateErrorPercent, or: inputEstimateErrorPercent)
    bytesPerTokenHundredths = try values.value(.bytesPerTokenHundredths, or: bytesPerTokenHundredths)
    minimumCacheableTokens = try values.value(.minimumCacheableTokens, or: minimumCacheableTokens)
    pace = try values.value(.pace, or: pace)
    stream = try values.value(.stream, or: stream)
    headers = try values.value(.headers, or: headers)
    ramp = try values.value(.ramp, or: ramp)
    spend = try values.value(.spend, or: spend)
    cutsStreamsWhenEmpty = try values.value(.cutsStreamsWhenEmpty, or: cutsStreamsWhenEmpty)
    faults = try values.value(.faults, or: faults)
    foreign = try values.value(.foreign, or: foreign)
    oracleSeconds = try values.value(.oracleSeconds, or: oracleSeconds)
    clock = try values.value(.clock, or: clock)
  }
}

extension KeyConfiguration: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case key, organization, workspace, kind
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    key = try values.value(.key, or: key)
    organization = try values.value(.organization, or: organization)
    workspace = try values.value(.workspace, or: workspace)
    kind = try values.value(.kind, or: kind)
  }
}

extension Pace: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case timeToFirstToken, jitterPercent, tokensPerSecond, outputMedian, outputSigma, tokensPerDelta
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    timeToFirstToken = try values.value(.timeToFirstToken, or: timeToFirstToken)
    jitterPercent = try values.value(.jitterPercent, or: jitterPercent)
    tokensPerSecond = try values.value(.tokensPerSecond, or: tokensPerSecond)
    outputMedian = try values.value(.outputMedian, or: outputMedian)
    outputSigma = try values.value(.outputSigma, or: outputSigma)
    tokensPerDelta = try values.value(.tokensPerDelta, or: tokensPerDelta)
  }
}

extension StreamStyle: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case inputUsage, messageDeltas, thinkingTokens, silence, pingInterval, unknownEvents, comments,
      carriageReturns, splitBytes, eventsPerWrite, iterations
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    inputUsage = try values.value(.inputUsage, or: inputUsage)
    messageDeltas = try values.value(.messageDeltas, or: messageDeltas)
    thinkingTokens = try values.value(.thinkingTokens, or: thinkingTokens)
    silence = try values.value(.silence, or: silence)
    pingInterval = try values.value(.pingInterval, or: pingInterval)
    unknownEvents = try values.value(.unknownEvents, or: unknownEvents)
    comments = try values.value(.comments, or: comments)
    carriageReturns = try values.value(.carriageReturns, or: carriageReturns)
    splitBytes = try values.value(.splitBytes, or: splitBytes)
    eventsPerWrite = try values.value(.eventsPerWrite, or: eventsPerWrite)
    iterations = try values.value(.iterations, or: iterations)
  }
}

extension HeaderSwitches: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case omitAll, omit, unified, staleSeconds, retryAfterForm, retryAfterOverride
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    omitAll = try values.value(.omitAll, or: omitAll)
    omit = try values.value(.omit, or: omit)
    unified = try values.value(.unified, or: unified)
    staleSeconds = try values.value(.staleSeconds, or: staleSeconds)
    retryAfterForm = try values.value(.retryAfterForm, or: retryAfterForm)
    retryAfterOverride = try values.value(.retryAfterOverride, or: retryAfterOverride)
  }
}

extension RampLimit: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case growthPercent, allowance, retryAfterSeconds
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    growthPercent = try values.value(.growthPercent, or: growthPercent)
    allowance = try values.value(.allowance, or: allowance)
    retryAfterSeconds = try values.value(.retryAfterSeconds, or: retryAfterSeconds)
  }
}

extension SpendLimits: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case organizationCap, ownLimit, workspaceLimit, alreadySpent
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    organizationCap = try values.value(.organizationCap, or: organizationCap)
    ownLimit = try values.value(.ownLimit, or: ownLimit)
    workspaceLimit = try values.value(.workspaceLimit, or: workspaceLimit)
    alreadySpent = try values.value(.alreadySpent, or: alreadySpent)
  }
}

extension ForeignLoad: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case organization, group, percent
  }

  package init(from decoder: any Decoder) throws {
    self.init(percent: 0)
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    organization = try values.value(.organization, or: organization)
    group = try values.value(.group, or: group)
    percent = try values.value(.percent, or: percent)
  }
}

extension ClockSettings: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case speed, dateSkewSeconds, resetSkewSeconds
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    speed = try values.value(.speed, or: speed)
    dateSkewSeconds = try values.value(.dateSkewSeconds, or: dateSkewSeconds)
    resetSkewSeconds = try values.value(.resetSkewSeconds, or: resetSkewSeconds)
  }
}

extension LimitChange: Decodable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case organization, workspace, group, depthSeconds, requests, inputTokens, inputTokensTotal, outputTokens
    case fastInputTokens, fastOutputTokens

    init(_ dimension: Dimension) {
      switch dimension {
      case .requests: self = .requests
      case .inputTokens: self = .inputTokens
      case .inputTokensTotal: self = .inputTokensTotal
      case .outputTokens: self = .outputTokens
      case .fastInputTokens: self = .fastInputTokens
      case .fastOutputTokens: self = .fastOutputTokens
      }
    }
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    try decoder.refuseUnknownKeys(besides: CodingKeys.self)
    let values = try decoder.container(keyedBy: CodingKeys.self)
    organization = try values.decodeIfPresent(String.self, forKey: .organization)
    workspace = try values.decodeIfPresent(String.self, forKey: .workspace)
    group = try values.decodeIfPresent(String.self, forKey: .group)
    depthSeconds = try values.decodeIfPresent(Double.self, forKey: .depthSeconds)
    for dimension in Dimension.allCases {
      limits[dimension] = try values.decodeIfPresent(Int64.self, forKey: CodingKeys(dimension))
    }
  }
}
