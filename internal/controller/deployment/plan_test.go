package deployment

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

// world is a Deployment with its sets and pods, whose controllers are late.
type world struct {
	d    *appsv1.Deployment
	sets []*appsv1.ReplicaSet
	now  time.Time
}

func newWorld(t *rapid.T) *world {
	bound := func(name string) *intstr.IntOrString {
		if rapid.Bool().Draw(t, name+"IsPercent") {
			return ptr.To(intstr.FromString(fmt.Sprintf("%d%%", rapid.IntRange(0, 100).Draw(t, name))))
		}
		return ptr.To(intstr.FromInt32(int32(rapid.IntRange(0, 5).Draw(t, name))))
	}
	w := &world{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.d = &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "a", UID: "u", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(int32(rapid.IntRange(0, 12).Draw(t, "replicas"))),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: bound("surge"), MaxUnavailable: bound("unavailable")}},
			RevisionHistoryLimit:    ptr.To(int32(rapid.IntRange(0, 3).Draw(t, "history"))),
			ProgressDeadlineSeconds: ptr.To(int32(600)),
		},
	}
	return w
}

func (w *world) plan() *plan {
	return newPlan(w.d, w.sets, func(rs *appsv1.ReplicaSet) bool { return rs.Status.Replicas > 0 }, w.now)
}

func (w *world) apply(p *plan) {
	index := map[string]int{}
	for i, rs := range w.sets {
		index[rs.Name] = i
	}
	if p.create != nil {
		rs := p.create.changed().DeepCopy()
		rs.Generation = 1
		rs.CreationTimestamp = metav1.NewTime(w.now)
		w.sets = append(w.sets, rs)
	}
	for _, s := range p.changes() {
		rs := s.changed().DeepCopy()
		rs.Generation++
		w.sets[index[s.Name]] = rs
	}
	for _, gone := range p.remove {
		for i, rs := range w.sets {
			if rs.Name == gone.Name {
				w.sets = append(w.sets[:i:i], w.sets[i+1:]...)
				break
			}
		}
	}
	w.d = w.d.DeepCopy()
	w.d.Status = *p.status.DeepCopy()
}

// observe lets a set's controller do its work: what is not available goes first.
func (w *world) observe(i int) {
	rs := w.sets[i].DeepCopy()
	rs.Status.Replicas = *rs.Spec.Replicas
	rs.Status.AvailableReplicas = min(rs.Status.AvailableReplicas, rs.Status.Replicas)
	rs.Status.ReadyReplicas = rs.Status.AvailableReplicas
	rs.Status.ObservedGeneration = rs.Generation
	rs.Status.TerminatingReplicas = ptr.To(int32(0))
	w.sets[i] = rs
}

func (w *world) ready(i int, n int32) {
	rs := w.sets[i].DeepCopy()
	rs.Status.AvailableReplicas = min(rs.Status.AvailableReplicas+n, rs.Status.Replicas)
	rs.Status.ReadyReplicas = rs.Status.AvailableReplicas
	w.sets[i] = rs
}

func (w *world) asked() (n int32) {
	for _, rs := range w.sets {
		n += *rs.Spec.Replicas
	}
	return n
}

// kept is how many pods are available and stay so.
func (w *world) kept() (n int32) {
	for _, rs := range w.sets {
		n += min(rs.Status.AvailableReplicas, *rs.Spec.Replicas)
	}
	return n
}

func (w *world) retemplate(image int) {
	w.d = w.d.DeepCopy()
	w.d.Generation++
	w.d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: fmt.Sprint(image)}}
}

// A rolling update stays within its bounds, however late all is, and arrives.
func TestRollingUpdate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Second)
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 4 || len(w.sets) == 0:
				w.bounded(t)
			case what < 7:
				w.observe(rapid.IntRange(0, len(w.sets)-1).Draw(t, "observed"))
			case what < 9:
				w.ready(rapid.IntRange(0, len(w.sets)-1).Draw(t, "readied"), 2)
			default:
				w.retemplate(rapid.IntRange(1, 3).Draw(t, "image"))
			}
		}
		w.settle(t)
	})
}

