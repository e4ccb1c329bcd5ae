package nodelifecycle

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c)}
	})
}

// A process that slept through a node's deadline gives it its time again.
func TestOwnDowntime(t *testing.T) {
	api := controllertest.NewAPI()
	clk := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	n := New(controller.Config{Client: api, Informers: informers.NewSharedInformerFactory(api, 0), Clock: clk, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u"}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := api.Put(node.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	n.nodeChanged(nil, node)
	look := func(after time.Duration, want corev1.ConditionStatus) {
		t.Helper()
		clk.Step(after)
		got, err := n.listen(context.Background(), node)
		if err != nil || readiness(got) != want {
			t.Fatalf("node is %s, should be %s (%v)", readiness(got), want, err)
		}
	}
	look(0, corev1.ConditionTrue)
	look(time.Hour, corev1.ConditionTrue) // asleep, and so was everything in it
	look(35*time.Second, corev1.ConditionTrue)
	look(14*time.Second, corev1.ConditionTrue)
	look(1*time.Second, corev1.ConditionUnknown)
}

// Taints follow from the conditions alone, those of others are kept, and what
// has been written needs no change.
func TestTaints(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	rapid.Check(t, func(t *rapid.T) {
		n := &corev1.Node{}
		statuses := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}
		for _, kind := range append(kept(), corev1.NodeNetworkUnavailable) {
			if rapid.Bool().Draw(t, "has") {
				n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: kind, Status: rapid.SampledFrom(statuses).Draw(t, "status")})
			}
		}
		n.Spec.Unschedulable = rapid.Bool().Draw(t, "unschedulable")
		keys := []string{"theirs", corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeMemoryPressure, corev1.TaintNodeUnschedulable, corev1.TaintNodeOutOfService}
		effects := []corev1.TaintEffect{corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule}
		seen := map[string]bool{}
		theirs := 0
		for range rapid.IntRange(0, 6).Draw(t, "taints") {
			taint := corev1.Taint{Key: rapid.SampledFrom(keys).Draw(t, "key"), Effect: rapid.SampledFrom(effects).Draw(t, "effect")}
			if id := fmt.Sprint(taint.Key, taint.Effect); !seen[id] {
				seen[id] = true
				n.Spec.Taints = append(n.Spec.Taints, taint)
				if !ours(taint) {
					theirs++
				}
			}
		}
		execute := ""
		if rapid.Bool().Draw(t, "execute") {
			execute = emptied(n)
		}
		out, _ := taints(n, execute, now)
		kept, noExecute := 0, 0
		for _, taint := range out {
			if !ours(taint) {
				kept++
			} else if taint.Effect == corev1.TaintEffectNoExecute {
				noExecute++
			}
		}
		if kept != theirs {
			t.Fatalf("%d taints of others are left of %d", kept, theirs)
		}
		if (noExecute == 1) != (execute != "") || noExecute > 1 {
			t.Fatalf("%d NoExecute taints for %q", noExecute, execute)
		}
		n.Spec.Taints = out
		if again, changed := taints(n, execute, now); changed {
			t.Fatalf("changed again, from %v to %v", out, again)
		}
	})
}
