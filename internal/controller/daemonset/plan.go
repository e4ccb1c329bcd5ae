package daemonset

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"clipper/internal/controller"
)

// plan is what one sync does.
type plan struct {
	create []string // nodes that get a pod
	delete []*corev1.Pod
	ended  []*corev1.Pod // of delete, those that have ended by themselves
	status appsv1.DaemonSetStatus
	next   time.Duration
}

// nodeOf returns the node that a pod is bound to, or made for.
func nodeOf(p *corev1.Pod) string {
	if p.Spec.NodeName != "" || p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil ||
		p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return p.Spec.NodeName
	}
	for _, t := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range t.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

// fits tells whether a pod of the set belongs on a node, and whether one that
// is there may stay. pod is what the set would make.
func fits(pod *corev1.Pod, n *corev1.Node) (run, stay bool) {
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != n.Name {
		return false, false
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n); err != nil || !ok {
		return false, false
	}
	untolerated := func(effects ...corev1.TaintEffect) bool {
		_, found := scheduling.FindMatchingUntoleratedTaint(klog.Background(), n.Spec.Taints, pod.Spec.Tolerations,
			func(t *corev1.Taint) bool { return slices.Contains(effects, t.Effect) }, true)
		return found
	}
	return !untolerated(corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute), !untolerated(corev1.TaintEffectNoExecute)
}

