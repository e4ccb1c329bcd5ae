package replicaset

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		refused := 0
		api.PrependReactor("create", "pods", func(act clienttesting.Action) (bool, runtime.Object, error) {
			pod := act.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
			if pod.Labels["quota"] != "none" || refused == 3 {
				return false, nil, nil
			}
			refused++
			return true, nil, apierrors.NewForbidden(act.GetResource().GroupResource(), pod.GenerateName, errors.New("exceeded quota"))
		})
		return []controller.Controller{New(c)}
	})
}

// Whatever the pods are like, the status counts add up.
func TestObserve(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var pods []*corev1.Pod
		active := int32(0)
		for i := range rapid.IntRange(0, 20).Draw(t, "pods") {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), Labels: map[string]string{"a": rapid.SampledFrom([]string{"b", "c"}).Draw(t, "label")}}}
			p.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning, corev1.PodFailed, corev1.PodSucceeded}).Draw(t, "phase")
			if rapid.Bool().Draw(t, "deleted") {
				p.DeletionTimestamp = &metav1.Time{Time: now}
			}
			if rapid.Bool().Draw(t, "ready") {
				since := now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "since")) * time.Second)
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(since)}}
			}
			if controller.PodActive(p) {
				active++
			}
			pods = append(pods, p)
		}
		set := &Set{Owner: &corev1.Pod{}, Selector: labels.Everything(), Terminating: true, MinReadySeconds: int32(rapid.IntRange(0, 60).Draw(t, "min")),
			Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}}}
		s, next := observe(set, pods, now)
		if s.Replicas != active || s.AvailableReplicas > s.ReadyReplicas || s.ReadyReplicas > s.Replicas || s.FullyLabeledReplicas > s.Replicas {
			t.Fatalf("counts contradict each other: %+v", s)
		}
		if waits := s.AvailableReplicas < s.ReadyReplicas; waits != (next > 0) {
			t.Fatalf("%+v, but the next change is in %v", s, next)
		}
		if later, _ := observe(set, pods, now.Add(next)); next > 0 && later.AvailableReplicas <= s.AvailableReplicas {
			t.Fatalf("nothing became available after %v", next)
		}
	})
}
