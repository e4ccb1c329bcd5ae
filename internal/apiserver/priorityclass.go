package apiserver

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ensurePriorityClasses creates the classes of the system's own pods.
func (s *Server) ensurePriorityClasses(ctx context.Context) error {
	for _, c := range []struct {
		name        string
		value       int32
		description string
	}{
		{"system-node-critical", 2000001000, "Used for system critical pods that must not be moved from their current node."},
		{"system-cluster-critical", 2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."},
	} {
		policy := corev1.PreemptLowerPriority
		class := &schedulingv1.PriorityClass{
			ObjectMeta: metav1.ObjectMeta{Name: c.name}, Value: c.value, Description: c.description, PreemptionPolicy: &policy,
		}
		if err := s.ensure(ctx, "priorityclasses", schedulingv1.GroupName, class, nil); err != nil {
			return fmt.Errorf("create the PriorityClass %s: %w", c.name, err)
		}
	}
	return nil
}
