package validate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var valuePath = field.NewPath("value")

// highestPriority is the most that those who are not the system may have.
const highestPriority = 1_000_000_000

// The classes of the system, with their priorities.
var systemPriorities = map[string]int32{ // never changed
	"system-cluster-critical": 2 * highestPriority,
	"system-node-critical":    2*highestPriority + 1000,
}

var priorityClassRules = &rules{ // never changed
	create: rule(priorityClass),
	update: change(func(e *problems, p, old *schedulingv1.PriorityClass) {
		if p.Value != old.Value {
			e.forbidden(valuePath, "may not be changed in an update.")
		}
		e.immutable(nil, "preemptionPolicy", p.PreemptionPolicy, sameSpec(p.PreemptionPolicy, old.PreemptionPolicy))
	}),
}

func priorityClass(e *problems, p *schedulingv1.PriorityClass) {
	if strings.HasPrefix(p.Name, "system-") {
		value, known := systemPriorities[p.Name]
		reason := ""
		switch {
		case !known:
			reason = fmt.Sprintf("%v is not a known system priority class", p.Name)
		case p.Value != value:
			reason = fmt.Sprintf("value of %v PriorityClass must be %v", p.Name, value)
		case p.GlobalDefault:
			reason = fmt.Sprintf("globalDefault of %v PriorityClass must be %v", p.Name, false)
		}
		if reason != "" {
			e.forbidden(metadata.Child("name"), "priority class names with 'system-' prefix are reserved for system use only. error: "+reason)
		}
	} else if p.Value > highestPriority {
		e.forbidden(valuePath, fmt.Sprintf("maximum allowed value of a user defined priority is %v", highestPriority))
	}
	if p.PreemptionPolicy != nil {
		givenOneOf(e, nil, "preemptionPolicy", *p.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
}
