package system

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n"},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

func TestAwaitNode(t *testing.T) {
	_, k := lookups(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, stopped := make(chan error, 1), make(chan error, 1)
	go func() { ready <- awaitNode(ctx, k, "n", nodeReady) }()
	never, cancelNever := context.WithCancel(ctx)
	go func() { stopped <- awaitNode(never, k, "missing", nodeReady) }()

	other := node(corev1.ConditionTrue)
	other.Name = "other"
	for _, n := range []*corev1.Node{other, node(corev1.ConditionFalse)} {
		if _, err := k.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ready:
		t.Errorf("a node that is not Ready was taken for Ready: %v", err)
	default:
	}
	if _, err := k.CoreV1().Nodes().UpdateStatus(ctx, node(corev1.ConditionTrue), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Error(err)
	}
	if err := awaitNode(ctx, k, "n", nodeReady); err != nil {
		t.Errorf("a node that is Ready already: %v", err)
	}
	cancelNever()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
