package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// world makes random events, and keeps the objects that are there.
type world struct {
	s     *Scheduler
	nodes map[string]*v1.Node
	pods  map[string]*v1.Pod
	n     int
}

func newWorld(t testing.TB) *world {
	s, _ := quick(t, &stubClient{})
	return &world{s: s, nodes: map[string]*v1.Node{}, pods: map[string]*v1.Pod{}}
}

func drawNode(t *rapid.T, name string) *v1.Node {
	n := newNode(name,
		allocatable(v1.ResourceCPU, rapid.SampledFrom([]string{"0", "1", "2", "4"}).Draw(t, "cpu")),
		allocatable(v1.ResourcePods, rapid.SampledFrom([]string{"1", "3", "10"}).Draw(t, "pods")),
	)
	if rapid.Bool().Draw(t, "zone?") {
		nodeLabel("zone", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone"))(n)
	}
	for _, effect := range []v1.TaintEffect{v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule} {
		if rapid.IntRange(0, 3).Draw(t, "taint") == 0 {
			taint(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key"), "", effect)(n)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "image") == 0 {
		hasImage("image:v1", 300<<20)(n)
	}
	n.Spec.Unschedulable = rapid.IntRange(0, 5).Draw(t, "cordoned") == 0
	return n
}

func drawPod(t *rapid.T, name string) *v1.Pod {
	p := newPod(name, label("app", rapid.SampledFrom([]string{"web", "db"}).Draw(t, "app")))
	if rapid.Bool().Draw(t, "cpu?") {
		requests(v1.ResourceCPU, rapid.SampledFrom([]string{"100m", "1"}).Draw(t, "cpu"))(p)
	}
	switch rapid.IntRange(0, 6).Draw(t, "sort") {
	case 0:
		selecting("zone", "a")(p)
	case 1:
		tolerating(v1.Toleration{Key: "x", Operator: v1.TolerationOpExists})(p)
	case 2:
		hostPortOf("", 80, v1.ProtocolTCP)(p)
	case 3:
		affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{{
			Weight: 3, Preference: v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpExists}}}}}}})(p)
	}
	return p
}

func (w *world) nodeName(t *rapid.T) string {
	return fmt.Sprint("n", rapid.IntRange(0, 5).Draw(t, "node"))
}

func (w *world) setNode(t *rapid.T) {
	n := drawNode(t, w.nodeName(t))
	w.nodes[n.Name] = n
	w.s.onNode(n)
}

func (w *world) removeNode(t *rapid.T) {
	name := w.nodeName(t)
	if n := w.nodes[name]; n != nil {
		delete(w.nodes, name)
		w.s.onNodeGone(n)
	}
}

func (w *world) addPlaced(t *rapid.T) {
	w.n++
	p := drawPod(t, fmt.Sprint("placed", w.n))
	p.Spec.NodeName = w.nodeName(t)
	w.pods[p.Name] = p
	w.s.onPod(p)
}

func (w *world) pick(t *rapid.T) *v1.Pod {
	var names []string
	for name := range w.pods {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return w.pods[rapid.SampledFrom(names).Draw(t, "pod")]
}

func (w *world) removePod(t *rapid.T) {
	if p := w.pick(t); p != nil {
		delete(w.pods, p.Name)
		w.s.onPodGone(p)
	}
}

// resize changes a pod where it is.
func (w *world) resize(t *rapid.T) {
	if p := w.pick(t); p != nil && p.Spec.NodeName != "" {
		p = p.DeepCopy()
		requests(v1.ResourceCPU, rapid.SampledFrom([]string{"50m", "500m"}).Draw(t, "resize"))(p)
		w.pods[p.Name] = p
		w.s.onPod(p)
	}
}

// schedule adds a pod and has it decided on. What is bound, the API confirms
// sooner or later.
func (w *world) schedule(t *rapid.T) {
	w.n++
	p := drawPod(t, fmt.Sprint("pod", w.n))
	w.pods[p.Name] = p
	w.s.onPod(p)
	drain(w.s)
	w.confirm(t)
}

func (w *world) confirm(t *rapid.T) {
	for name, p := range w.pods {
		if node := where(w.s, p); p.Spec.NodeName == "" && node != "" && rapid.Bool().Draw(t, "confirm") {
			p = p.DeepCopy()
			p.Spec.NodeName = node
			w.pods[name] = p
			w.s.onPod(p)
		}
	}
}

// objects returns all pods with the nodes where they are.
func (w *world) objects() []*v1.Pod {
	var out []*v1.Pod
	for _, p := range w.pods {
		if node := where(w.s, p); p.Spec.NodeName == "" && node != "" {
			p = p.DeepCopy()
			p.Spec.NodeName = node
		}
		if p.Spec.NodeName != "" {
			out = append(out, p)
		}
	}
	return out
}

type nodeView struct {
	Known                  bool
	Allocatable, Requested map[string]int64
	MaxPods                int
	ScoreCPU, ScoreMemory  int64
	Hard, Soft             []v1.Taint
	Images                 map[string]int64
	Ports                  map[hostPort]int
	Pods                   map[types.UID]string
}

func view(x *index) map[string]nodeView {
	amounts := func(r *resources) map[string]int64 {
		m := map[string]int64{"cpu": r.cpu, "memory": r.memory, "ephemeral": r.ephemeral}
		for name, n := range r.other {
			m[string(name)] = n
		}
		return m
	}
	out := map[string]nodeView{}
	for name, n := range x.byName {
		v := nodeView{Known: n.obj != nil, Requested: amounts(&n.requested), ScoreCPU: n.scoreCPU, ScoreMemory: n.scoreMemory, Ports: map[hostPort]int{}, Pods: map[types.UID]string{}}
		if v.Known {
			v.Allocatable, v.MaxPods, v.Hard, v.Soft = amounts(&n.allocatable), n.maxPods, n.hard, n.soft
			v.Images = map[string]int64{}
			for image, size := range n.images {
				v.Images[image] = size
			}
		}
		for _, p := range n.ports {
			v.Ports[p]++
		}
		for uid, p := range n.pods {
			v.Pods[uid] = p.pod.Name
		}
		out[name] = v
	}
	return out
}

// TestIndex compares the index that followed random events with one that is
// made of what is there at the end, and what classes know with what they find
// when they look at everything anew.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		rt.Repeat(map[string]func(*rapid.T){
			"node":       w.setNode,
			"removeNode": w.removeNode,
			"placed":     w.addPlaced,
			"removePod":  w.removePod,
			"resize":     w.resize,
			"schedule":   w.schedule,
			"":           func(t *rapid.T) { w.check(t) },
		})
	})
}

