// ScalingDecision
