package event

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/lifecycle"
)

func TestSameEventIsCounted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client := fake.NewSimpleClientset()
	r := New(client, "n", clock.RealClock{}, slog.New(slog.DiscardHandler))
	go r.Run(ctx)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	side := &lifecycle.Container{Name: "s", Kind: lifecycle.Sidecar}
	for range 3 {
		r.Pod(pod, nil, "Warning", "FailedMount", "no disk")
		r.Pod(pod, side, "Normal", "Started", "Container started")
	}
	w, err := client.CoreV1().Events("ns").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for {
		list, err := client.CoreV1().Events("ns").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, e := range list.Items {
			got[fmt.Sprintf("%s %d %s", e.Reason, e.Count, e.InvolvedObject.FieldPath)] = true
		}
		if len(list.Items) > 2 {
			t.Fatalf("%d events", len(list.Items))
		}
		if got["FailedMount 3 "] && got["Started 3 spec.initContainers{s}"] {
			return
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
			t.Fatalf("never counted: %v", got)
		}
	}
}
