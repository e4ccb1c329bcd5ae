package daemonset

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
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

type world struct {
	ds    *appsv1.DaemonSet
	nodes []*corev1.Node
	pods  map[string]*corev1.Pod
	hash  int
	made  int
	now   time.Time
}

func (w *world) name() string { return fmt.Sprint("h", w.hash) }

func (w *world) available() (n int) {
	on, fit := map[string]bool{}, map[string]bool{}
	for _, node := range w.nodes {
		fit[node.Name] = node.Labels["on"] == "yes"
	}
	for _, p := range w.pods {
		if _, ready := controller.PodReady(p); ready && fit[nodeOf(p)] && p.DeletionTimestamp == nil && !controller.PodEnded(p) {
			on[nodeOf(p)] = true
		}
	}
	return len(on)
}

func (w *world) sync(t *rapid.T, check bool) bool {
	var pods []*corev1.Pod
	for _, p := range w.pods {
		pods = append(pods, p)
	}
	p := newPlan(w.ds, w.nodes, pods, podOf(w.ds, "", w.name()), w.name(), w.now)
	before := w.available()
	for _, d := range p.delete {
		if w.pods[d.Name] == nil || w.pods[d.Name].DeletionTimestamp != nil {
			t.Fatalf("%s is deleted, which is gone", d.Name)
		}
		w.pods[d.Name] = d.DeepCopy()
		w.pods[d.Name].DeletionTimestamp = &metav1.Time{}
	}
	for _, n := range p.create {
		w.made++
		pod := podOf(w.ds, n, w.name())
		pod.Name, pod.UID = fmt.Sprint("p", w.made), types.UID(fmt.Sprint(w.made))
		pod.CreationTimestamp = metav1.NewTime(w.now)
		w.pods[pod.Name] = pod
	}
	_, most := bounds(w.ds, int(p.status.DesiredNumberScheduled))
	if least := int(p.status.DesiredNumberScheduled) - most; check && w.available() < before && w.available() < least {
		t.Fatalf("%d nodes have an available pod, of %d; %d should", w.available(), before, least)
	}
	w.ds = w.ds.DeepCopy()
	w.ds.Status = p.status
	return len(p.create)+len(p.delete) > 0
}

func (w *world) progress(name string) {
	p := w.pods[name].DeepCopy()
	if p.DeletionTimestamp != nil {
		delete(w.pods, name)
		return
	}
	if controller.PodEnded(p) {
		return
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	w.pods[name] = p
}

// Every node that should gets one pod of the present template, and a rollout
// takes no more away than it may.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{pods: map[string]*corev1.Pod{}, now: time.Unix(1000, 0)}
		w.ds = &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "a", UID: "u"}}
		w.ds.Spec.Template.Spec.NodeSelector = map[string]string{"on": "yes"}
		r := &appsv1.RollingUpdateDaemonSet{}
		if rapid.Bool().Draw(t, "surge") {
			r.MaxSurge, r.MaxUnavailable = ptr.To(intstr.FromInt32(int32(rapid.IntRange(1, 3).Draw(t, "by")))), ptr.To(intstr.FromInt32(0))
		} else {
			r.MaxUnavailable = ptr.To(intstr.FromInt32(int32(rapid.IntRange(1, 3).Draw(t, "by"))))
		}
		w.ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: r}
		for i := range rapid.IntRange(0, 6).Draw(t, "nodes") {
			w.nodes = append(w.nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i), Labels: map[string]string{"on": "yes"}}})
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Second)
			name := fmt.Sprint("p", rapid.IntRange(1, w.made+1).Draw(t, "pod"))
			p := w.pods[name]
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 4:
				w.sync(t, true)
			case what < 7 && p != nil:
				w.progress(name)
			case what == 7 && p != nil && p.DeletionTimestamp == nil:
				p = p.DeepCopy()
				p.Status.Phase = corev1.PodFailed
				w.pods[name] = p
			case what == 8:
				w.hash++
			case what == 9 && len(w.nodes) > 0:
				i := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")
				n := w.nodes[i].DeepCopy()
				n.Labels["on"] = rapid.SampledFrom([]string{"yes", "no"}).Draw(t, "on")
				w.nodes[i] = n
			}
		}
		for i, calm := 0, 0; calm < 2; i++ {
			if i > 200 {
				t.Fatalf("does not settle: %+v", w.ds.Status)
			}
			w.now = w.now.Add(time.Second)
			busy := w.sync(t, false)
			for name := range w.pods {
				w.progress(name)
			}
			if calm++; busy {
				calm = 0
			}
		}
		want := 0
		for _, n := range w.nodes {
			if n.Labels["on"] == "yes" {
				want++
			}
		}
		on := map[string]bool{}
		for _, p := range w.pods {
			on[nodeOf(p)] = true
			if p.Labels[appsv1.ControllerRevisionHashLabelKey] != w.name() {
				t.Fatalf("%s is old", p.Name)
			}
		}
		s := w.ds.Status
		if len(w.pods) != want || len(on) != want || int(s.NumberAvailable) != want || int(s.UpdatedNumberScheduled) != want || s.NumberUnavailable != 0 {
			t.Fatalf("%d pods on %d nodes, want %d: %+v", len(w.pods), len(on), want, s)
		}
	})
}
