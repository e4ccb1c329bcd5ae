package nodelifecycle

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clipper/internal/controller"
)

// neverUpdated is the reason of conditions that no kubelet ever wrote.
const neverUpdated = "NodeStatusNeverUpdated"

// kept are the conditions that a kubelet keeps up to date.
func kept() []corev1.NodeConditionType {
	return []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}
}

// silenced returns the node as it is once its kubelet has stopped posting, or
// nil if it says so already.
func silenced(n *corev1.Node, now metav1.Time) *corev1.Node {
	w := n.DeepCopy()
	changed := false
	for _, kind := range kept() {
		switch c := controller.NodeCondition(w, kind); {
		case c == nil:
			w.Status.Conditions = append(w.Status.Conditions, corev1.NodeCondition{
				Type: kind, Status: corev1.ConditionUnknown, Reason: neverUpdated,
				Message: "Kubelet never posted node status.", LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: now,
			})
			changed = true
		case c.Status != corev1.ConditionUnknown:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			c.LastTransitionTime = now
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return w
}

// readiness is the status of the condition Ready, "" if there is none.
func readiness(n *corev1.Node) corev1.ConditionStatus {
	if c := controller.NodeCondition(n, corev1.NodeReady); c != nil {
		return c.Status
	}
	return ""
}

// judgement is what of a node's conditions the controller acts on.
type judgement [6]corev1.ConditionStatus

func judged(n *corev1.Node) (j judgement) {
	for i, kind := range append(kept(), corev1.NodeNetworkUnavailable) {
		if c := controller.NodeCondition(n, kind); c != nil {
			j[i] = c.Status
		}
	}
	return j
}
