package import KubernetesCore

extension APIBudget {
  /// One limit of an API that several fleets share.
  package struct Spec: Hashable, Sendable, Codable {
    /// Whose API. Default Anthropic.
    package var provider: Open<APIBudget.Provider>?
    /// The models of one rate-limit group; * stands for any text. Default: all models.
    package var models: [String]?
    /// The limits. What is left out is learned from response headers.
    package var limits: Limits?
    /// The band of the limit in which the fleets together are held. Default 85-95.
    package var target: SwarmAutoscaler.PercentBand?
    /// What is granted above the steady rate.
    package var burst: Burst?
    /// Percent of the limit that is kept for interactive requests. Default 5.
    package var reserve: Int32?
    /// How the fleets share the budget. Fleets not named have weight 1 and priority Normal.
    package var shares: [Share]?
    /// What may be spent. Default: no limit.
    package var spend: Spend?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      provider: Open<APIBudget.Provider>? = nil, models: [String]? = nil, limits: Limits? = nil,
      target: SwarmAutoscaler.PercentBand? = nil, burst: Burst? = nil, reserve: Int32? = nil, shares: [Share]? = nil,
      spend: Spend? = nil
    ) {
      self.provider = provider
      self.models = models
      self.limits = limits
      self.target = target
      self.burst = burst
      self.reserve = reserve
      self.shares = shares
      self.spend = spend
    }
  }

  /// The limits of one rate-limit group.
  package struct Limits: Hashable, Sendable, Codable {
    /// Requests a minute, such as 4000.
    package var requestsPerMinute: Quantity?
    /// Input tokens a minute, such as 2M; reads from the prompt cache don't count.
    package var inputTokensPerMinute: Quantity?
    /// Output tokens a minute, such as 400k.
    package var outputTokensPerMinute: Quantity?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      requestsPerMinute: Quantity? = nil, inputTokensPerMinute: Quantity? = nil, outputTokensPerMinute: Quantity? = nil
    ) {
      self.requestsPerMinute = requestsPerMinute
      self.inputTokensPerMinute = inputTokensPerMinute
      self.outputTokensPerMinute = outputTokensPerMinute
    }
  }

  /// What is granted above the steady rate.
  package struct Burst: Hashable, Sendable, Codable {
    /// The depth of the buckets, in seconds of the steady rate. Default 5.
    package var seconds: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(seconds: Int32? = nil) {
      self.seconds = seconds
    }
  }

  /// One fleet's part of the budget.
  package struct Share: Hashable, Sendable, Codable {
    /// The name of a SwarmAutoscaler in the namespace of the budget.
    package var autoscaler: String?
    /// The part of the budget in proportion to the other fleets' weights. Default 1.
    package var weight: Int32?
    /// Interactive, Normal or Bulk. Default Normal.
    package var priority: Open<APIBudget.Priority>?

    /// Makes a value; what is left out is absent from the JSON.
    package init(autoscaler: String? = nil, weight: Int32? = nil, priority: Open<APIBudget.Priority>? = nil) {
      self.autoscaler = autoscaler
      self.weight = weight
      self.priority = priority
    }
  }

  /// What may be spent, in US dollars.
  package struct Spend: Hashable, Sendable, Codable {
    /// In any hour, such as 50 or "12.50".
    package var hourlyUSD: Quantity?
    /// In any day (UTC), such as 500.
    package var dailyUSD: Quantity?
    /// What models cost, where it isn't the list price or the model is newer than this program; the first that matches counts.
    package var prices: [Price]?

    /// Makes a value; what is left out is absent from the JSON.
    package init(hourlyUSD: Quantity? = nil, dailyUSD: Quantity? = nil, prices: [Price]? = nil) {
      self.hourlyUSD = hourlyUSD
      self.dailyUSD = dailyUSD
      self.prices = prices
    }
  }

  /// What models cost, in US dollars per million tokens.
  package struct Price: Hashable, Sendable, Codable {
    /// The models; * stands for any text, such as "claude-sonnet-*".
    package var model: String?
    /// Input that isn't read from a cache, such as 3.
    package var inputUSD: Quantity?
    /// Output, such as 15.
    package var outputUSD: Quantity?
    /// Writes to the five-minute cache. Default 1.25 times inputUSD.
    package var cacheWriteUSD: Quantity?
    /// Writes to the one-hour cache. Default twice inputUSD.
    package var cacheWriteHourUSD: Quantity?
    /// Reads from the cache. Default a tenth of inputUSD.
    package var cacheReadUSD: Quantity?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      model: String? = nil, inputUSD: Quantity? = nil, outputUSD: Quantity? = nil, cacheWriteUSD: Quantity? = nil,
      cacheWriteHourUSD: Quantity? = nil, cacheReadUSD: Quantity? = nil
    ) {
      self.model = model
      self.inputUSD = inputUSD
      self.outputUSD = outputUSD
      self.cacheWriteUSD = cacheWriteUSD
      self.cacheWriteHourUSD = cacheWriteHourUSD
      self.cacheReadUSD = cacheReadUSD
    }
  }

  /// What the coordinator knows of the budget.
  package struct Status: Hashable, Sendable, Codable {
    /// The generation of the spec that this status is about.
    package var observedGeneration: Int64?
    /// Limit and use of each dimension.
    package var dimensions: [DimensionStatus]?
    /// The offered load of the fullest dimension, in percent of its limit; above 100 requests wait.
    package var pressurePercent: Int32?
    /// How long requests waited for their grant: 95 % waited less, over the last minute.
    package var queueWaitP95Milliseconds: Int64?
    /// Answers 429 and 529 of the last minute by kind.
    package var rejections: Rejections?
    /// What was spent.
    package var spend: SpendStatus?
    /// The pods that draw from the budget.
    package var clients: Int32?
    /// The use of each dimension in one line, such as "requests 41%, input 63%, output 88%".
    package var summary: String?
    /// The state of the budget in standard form.
    package var conditions: [SwarmAutoscaler.Condition]?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      observedGeneration: Int64? = nil, dimensions: [DimensionStatus]? = nil, pressurePercent: Int32? = nil,
      queueWaitP95Milliseconds: Int64? = nil, rejections: Rejections? = nil, spend: SpendStatus? = nil,
      clients: Int32? = nil, summary: String? = nil, conditions: [SwarmAutoscaler.Condition]? = nil
    ) {
      self.observedGeneration = observedGeneration
      self.dimensions = dimensions
      self.pressurePercent = pressurePercent
      self.queueWaitP95Milliseconds = queueWaitP95Milliseconds
      self.rejections = rejections
      self.spend = spend
      self.clients = clients
      self.summary = summary
      self.conditions = conditions
    }
  }

  /// Limit and use of one dimension.
  package struct DimensionStatus: Hashable, Sendable, Codable {
    /// The dimension.
    package var name: Open<APIBudget.Dimension>?
    /// The limit a minute.
    package var limit: Quantity?
    /// Where the limit is known from.
    package var source: Open<APIBudget.LimitSource>?
    /// What was admitted in the last minute.
    package var admitted: Quantity?
    /// What waits for its grant.
    package var waiting: Quantity?
    /// What others use on the same organisation, a minute.
    package var foreign: Quantity?
    /// Admitted and foreign use in percent of the limit.
    package var utilizationPercent: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      name: Open<APIBudget.Dimension>? = nil, limit: Quantity? = nil, source: Open<APIBudget.LimitSource>? = nil,
      admitted: Quantity? = nil, waiting: Quantity? = nil, foreign: Quantity? = nil, utilizationPercent: Int32? = nil
    ) {
      self.name = name
      self.limit = limit
      self.source = source
      self.admitted = admitted
      self.waiting = waiting
      self.foreign = foreign
      self.utilizationPercent = utilizationPercent
    }
  }

  /// Answers of the last minute by kind.
  package struct Rejections: Hashable, Sendable, Codable {
    /// 429 because a rate limit was reached.
    package var rate: Int32?
    /// 429 because use grew too fast.
    package var ramp: Int32?
    /// 429 because a spend limit was reached.
    package var spend: Int32?
    /// 529 and other failures of the server.
    package var overloaded: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(rate: Int32? = nil, ramp: Int32? = nil, spend: Int32? = nil, overloaded: Int32? = nil) {
      self.rate = rate
      self.ramp = ramp
      self.spend = spend
      self.overloaded = overloaded
    }
  }

  /// What was spent, in US dollars.
  package struct SpendStatus: Hashable, Sendable, Codable {
    /// In the last hour, such as "12.34".
    package var lastHourUSD: String?
    /// Since midnight UTC, such as "12.34".
    package var todayUSD: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(lastHourUSD: String? = nil, todayUSD: String? = nil) {
      self.lastHourUSD = lastHourUSD
      self.todayUSD = todayUSD
    }
  }
}