func (w *world) check(t *rapid.T) {
	fresh := newIndex()
	for _, n := range w.nodes {
		fresh.setNode(n)
	}
	for _, p := range w.objects() {
		fresh.place(p, p.Spec.NodeName, loadOf(p), podTermsOf(p), false)
	}
	if diff := cmp.Diff(view(fresh), view(w.s.index)); diff != "" {
		t.Fatalf("the index differs from one made anew: %s", diff)
	}
	if diff := cmp.Diff(fresh.imageNodes, w.s.index.imageNodes); diff != "" {
		t.Fatalf("the images differ: %s", diff)
	}
	w.checkList(t)
	for _, c := range w.s.queue.classes.byKey {
		w.checkClass(t, c)
	}
}

// checkList checks the order of the nodes by generation.
func (w *world) checkList(t *rapid.T) {
	x, n := w.s.index, 0
	for at := x.newest; at != nil; at = at.older {
		if at.older != nil && (at.older.generation >= at.generation || at.older.newer != at) {
			t.Fatalf("the nodes are not in order of change")
		}
		n++
	}
	if n != len(x.byName) {
		t.Fatalf("%d of %d nodes are in the list", n, len(x.byName))
	}
}

func (w *world) checkClass(t *rapid.T, c *class) {
	x := w.s.index
	r := c.ranking
	if r == nil {
		return
	}
	rng := rand.New(rand.NewPCG(3, 4))
	best := r.best(x, w.s.plugins, rng)
	var found []*node
	for _, n := range x.nodes {
		f := w.s.failureOn(c, n)
		if f == nil {
			found = append(found, n)
		}
		if diff := cmp.Diff(f == nil, r.entries[n.pos].failure == nil); diff != "" {
			t.Fatalf("whether %s fits: %s", n.name, diff)
		}
		if f != nil && !slices.Equal(f.reasons, r.entries[n.pos].failure.reasons) {
			t.Fatalf("%s fails for %v, not for %v", n.name, f.reasons, r.entries[n.pos].failure.reasons)
		}
	}
	if (best == nil) != (len(found) == 0) || len(r.heap) != len(found) {
		t.Fatalf("%d nodes fit, %d are known to", len(found), len(r.heap))
	}
	if best == nil {
		return
	}
	scores := w.s.scores(c, found)
	for i, n := range found {
		if got := r.entries[n.pos].score; got != scores[i] {
			t.Fatalf("%s has the score %d, not %d", n.name, got, scores[i])
		}
	}
	if got := r.entries[best.pos].score; got != slices.Max(scores) {
		t.Fatalf("the best has the score %d of %v", got, scores)
	}
}

// TestNothingIsForgotten checks, after random events, that every pod that is
// not bound has been tried against the world as it is now.
func TestNothingIsForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		rt.Repeat(map[string]func(*rapid.T){
			"node":       w.setNode,
			"removeNode": w.removeNode,
			"placed":     w.addPlaced,
			"removePod":  w.removePod,
			"resize":     w.resize,
			"schedule":   w.schedule,
			"schedule2":  w.schedule,
			"": func(t *rapid.T) {
				drain(w.s)
				for _, it := range w.s.queue.items {
					if it.at != waiting {
						t.Fatalf("%s is not waiting, but %v", it.pod.Name, it.at)
					}
					for _, n := range w.s.index.nodes {
						if w.s.failureOn(it.class, n) == nil {
							t.Fatalf("%s waits, and fits on %s", it.pod.Name, n.name)
						}
					}
				}
			},
		})
	})
}

// TestClassKey checks that pods of one class are the same to all plugins.
func TestClassKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawPod(rt, "a"), drawPod(rt, "b")
		same := string(classKey(nil, a)) == string(classKey(nil, b))
		b.Spec.SchedulerName = a.Spec.SchedulerName
		equal := cmp.Equal(a.Spec, b.Spec)
		if same != equal {
			rt.Fatalf("one class: %t, one spec: %t", same, equal)
		}
	})
}
