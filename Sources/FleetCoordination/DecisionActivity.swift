import ScalingDecision

/// What decisions call a worker's activity. The protocol to workers has a type of the same name, and the module's own
/// name can't tell them apart, since it is a type's as well.
typealias DecisionActivity = WorkerActivity
