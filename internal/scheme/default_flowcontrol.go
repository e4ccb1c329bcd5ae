package scheme

import flowcontrolv1 "k8s.io/api/flowcontrol/v1"

func defaultFlowSchema(s *flowcontrolv1.FlowSchema) {
	number(&s.Spec.MatchingPrecedence, 1000)
}

func defaultPriorityLevelConfiguration(c *flowcontrolv1.PriorityLevelConfiguration) {
	if e := c.Spec.Exempt; e != nil {
		point(&e.NominalConcurrencyShares, 0)
		point(&e.LendablePercent, 0)
	}
	l := c.Spec.Limited
	if l == nil {
		return
	}
	point(&l.NominalConcurrencyShares, 30)
	point(&l.LendablePercent, 0)
	if q := l.LimitResponse.Queuing; q != nil {
		number(&q.HandSize, 8)
		number(&q.Queues, 64)
		number(&q.QueueLengthLimit, 50)
	}
}
