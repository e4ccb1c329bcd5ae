package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
)

// systemPriorities are the classes that every cluster has. They hold even
// before their objects exist.
var systemPriorities = map[string]int32{ // never changed
	"system-cluster-critical": 2000000000,
	"system-node-critical":    2000001000,
}

// Priority resolves a pod's priority class to a number, and lets at most one
// class be the default.
type Priority struct{ objects Objects }

// Name implements Plugin.
func (*Priority) Name() string { return "Priority" }

// Admit implements Mutator.
func (p *Priority) Admit(_ context.Context, a *Attributes) error {
	pod := podOf(a, Create, Update)
	if pod == nil {
		return nil
	}
	if a.Operation == Update {
		// Clients of old leave out what they do not know; it cannot change.
		if old, ok := a.Old.(*corev1.Pod); ok {
			if pod.Spec.Priority == nil {
				pod.Spec.Priority = old.Spec.Priority
			}
			if pod.Spec.PreemptionPolicy == nil {
				pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
			}
		}
		return nil
	}
	value, policy := int32(0), corev1.PreemptLowerPriority
	switch name := pod.Spec.PriorityClassName; name {
	case "":
		if c := p.byDefault(); c != nil {
			pod.Spec.PriorityClassName = c.Name
			value, policy = c.Value, policyOf(c)
		}
	default:
		if c, ok := p.objects.Object(priorityClasses, "", name).(*schedulingv1.PriorityClass); ok {
			value, policy = c.Value, policyOf(c)
		} else if system, ok := systemPriorities[name]; ok {
			value = system
		} else {
			return forbidden(a, "no PriorityClass with name %v was found", name)
		}
	}
	if pod.Spec.Priority != nil && *pod.Spec.Priority != value {
		return forbidden(a, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *pod.Spec.Priority, value)
	}
	if pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy != policy {
		return forbidden(a, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *pod.Spec.PreemptionPolicy, policy)
	}
	pod.Spec.Priority, pod.Spec.PreemptionPolicy = &value, &policy
	return nil
}

// byDefault returns the class of pods that name none. Of several, which only
// an older server can have let in, the lowest counts.
func (p *Priority) byDefault() *schedulingv1.PriorityClass {
	var found *schedulingv1.PriorityClass
	for _, o := range p.objects.Objects(priorityClasses, "") {
		if c, ok := o.(*schedulingv1.PriorityClass); ok && c.GlobalDefault && (found == nil || c.Value < found.Value) {
			found = c
		}
	}
	return found
}

func policyOf(c *schedulingv1.PriorityClass) corev1.PreemptionPolicy {
	if c.PreemptionPolicy != nil {
		return *c.PreemptionPolicy
	}
	return corev1.PreemptLowerPriority
}

// Validate implements Validator.
func (p *Priority) Validate(_ context.Context, a *Attributes) error {
	if a.Resource.GroupResource() != priorityClasses || a.Subresource != "" || a.Operation != Create && a.Operation != Update {
		return nil
	}
	c, ok := a.Object.(*schedulingv1.PriorityClass)
	if !ok || !c.GlobalDefault {
		return nil
	}
	if d := p.byDefault(); d != nil && d.Name != c.Name {
		return forbidden(a, "PriorityClass %v is already marked as default. Only one default can exist", d.Name)
	}
	return nil
}
