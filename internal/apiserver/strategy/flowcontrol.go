package strategy

import flowcontrolv1 "k8s.io/api/flowcontrol/v1"

func flowcontrol() map[string]*Strategy {
	return map[string]*Strategy{
		"flowschemas": halves(
			func(s *flowcontrolv1.FlowSchema) *flowcontrolv1.FlowSchemaSpec { return &s.Spec },
			func(s *flowcontrolv1.FlowSchema) *flowcontrolv1.FlowSchemaStatus { return &s.Status },
			true, nil),
		"prioritylevelconfigurations": halves(
			func(c *flowcontrolv1.PriorityLevelConfiguration) *flowcontrolv1.PriorityLevelConfigurationSpec {
				return &c.Spec
			},
			func(c *flowcontrolv1.PriorityLevelConfiguration) *flowcontrolv1.PriorityLevelConfigurationStatus {
				return &c.Status
			}, true, nil),
	}
}
