package table

import (
	"cmp"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var flowSchema = byPrecedence(show(
	columns(name,
		text("PriorityLevel", "The priority level of the requests that match."),
		text("MatchingPrecedence", "The lowest of those that match decides."),
		text("DistinguisherMethod", "What tells one flow from another."),
		age,
		text("MissingPL", "Whether there is no such priority level.")),
	func(now time.Time, s *flowcontrolv1.FlowSchema) []any {
		method, missing := none, "?"
		if m := s.Spec.DistinguisherMethod; m != nil {
			method = string(m.Type)
		}
		for _, c := range s.Status.Conditions {
			if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
				missing = string(c.Status)
			}
		}
		return []any{s.Name, s.Spec.PriorityLevelConfiguration.Name, int64(s.Spec.MatchingPrecedence), method, since(now, s.CreationTimestamp), missing}
	},
))

// byPrecedence shows flow schemas in the order in which requests meet them.
func byPrecedence(k kind) kind {
	precedence := func(obj runtime.Object) int32 {
		if s, ok := obj.(*flowcontrolv1.FlowSchema); ok {
			return s.Spec.MatchingPrecedence
		}
		return 0
	}
	k.order = func(a, b runtime.Object) int { return cmp.Compare(precedence(a), precedence(b)) }
	return k
}

var priorityLevelConfiguration = show(
	columns(name,
		text("Type", "Whether the level is limited."),
		text("NominalConcurrencyShares", "The level's share of the requests that run at a time."),
		text("Queues", "How many queues it has."),
		text("HandSize", "How many of them a flow may use."),
		text("QueueLengthLimit", "How many requests wait in one."),
		age),
	func(now time.Time, c *flowcontrolv1.PriorityLevelConfiguration) []any {
		var shares, queues, hand, length any = none, none, none, none
		if l := c.Spec.Limited; l != nil {
			if l.NominalConcurrencyShares != nil {
				shares = int64(*l.NominalConcurrencyShares)
			}
			if q := l.LimitResponse.Queuing; q != nil {
				queues, hand, length = int64(q.Queues), int64(q.HandSize), int64(q.QueueLengthLimit)
			}
		}
		return []any{c.Name, string(c.Spec.Type), shares, queues, hand, length, since(now, c.CreationTimestamp)}
	},
)
