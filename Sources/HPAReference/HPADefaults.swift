/// The defaults that the API server fills into a HorizontalPodAutoscaler.
///
/// Source: `pkg/apis/autoscaling/v2/defaults.go`.
package enum HPADefaults {
  /// The CPU target in percent of a spec without metrics (`autoscaling.DefaultCPUUtilization`).
  package static let cpuUtilization: Int32 = 80

  /// The rules for growing where a behavior says nothing (`defaultHPAScaleUpRules`).
  package static let scaleUpRules = HPAScalingRules(
    stabilizationWindowSeconds: 0, selectPolicy: .max,
    policies: [
      HPAScalingPolicy(type: .pods, value: 4, periodSeconds: 15),
      HPAScalingPolicy(type: .percent, value: 100, periodSeconds: 15),
    ])

  /// The rules for shrinking where a behavior says nothing (`defaultHPAScaleDownRules`).
  ///
  /// The window stays unset: the controller's `--horizontal-pod-autoscaler-downscale-stabilization` decides later.
  package static let scaleDownRules = HPAScalingRules(
    selectPolicy: .max, policies: [HPAScalingPolicy(type: .percent, value: 100, periodSeconds: 15)])

  /// Gives `spec` with its defaults filled in (`SetDefaults_HorizontalPodAutoscaler`).
  package static func applied(to spec: HPASpec) -> HPASpec {
    var spec = spec
    spec.minReplicas = spec.minReplicas ?? 1
    if spec.metrics?.isEmpty ?? true {
      let target = HPAMetricTarget(type: .utilization, averageUtilization: cpuUtilization)
      spec.metrics = [HPAMetricSpec(type: .resource, resource: HPAResourceSource(name: "cpu", target: target))]
    }
    if let behavior = spec.behavior {
      spec.behavior = HPABehaviorSpec(
        scaleUp: filled(behavior.scaleUp, from: scaleUpRules),
        scaleDown: filled(behavior.scaleDown, from: scaleDownRules))
    }
    return spec
  }

  /// Fills each unset field of `rules` from `defaults` (`copyHPAScalingRules`); an empty list of policies is set.
  private static func filled(_ rules: HPAScalingRules?, from defaults: HPAScalingRules) -> HPAScalingRules {
    HPAScalingRules(
      stabilizationWindowSeconds: rules?.stabilizationWindowSeconds ?? defaults.stabilizationWindowSeconds,
      selectPolicy: rules?.selectPolicy ?? defaults.selectPolicy,
      policies: rules?.policies ?? defaults.policies,
      tolerance: rules?.tolerance ?? defaults.tolerance)
  }
}
