package kubelet

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"clipper/internal/kubelet/lifecycle"
)

// statusPatch returns the strategic merge patch that makes what the node
// decides of the old status like the new one, or nil if it is. The uid in it
// makes the API refuse it for another pod of the same name.
func statusPatch(uid types.UID, old, new *v1.PodStatus) ([]byte, error) {
	fields := map[string]any{}
	text := func(name, a, b string) {
		switch {
		case a == b:
		case b == "":
			fields[name] = nil
		default:
			fields[name] = b
		}
	}
	value := func(name string, a, b any, empty bool) {
		switch {
		case apiequality.Semantic.DeepEqual(a, b):
		case empty:
			fields[name] = nil
		default:
			fields[name] = b
		}
	}
	text("phase", string(old.Phase), string(new.Phase))
	text("reason", old.Reason, new.Reason)
	text("message", old.Message, new.Message)
	text("hostIP", old.HostIP, new.HostIP)
	text("podIP", old.PodIP, new.PodIP)
	text("qosClass", string(old.QOSClass), string(new.QOSClass))
	if old.ObservedGeneration != new.ObservedGeneration {
		fields["observedGeneration"] = new.ObservedGeneration
	}
	value("startTime", old.StartTime, new.StartTime, new.StartTime == nil)
	value("initContainerStatuses", old.InitContainerStatuses, new.InitContainerStatuses, len(new.InitContainerStatuses) == 0)
	value("containerStatuses", old.ContainerStatuses, new.ContainerStatuses, len(new.ContainerStatuses) == 0)
	value("ephemeralContainerStatuses", old.EphemeralContainerStatuses, new.EphemeralContainerStatuses, len(new.EphemeralContainerStatuses) == 0)

	// Lists that merge by key are replaced as a whole.
	replace := map[string]string{"$patch": "replace"}
	if !apiequality.Semantic.DeepEqual(old.HostIPs, new.HostIPs) {
		list := []any{replace}
		for _, ip := range new.HostIPs {
			list = append(list, ip)
		}
		fields["hostIPs"] = list
	}
	if !apiequality.Semantic.DeepEqual(old.PodIPs, new.PodIPs) {
		list := []any{replace}
		for _, ip := range new.PodIPs {
			list = append(list, ip)
		}
		fields["podIPs"] = list
	}
	// Conditions merge by type and by field: those of others stay untouched, and
	// what a condition no longer has must be taken away by name.
	var conditions []any
	for i := range new.Conditions {
		c := &new.Conditions[i]
		was := condition(old.Conditions, c.Type)
		if !lifecycle.Owned(c.Type) || was != nil && was.Status == c.Status && was.Reason == c.Reason &&
			was.Message == c.Message && was.ObservedGeneration == c.ObservedGeneration {
			continue
		}
		m := map[string]any{"type": c.Type, "status": c.Status, "lastTransitionTime": c.LastTransitionTime}
		if c.ObservedGeneration != 0 {
			m["observedGeneration"] = c.ObservedGeneration
		}
		for name, v := range map[string][2]string{"reason": {reasonOf(was), c.Reason}, "message": {messageOf(was), c.Message}} {
			switch {
			case v[1] != "":
				m[name] = v[1]
			case v[0] != "":
				m[name] = nil
			}
		}
		conditions = append(conditions, m)
	}
	for i := range old.Conditions {
		if t := old.Conditions[i].Type; lifecycle.Passing(t) && condition(new.Conditions, t) == nil {
			conditions = append(conditions, map[string]any{"$patch": "delete", "type": t})
		}
	}
	if len(conditions) > 0 {
		fields["conditions"] = conditions
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status":   fields,
	})
}

func condition(list []v1.PodCondition, t v1.PodConditionType) *v1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}

func reasonOf(c *v1.PodCondition) string {
	if c == nil {
		return ""
	}
	return c.Reason
}

func messageOf(c *v1.PodCondition) string {
	if c == nil {
		return ""
	}
	return c.Message
}
