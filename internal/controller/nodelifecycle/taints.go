package nodelifecycle

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clipper/internal/controller"
)

// byCondition are the NoSchedule taints that conditions put on a node.
func byCondition() []struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	taint     string
} {
	return []struct {
		condition corev1.NodeConditionType
		status    corev1.ConditionStatus
		taint     string
	}{
		{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
		{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
		{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
		{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
		{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
		{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
	}
}

// ours tells whether this controller alone decides about a taint.
func ours(t corev1.Taint) bool {
	switch t.Key {
	case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	case corev1.TaintNodeMemoryPressure, corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure,
		corev1.TaintNodeNetworkUnavailable, corev1.TaintNodeUnschedulable:
		return t.Effect == corev1.TaintEffectNoSchedule
	}
	return false
}

// emptied returns the key of the NoExecute taint for a node's readiness, or "".
func emptied(n *corev1.Node) string {
	switch readiness(n) {
	case corev1.ConditionFalse:
		return corev1.TaintNodeNotReady
	case corev1.ConditionUnknown:
		return corev1.TaintNodeUnreachable
	}
	return ""
}

// taints returns the taints the node should have; execute is the key of its
// NoExecute taint, "" if it is to have none. Those that stay keep their time.
func taints(n *corev1.Node, execute string, now metav1.Time) (out []corev1.Taint, changed bool) {
	var want []corev1.Taint
	add := func(key string, effect corev1.TaintEffect) {
		want = append(want, corev1.Taint{Key: key, Effect: effect, TimeAdded: &now})
	}
	for _, row := range byCondition() {
		if c := controller.NodeCondition(n, row.condition); c != nil && c.Status == row.status {
			add(row.taint, corev1.TaintEffectNoSchedule)
		} else if c == nil && row.taint == corev1.TaintNodeNotReady {
			add(row.taint, corev1.TaintEffectNoSchedule) // it has not said yet that it is ready
		}
	}
	if n.Spec.Unschedulable {
		add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	}
	if execute != "" {
		add(execute, corev1.TaintEffectNoExecute)
	}
	for _, t := range n.Spec.Taints {
		if !ours(t) {
			out = append(out, t)
			continue
		}
		i := slices.IndexFunc(want, func(w corev1.Taint) bool { return w.Key == t.Key && w.Effect == t.Effect })
		if i < 0 {
			changed = true
			continue
		}
		out = append(out, t)
		want = slices.Delete(want, i, i+1)
	}
	return append(out, want...), changed || len(want) > 0
}

// executing returns the node's NoExecute taints.
func executing(n *corev1.Node) (out []corev1.Taint) {
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			out = append(out, t)
		}
	}
	return out
}

// taint brings the node's taints in line with its conditions.
func (n *Controller) taint(ctx context.Context, node *corev1.Node) (*corev1.Node, error) {
	now := n.Clock.Now()
	execute := emptied(node)
	if execute != "" {
		there := slices.ContainsFunc(executing(node), ours)
		n.mu.Lock()
		may, wait := n.zones.mayEmpty(node, there, now)
		n.mu.Unlock()
		if !may {
			execute = ""
		}
		if wait > 0 {
			n.AddAfter(node.Name, wait)
		}
	}
	want, changed := taints(node, execute, metav1.NewTime(now.Truncate(time.Second)))
	if !changed {
		return node, nil
	}
	// The version guards against taints that others set meanwhile.
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": want},
	})
	if err != nil {
		return nil, err
	}
	return n.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, body, metav1.PatchOptions{})
}
