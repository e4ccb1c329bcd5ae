package statefulset

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c)}
	})
}

// world is a set and its pods, by name.
type world struct {
	set     *appsv1.StatefulSet
	pods    map[string]*corev1.Pod
	current string
	update  int
	made    int
}

func (w *world) list() (out []*corev1.Pod) {
	for _, p := range w.pods {
		out = append(out, p)
	}
	return out
}

func (w *world) updateName() string { return fmt.Sprintf("r%d", w.update) }

func (w *world) sync(t *rapid.T) bool {
	h := health{w.set, time.Unix(0, 0)}
	ordered := w.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	current := w.current
	if current == "" {
		current = w.updateName()
	}
	p := newPlan(w.set, w.list(), current, w.updateName(), h.now)
	if ordered && len(p.actions) > 1 && w.set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable == nil {
		t.Fatalf("%d things are done at once", len(p.actions))
	}
	first, end := bounds(w.set)
	for _, a := range p.actions {
		if a.pod != nil {
			w.pods[a.pod.Name] = a.pod.DeepCopy()
			w.pods[a.pod.Name].DeletionTimestamp = &metav1.Time{}
			n, _ := ordinalOf(w.set.Name, a.pod.Name)
			if n < end && n >= first && n < first+int(*w.set.Spec.UpdateStrategy.RollingUpdate.Partition) && !controller.PodEnded(a.pod) {
				t.Fatalf("%s is below the partition and deleted", a.pod.Name)
			}
			continue
		}
		for n := first; ordered && n < a.ordinal; n++ {
			if o := w.pods[podName(w.set.Name, n)]; o == nil || !h.available(o) {
				t.Fatalf("pod %d is made before %d is available", a.ordinal, n)
			}
		}
		revision := w.updateName()
		if a.current {
			revision = current
		}
		pod := podOf(w.set, a.ordinal, revision)
		if w.pods[pod.Name] != nil {
			t.Fatalf("%s is there already", pod.Name)
		}
		w.made++
		pod.Status.Phase = corev1.PodPending
		w.pods[pod.Name] = pod
	}
	w.set = w.set.DeepCopy()
	w.set.Status = p.status
	w.current = p.status.CurrentRevision
	return len(p.actions) > 0
}

// progress lets one pod start, or go.
func (w *world) progress(name string) {
	p := w.pods[name].DeepCopy()
	if p.DeletionTimestamp != nil {
		delete(w.pods, name)
		return
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	w.pods[name] = p
}

// Order and partition are kept whatever happens to the pods, and the set
// arrives at its size and revision.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{pods: map[string]*corev1.Pod{}, update: 1}
		w.set = &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "a", UID: "u"}}
		w.set.Spec.Replicas = ptr.To(int32(rapid.IntRange(0, 5).Draw(t, "replicas")))
		w.set.Spec.PodManagementPolicy = rapid.SampledFrom([]appsv1.PodManagementPolicyType{appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement}).Draw(t, "policy")
		w.set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType,
			RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(rapid.IntRange(0, 3).Draw(t, "partition")))}}
		if rapid.Bool().Draw(t, "start") {
			w.set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 3}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := fmt.Sprintf("s-%d", rapid.IntRange(0, 8).Draw(t, "pod"))
			p := w.pods[name]
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 4:
				w.sync(t)
			case what < 7 && p != nil:
				w.progress(name)
			case what == 7 && p != nil && p.DeletionTimestamp == nil:
				p = p.DeepCopy()
				p.Status.Phase = corev1.PodFailed
				w.pods[name] = p
			case what == 8:
				w.update++
			case what == 9:
				w.set = w.set.DeepCopy()
				w.set.Spec.Replicas = ptr.To(int32(rapid.IntRange(0, 5).Draw(t, "scale")))
			}
		}
		for i := 0; ; i++ {
			if i > 200 {
				t.Fatalf("does not settle: %+v", w.set.Status)
			}
			busy := w.sync(t)
			for name := range w.pods {
				w.progress(name)
			}
			if !busy && i > 1 {
				break
			}
		}
		first, end := bounds(w.set)
		if len(w.pods) != end-first {
			t.Fatalf("%d pods, want %d", len(w.pods), end-first)
		}
		partition := int(*w.set.Spec.UpdateStrategy.RollingUpdate.Partition)
		for n := first; n < end; n++ {
			p := w.pods[podName("s", n)]
			if p == nil {
				t.Fatalf("no pod %d", n)
			}
			if n >= first+partition && revisionOf(p) != w.updateName() {
				t.Fatalf("pod %d is of revision %s, not %s", n, revisionOf(p), w.updateName())
			}
		}
	})
}

func TestOrdinalOf(t *testing.T) {
	for name, want := range map[string]int{"s-0": 0, "s-12": 12, "s": -1, "s-": -1, "s-01": -1, "s-x": -1, "s--1": -1, "t-1": -1, "s-a-1": -1} {
		n, ok := ordinalOf("s", name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%s has ordinal %d, want %d", name, n, want)
		}
	}
}