// newPlan compares a set with its pods. hash is that of the present template.
func newPlan(ds *appsv1.DaemonSet, nodes []*corev1.Node, pods []*corev1.Pod, template *corev1.Pod, hash string, now time.Time) plan {
	p := plan{status: ds.Status}
	on := map[string][]*corev1.Pod{}
	for _, pod := range pods {
		on[nodeOf(pod)] = append(on[nodeOf(pod)], pod)
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	var wanted []*node
	there := map[string]bool{}
	s := &p.status
	*s = appsv1.DaemonSetStatus{ObservedGeneration: ds.Generation, CollisionCount: ds.Status.CollisionCount, Conditions: ds.Status.Conditions}
	for _, n := range nodes {
		there[n.Name] = true
		run, stay := fits(template, n)
		here := on[n.Name]
		if run {
			s.DesiredNumberScheduled++
		}
		switch {
		case stay && (run || len(here) > 0):
			v := look(n.Name, here, hash, ds.Spec.MinReadySeconds, now)
			v.run = run
			p.keep(v, surges(ds))
			wanted = append(wanted, v)
			p.next = controller.Sooner(p.next, v.next)
		case !stay:
			for _, pod := range here {
				if pod.DeletionTimestamp == nil {
					p.delete = append(p.delete, pod)
				}
			}
		}
		p.count(run, here, hash, ds.Spec.MinReadySeconds, now)
	}
	for name, here := range on {
		if name == "" || there[name] {
			continue
		}
		for _, pod := range here { // of a node that is gone; if it was bound, podgc has it
			if pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil {
				p.delete = append(p.delete, pod)
			}
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
	if ds.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		p.roll(ds, wanted)
	}
	return p
}

// node is one node and what of the set runs there.
type node struct {
	name               string
	run                bool
	ended              []*corev1.Pod
	old, new           []*corev1.Pod // that are neither ended nor going
	going              bool
	oldThere, newThere bool // available
	next               time.Duration
}

func look(name string, pods []*corev1.Pod, hash string, minReady int32, now time.Time) *node {
	n := &node{name: name}
	for _, pod := range pods {
		switch {
		case pod.DeletionTimestamp != nil:
			n.going = true
			continue
		case controller.PodEnded(pod):
			n.ended = append(n.ended, pod)
			continue
		}
		ok, wait := controller.PodAvailable(pod, minReady, now)
		n.next = controller.Sooner(n.next, wait)
		if pod.Labels[appsv1.ControllerRevisionHashLabelKey] == hash {
			n.new = append(n.new, pod)
			n.newThere = n.newThere || ok
		} else {
			n.old = append(n.old, pod)
			n.oldThere = n.oldThere || ok
		}
	}
	for _, l := range [][]*corev1.Pod{n.old, n.new} {
		// The first is kept, should there be more than one.
		slices.SortFunc(l, func(a, b *corev1.Pod) int {
			x, _ := controller.PodAvailable(a, minReady, now)
			y, _ := controller.PodAvailable(b, minReady, now)
			if x != y {
				if x {
					return -1
				}
				return 1
			}
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
	}
	return n
}

// keep sees to it that a node has one pod, or, while it surges, one old and
// one new.
func (p *plan) keep(n *node, surge bool) {
	p.delete = append(p.delete, n.ended...)
	p.ended = append(p.ended, n.ended...)
	extra := func(l []*corev1.Pod) []*corev1.Pod {
		if len(l) > 1 {
			p.delete = append(p.delete, l[1:]...)
			return l[:1]
		}
		return l
	}
	n.old, n.new = extra(n.old), extra(n.new)
	if len(n.old) > 0 && len(n.new) > 0 && !surge {
		p.delete = append(p.delete, n.old[0])
		n.old = nil
	}
	if n.run && len(n.old)+len(n.new)+len(n.ended) == 0 && !n.going {
		p.create = append(p.create, n.name)
	}
}

func surges(ds *appsv1.DaemonSet) bool { s, _ := bounds(ds, 1); return s > 0 }

func bounds(ds *appsv1.DaemonSet, of int) (surge, unavailable int) {
	r := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType || r == nil {
		return 0, 1
	}
	n := func(v *intstr.IntOrString, otherwise int) int {
		if v == nil {
			return otherwise
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(v, of, true)
		if err != nil {
			return otherwise // validation refuses it
		}
		return n
	}
	if surge, unavailable = n(r.MaxSurge, 0), n(r.MaxUnavailable, 1); surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// roll replaces old pods: by deleting them, those that are not available
// first, or, with a surge, by new ones beside them.
func (p *plan) roll(ds *appsv1.DaemonSet, nodes []*node) {
	surge, most := bounds(ds, int(p.status.DesiredNumberScheduled))
	away, surging := 0, 0
	for _, n := range nodes {
		if n.run && !n.oldThere && !n.newThere {
			away++
		}
		if len(n.old) > 0 && len(n.new) > 0 {
			surging++
		}
	}
	for _, n := range nodes {
		switch {
		case len(n.old) == 0:
		case len(n.new) > 0:
			if n.newThere || !n.oldThere {
				p.delete = append(p.delete, n.old[0])
			}
		case !n.oldThere && surge == 0:
			p.delete = append(p.delete, n.old[0]) // it costs nothing
		case surge > 0 && n.run && !n.going && surging < surge:
			p.create = append(p.create, n.name)
			surging++
		}
	}
	if surge > 0 {
		return
	}
	for _, n := range nodes {
		if len(n.old) > 0 && len(n.new) == 0 && n.oldThere && away < most {
			p.delete = append(p.delete, n.old[0])
			away++
		}
	}
}

// count adds a node to the status.
func (p *plan) count(run bool, pods []*corev1.Pod, hash string, minReady int32, now time.Time) {
	s := &p.status
	living := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return controller.PodEnded(p) })
	if !run {
		if len(living) > 0 {
			s.NumberMisscheduled++
		}
		return
	}
	if len(living) == 0 {
		return
	}
	s.CurrentNumberScheduled++
	ready, available, updated := false, false, false
	for _, pod := range living {
		_, r := controller.PodReady(pod)
		a, _ := controller.PodAvailable(pod, minReady, now)
		ready = ready || r
		available = available || a && pod.DeletionTimestamp == nil
		updated = updated || pod.Labels[appsv1.ControllerRevisionHashLabelKey] == hash && pod.DeletionTimestamp == nil
	}
	if ready {
		s.NumberReady++
	}
	if available {
		s.NumberAvailable++
	}
	if updated {
		s.UpdatedNumberScheduled++
	}
}
