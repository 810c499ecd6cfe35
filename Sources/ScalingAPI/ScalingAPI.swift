// ScalingAPI