// bounded syncs once and checks that no bound was broken by it.
func (w *world) bounded(t *rapid.T) {
	p := w.plan()
	surge, unavailable := p.bounds()
	most, least := *w.d.Spec.Replicas+surge, *w.d.Spec.Replicas-unavailable
	asked, kept := w.asked(), w.kept()
	w.apply(p)
	if now := w.asked(); now > asked && now > most {
		t.Fatalf("asked for %d pods, %d are allowed", now, most)
	}
	if now := w.kept(); now < kept && now < least {
		t.Fatalf("%d pods stay available of %d, at least %d should", now, kept, least)
	}
}

// settle lets everything do its work until nothing changes any more.
func (w *world) settle(t *rapid.T) {
	for i, calm := 0, 0; calm < 2; i++ {
		if i == 200 {
			t.Fatalf("does not settle: %+v", w.d.Status)
		}
		w.now = w.now.Add(time.Second)
		p := w.plan()
		quiet := p.create == nil && len(p.changes()) == 0 && len(p.remove) == 0
		w.apply(p)
		for i := range w.sets {
			w.observe(i)
			w.ready(i, 100)
		}
		if calm++; !quiet || !complete(w.d, &p.status) {
			calm = 0
		}
	}
	p := w.plan()
	if p.current == nil || p.current.want != *w.d.Spec.Replicas || total(p.old) != 0 {
		t.Fatalf("settled with %d pods of %d, %d old ones", p.current.want, *w.d.Spec.Replicas, total(p.old))
	}
	if kept := int32(len(p.old)); kept > *w.d.Spec.RevisionHistoryLimit {
		t.Fatalf("%d old sets are kept, more than %d", kept, *w.d.Spec.RevisionHistoryLimit)
	}
	c := find(p.status.Conditions, appsv1.DeploymentProgressing)
	if c == nil || c.Reason != setAvailable || c.Status != corev1.ConditionTrue {
		t.Fatalf("settled, but says %+v", c)
	}
	if p.next != 0 {
		t.Fatalf("settled, but wakes in %v", p.next)
	}
	for _, s := range p.old {
		if revisionOf(s.ReplicaSet) >= revisionOf(p.current.ReplicaSet) {
			t.Fatalf("old %s has revision %d, current %d", s.Name, revisionOf(s.ReplicaSet), revisionOf(p.current.ReplicaSet))
		}
	}
}

// Scaling, pausing and rolling in any order arrives at what was asked last.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		if rapid.Bool().Draw(t, "recreate") {
			w.d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Second)
			switch what := rapid.IntRange(0, 11).Draw(t, "what"); {
			case what < 4 || len(w.sets) == 0:
				w.apply(w.plan())
			case what < 7:
				w.observe(rapid.IntRange(0, len(w.sets)-1).Draw(t, "observed"))
			case what < 9:
				w.ready(rapid.IntRange(0, len(w.sets)-1).Draw(t, "readied"), 2)
			case what == 9:
				w.retemplate(rapid.IntRange(1, 3).Draw(t, "image"))
			case what == 10:
				w.d = w.d.DeepCopy()
				w.d.Generation++
				*w.d.Spec.Replicas = int32(rapid.IntRange(0, 12).Draw(t, "scale"))
			default:
				w.d = w.d.DeepCopy()
				w.d.Generation++
				w.d.Spec.Paused = !w.d.Spec.Paused
			}
		}
		w.d = w.d.DeepCopy()
		w.d.Spec.Paused = false
		w.settle(t)
	})
}

// A recreated Deployment never runs two versions at once.
func TestRecreate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 4 || len(w.sets) == 0:
				w.apply(w.plan())
			case what < 7:
				w.observe(rapid.IntRange(0, len(w.sets)-1).Draw(t, "observed"))
			case what < 9:
				w.ready(rapid.IntRange(0, len(w.sets)-1).Draw(t, "readied"), 2)
			default:
				w.retemplate(rapid.IntRange(1, 3).Draw(t, "image"))
			}
			versions := 0
			for _, rs := range w.sets {
				if rs.Status.Replicas > 0 {
					versions++
				}
			}
			if versions > 1 {
				t.Fatalf("%d versions run at once", versions)
			}
		}
	})
}
