package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/cache"
	"pgregory.net/rapid"
)

func startedAt(minutes int) podOption {
	return func(p *v1.Pod) {
		at := metav1.NewTime(testTime.Add(time.Duration(minutes) * time.Minute))
		p.Status.StartTime = &at
	}
}

func preempting(policy v1.PreemptionPolicy) podOption {
	return func(p *v1.Pod) { p.Spec.PreemptionPolicy = &policy }
}

// placedPod is a pod of some CPU and priority on a node.
func placedPod(name, node string, priority int32, cpu string, options ...podOption) *v1.Pod {
	return newPod(name, append([]podOption{onNodeNamed(node), withPriority(priority), requests(v1.ResourceCPU, cpu)}, options...)...)
}

// protecting is a budget of the pods with the label app=NAME.
func protecting(app string, allowed int32) *policyv1.PodDisruptionBudget {
	most := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: app},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &most,
			Selector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
		},
		Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
	}
}

// TestPreemption looks for whom room is made, where, and of whom.
func TestPreemption(t *testing.T) {
	two := func(options ...nodeOption) []*v1.Node {
		return []*v1.Node{newNode("a", options...), newNode("b", options...)}
	}
	high := newPod("high", withPriority(100), requests(v1.ResourceCPU, "3"))
	for _, c := range []struct {
		name    string
		nodes   []*v1.Node
		on      []*v1.Pod
		budgets []*policyv1.PodDisruptionBudget
		pod     *v1.Pod
		// want are the victims, or why there are none.
		want []string
		why  string
	}{
		{"the one in the way", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "3"), placedPod("y", "a", 0, "500m")}, nil, high, []string{"x"}, ""},
		{"no lower priority", two()[:1], []*v1.Pod{placedPod("x", "a", 100, "3"), placedPod("y", "a", 200, "1")}, nil, high, nil,
			"0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{"lower ones do not suffice", two()[:1], []*v1.Pod{placedPod("x", "a", 100, "2"), placedPod("y", "a", 0, "1")}, nil, high, nil,
			"0/1 nodes are available: 1 Insufficient cpu."},
		{"not even an empty node", two(), []*v1.Pod{placedPod("x", "a", 0, "3")}, nil, newPod("p", withPriority(1), requests(v1.ResourceCPU, "5")), nil,
			"0/2 nodes are available: 2 Preemption is not helpful for scheduling."},
		{"some of each", []*v1.Node{newNode("a"), newNode("b", cordoned), newNode("c", taint("x", "", v1.TaintEffectNoSchedule))}, []*v1.Pod{placedPod("x", "a", 100, "3")}, nil, high, nil,
			"0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."},
		{"policy Never", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "3")}, nil, newPod("p", withPriority(1), requests(v1.ResourceCPU, "3"), preempting(v1.PreemptNever)), nil,
			"not eligible due to preemptionPolicy=Never."},
		{"the lowest priority goes", two()[:1], []*v1.Pod{placedPod("x", "a", 1, "2"), placedPod("y", "a", 2, "2")}, nil, newPod("p", withPriority(3), requests(v1.ResourceCPU, "1")), []string{"x"}, ""},
		{"the youngest goes", two()[:1], []*v1.Pod{placedPod("x", "a", 1, "2", startedAt(-2)), placedPod("y", "a", 1, "2", startedAt(-1))}, nil, newPod("p", withPriority(3), requests(v1.ResourceCPU, "1")), []string{"y"}, ""},
		{"fewer budgets are violated", two(), []*v1.Pod{placedPod("x", "a", 0, "4", label("app", "kept")), placedPod("y", "b", 50, "4")},
			[]*policyv1.PodDisruptionBudget{protecting("kept", 0)}, high, []string{"y"}, ""},
		{"a budget is violated if it must be", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "4", label("app", "kept"))},
			[]*policyv1.PodDisruptionBudget{protecting("kept", 0)}, high, []string{"x"}, ""},
		{"what a budget protects is spared first", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "2", label("app", "kept")), placedPod("y", "a", 50, "2")},
			[]*policyv1.PodDisruptionBudget{protecting("kept", 0)}, newPod("p", withPriority(100), requests(v1.ResourceCPU, "2")), []string{"y"}, ""},
		{"what a budget allows may go", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "2", label("app", "kept")), placedPod("y", "a", 50, "2")},
			[]*policyv1.PodDisruptionBudget{protecting("kept", 1)}, newPod("p", withPriority(100), requests(v1.ResourceCPU, "2")), []string{"x"}, ""},
		{"the lower of the highest", two(), []*v1.Pod{placedPod("x", "a", 9, "4"), placedPod("y", "b", 8, "2"), placedPod("z", "b", 8, "2")}, nil, newPod("p", withPriority(100), requests(v1.ResourceCPU, "4")), []string{"y", "z"}, ""},
		{"the lower sum", two(), []*v1.Pod{placedPod("v", "a", 9, "2"), placedPod("w", "a", 8, "2"), placedPod("x", "b", 9, "2"), placedPod("y", "b", 7, "2")}, nil, newPod("p", withPriority(100), requests(v1.ResourceCPU, "4")), []string{"x", "y"}, ""},
		{"fewer victims", two(), []*v1.Pod{placedPod("v", "a", 9, "4"), placedPod("x", "b", 9, "2"), placedPod("y", "b", -1<<31, "2")}, nil, newPod("p", withPriority(100), requests(v1.ResourceCPU, "4")), []string{"v"}, ""},
		{"the later start", two(), []*v1.Pod{placedPod("x", "a", 0, "4", startedAt(-9)), placedPod("y", "b", 0, "4", startedAt(-3))}, nil, high, []string{"y"}, ""},
		{"a host port", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "1m", hostPortOf("", 80, v1.ProtocolTCP)), placedPod("y", "a", 0, "1m")}, nil,
			newPod("p", withPriority(1), hostPortOf("", 80, v1.ProtocolTCP)), []string{"x"}, ""},
		{"anti-affinity", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "1m", label("app", "web")), placedPod("y", "a", 0, "1m")}, nil,
			newPod("p", withPriority(1), label("app", "web"), apart(podTerm_(v1.LabelHostname))), []string{"x"}, ""},
		{"another's anti-affinity", two()[:1], []*v1.Pod{placedPod("x", "a", 0, "1m", apart(podTerm_(v1.LabelHostname))), placedPod("y", "a", 0, "1m")}, nil,
			newPod("p", withPriority(1), label("app", "web")), []string{"x"}, ""},
		{"topology spread", []*v1.Node{newNode("a"), newNode("b", cordoned)}, []*v1.Pod{placedPod("w", "a", 0, "1m", label("app", "web")), placedPod("x", "a", 5, "1m", label("app", "web")), placedPod("y", "a", 0, "1m")}, nil,
			newPod("p", withPriority(9), label("app", "web"), func(p *v1.Pod) {
				p.Spec.TopologySpreadConstraints = []v1.TopologySpreadConstraint{{MaxSkew: 2, TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.DoNotSchedule,
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
			}), []string{"w"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI()
			s, _ := quick(t, a)
			for _, b := range c.budgets {
				s.addBudget(t, b)
			}
			for _, n := range c.nodes {
				s.onNode(n)
			}
			for _, p := range c.on {
				s.onPod(p)
			}
			before := view(s.index)
			s.onPod(c.pod)
			drain(s)
			if diff := cmp.Diff(before, view(s.index)); diff != "" {
				t.Errorf("a trial left something behind: %s", diff)
			}
			var want []string
			for _, name := range c.want {
				want = append(want, "default/"+name)
			}
			slices.Sort(a.deletes)
			if diff := cmp.Diff(want, a.deletes); diff != "" {
				t.Errorf("victims: %s", diff)
			}
			failed := slices.IndexFunc(a.events, func(e string) bool { return strings.Contains(e, "FailedScheduling") })
			if failed < 0 {
				t.Fatalf("events %q", a.events)
			}
			if _, why, _ := strings.Cut(a.events[failed], " no new claims to deallocate, preemption: "); why != c.why {
				t.Errorf("why: %q, want %q", why, c.why)
			}
		})
	}
}

func (s *Scheduler) addBudget(t testing.TB, b *policyv1.PodDisruptionBudget) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	if err := indexer.Add(b); err != nil {
		t.Fatal(err)
	}
	s.disruptionBudgets = policylisters.NewPodDisruptionBudgetLister(indexer)
}

// TestRoomIsKept follows a pod from the making of room to its binding.
func TestRoomIsKept(t *testing.T) {
	a := newAPI()
	s, clock := quick(t, a)
	s.onNode(newNode("a"))
	low := placedPod("low", "a", 0, "4")
	s.onPod(low)
	high := newPod("high", withPriority(100), requests(v1.ResourceCPU, "4"))
	s.onPod(high)
	drain(s)
	if diff := cmp.Diff([]string{"default/low"}, a.deletes); diff != "" {
		t.Fatal(diff)
	}
	want := []string{
		"Warning FailedScheduling Scheduling high: 0/1 nodes are available: 1 Insufficient cpu.",
		"Normal Preempted Preempting low: Preempted by pod uid-high on node a",
	}
	slices.Sort(want)
	slices.Sort(a.events)
	if diff := cmp.Diff(want, a.events); diff != "" {
		t.Error(diff)
	}
	told := strings.Join(a.patches, "\n")
	for _, part := range []string{
		`"message":"default-scheduler: preempting to accommodate a higher priority pod"`, `"reason":"PreemptionByScheduler"`, `"type":"DisruptionTarget"`,
		`"nominatedNodeName":"a"`,
	} {
		if !strings.Contains(told, part) {
			t.Errorf("the patches lack %s: %s", part, told)
		}
	}

	// It goes for good only after a while. Meanwhile nobody else is asked to.
	going := low.DeepCopy()
	now := metav1.NewTime(testTime)
	going.DeletionTimestamp = &now
	s.onPod(going)
	s.onNode(newNode("a", nodeLabel("new", "label")))
	clock.Step(10 * time.Second)
	drain(s)
	if len(a.deletes) != 1 {
		t.Errorf("deleted %q", a.deletes)
	}
	// Nor does another take the room: not one of the same priority.
	s.onPodGone(going)
	s.mu.Lock()
	it := s.queue.items[high.UID]
	s.queue.take(it) // so that the other's turn comes first
	s.mu.Unlock()
	same := newPod("same", withPriority(100), requests(v1.ResourceCPU, "1"))
	s.onPod(same)
	drain(s)
	if where(s, same) != "" {
		t.Error("another pod took the room")
	}
	s.mu.Lock()
	s.queue.push(it, active)
	s.mu.Unlock()
	drain(s)
	if where(s, high) != "a" {
		t.Errorf("the pod was not bound when there was room; events %q", a.events)
	}
	if len(s.nominations) != 0 {
		t.Errorf("nominations are left: %v", s.nominations)
	}
}

// TestRoomIsTaken has a pod of higher priority take the room that was made for
// another, which looks for other room.
func TestRoomIsTaken(t *testing.T) {
	a := newAPI()
	s, clock := quick(t, a)
	s.onNode(newNode("a"))
	s.onPod(placedPod("low", "a", 0, "4"))
	middle := newPod("middle", withPriority(50), requests(v1.ResourceCPU, "4"))
	s.onPod(middle)
	drain(s)
	high := newPod("high", withPriority(100), requests(v1.ResourceCPU, "3"))
	s.onPod(high)
	drain(s)
	if diff := cmp.Diff([]string{"default/low"}, a.deletes); diff != "" {
		t.Fatal(diff)
	}
	if got := s.queue.items[middle.UID].nominated; got != "" {
		t.Errorf("room for the lower one is kept on %q still", got)
	}
	if told := a.patches[len(a.patches)-1]; !slices.ContainsFunc(a.patches, func(p string) bool {
		return strings.HasPrefix(p, "default/middle ") && strings.Contains(p, `"nominatedNodeName":null`)
	}) {
		t.Errorf("the API was not told: %s", told)
	}
	s.onPodGone(newPod("low"))
	clock.Step(10 * time.Second)
	drain(s)
	if where(s, high) != "a" || where(s, middle) != "" {
		t.Errorf("high is on %q, middle on %q", where(s, high), where(s, middle))
	}
}

// TestEvictionFails tries again when a victim could not be deleted.
func TestEvictionFails(t *testing.T) {
	a := newAPI()
	s, clock := quick(t, a)
	s.onNode(newNode("a"))
	s.onPod(placedPod("low", "a", 0, "4"))
	inner, fail := a.deleted, true
	a.deleted = func(ns, name string) error {
		if fail {
			return errors.New("no")
		}
		return inner(ns, name)
	}
	s.onPod(newPod("high", withPriority(100), requests(v1.ResourceCPU, "4")))
	drain(s)
	fail = false
	clock.Step(10 * time.Second)
	drain(s)
	if diff := cmp.Diff([]string{"default/low"}, a.deletes); diff != "" {
		t.Error(diff)
	}
}

// TestNominationsSurvive takes in what a scheduler before this one nominated.
func TestNominationsSurvive(t *testing.T) {
	s, _ := quick(t, newAPI())
	s.onNode(newNode("a"))
	s.onPod(newPod("high", withPriority(100), requests(v1.ResourceCPU, "3"), gatedBy("x"), func(p *v1.Pod) { p.Status.NominatedNodeName = "a" }))
	other := newPod("other", withPriority(100), requests(v1.ResourceCPU, "2"))
	s.onPod(other)
	drain(s)
	if where(s, other) != "" {
		t.Error("a pod took the room of another")
	}
	s.onPodGone(newPod("high"))
	drain(s)
	if where(s, other) != "a" {
		t.Error("the room is kept though nobody waits for it")
	}
}

// TestVictimsAreFewest makes room among random pods. Whatever they are, only
// lower ones go, with them gone the pod fits, and with any of them back it does
// not.
func TestVictimsAreFewest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		for i := range rapid.IntRange(1, 4).Draw(rt, "nodes") {
			n := drawNode(rt, fmt.Sprint("n", i))
			w.nodes[n.Name] = n
			w.s.onNode(n)
		}
		for range rapid.IntRange(1, 12).Draw(rt, "pods") {
			w.n++
			p := drawPod(rt, fmt.Sprint("placed", w.n))
			p.Spec.NodeName = w.nodeName(rt)
			withPriority(rapid.Int32Range(-1, 3).Draw(rt, "priority"))(p)
			if rapid.IntRange(0, 3).Draw(rt, "apart?") == 0 {
				apart(podTerm_(v1.LabelHostname))(p)
			}
			w.pods[p.Name] = p
			w.s.onPod(p)
		}
		if rapid.Bool().Draw(rt, "budget?") {
			w.s.addBudget(t, protecting(rapid.SampledFrom([]string{"web", "db"}).Draw(rt, "budget"), rapid.Int32Range(0, 2).Draw(rt, "allowed")))
		}
		p := drawPod(rt, "pod")
		withPriority(2)(p)
		switch rapid.IntRange(0, 4).Draw(rt, "bigger") {
		case 0, 1:
			requests(v1.ResourceCPU, "2")(p)
		case 2:
			apart(podTerm_(v1.LabelHostname))(p)
		}
		s := w.s
		s.queue.set(p, testTime)
		it := s.queue.pop(testTime)
		n, why := s.decide(it)
		if n != nil {
			return
		}
		if len(s.index.nodes) == 0 {
			return
		}
		before := view(s.index)
		c, _ := s.preempt(it, why)
		if diff := cmp.Diff(before, view(s.index)); diff != "" {
			rt.Fatalf("a trial left something behind: %s", diff)
		}
		fits := func(gone []*placed) bool {
			for _, v := range gone {
				s.index.remove(v.pod.UID)
			}
			defer func() {
				for _, v := range gone {
					s.index.place(v.pod, v.node.name, v.load, v.terms, false)
				}
			}()
			n, _ := s.decide(it)
			return n != nil
		}
		if c == nil {
			for _, n := range s.index.nodes {
				var all []*placed
				for _, p := range n.pods {
					if p.priority < it.priority {
						all = append(all, p)
					}
				}
				if fits(all) {
					rt.Fatalf("no room was found, though %d pods could go from %s", len(all), n.name)
				}
			}
			return
		}
		for _, v := range c.victims {
			if v.priority >= it.priority || v.node != c.node {
				rt.Fatalf("%s of priority %d goes from %s to make room on %s", v.pod.Name, v.priority, v.node.name, c.node.name)
			}
		}
		if len(c.victims) == 0 || !fits(c.victims) {
			rt.Fatalf("the pod does not fit when the %d victims are gone", len(c.victims))
		}
		for i := range c.victims {
			if fits(slices.Concat(c.victims[:i:i], c.victims[i+1:])) {
				rt.Fatalf("%s could have been spared", c.victims[i].pod.Name)
			}
		}
	})
}

// TestNobodyWaitsInVain makes random events among pods of several priorities,
// and has the victims go. In the end no pod waits that fits somewhere, or for
// which room could be made.
func TestNobodyWaitsInVain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newAPI()
		s, _ := quick(t, a)
		w := &world{s: s, nodes: map[string]*v1.Node{}, pods: map[string]*v1.Pod{}}
		add := func(t *rapid.T, options ...podOption) {
			w.n++
			p := drawPod(t, fmt.Sprint("pod", w.n))
			withPriority(rapid.Int32Range(0, 2).Draw(t, "priority"))(p)
			for _, o := range options {
				o(p)
			}
			w.pods[p.Name] = p
			s.onPod(p)
		}
		settle := func(t *rapid.T) {
			for {
				drain(s)
				if len(a.deletes) == 0 {
					return
				}
				gone := a.deletes
				a.deletes = nil
				// Not all go at once.
				for len(gone) > 0 {
					i := rapid.IntRange(0, len(gone)-1).Draw(t, "goes")
					name := strings.TrimPrefix(gone[i], "default/")
					gone = slices.Delete(gone, i, i+1)
					s.onPodGone(w.pods[name])
					delete(w.pods, name)
					if rapid.Bool().Draw(t, "meanwhile") {
						drain(s)
					}
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"node":       w.setNode,
			"removeNode": w.removeNode,
			"placed":     func(t *rapid.T) { add(t, onNodeNamed(w.nodeName(t))) },
			"removePod":  w.removePod,
			"resize":     w.resize,
			"pod":        func(t *rapid.T) { add(t) },
			"pod2":       func(t *rapid.T) { add(t) },
			"": func(t *rapid.T) {
				settle(t)
				for _, it := range s.queue.items {
					if it.at != waiting {
						t.Fatalf("%s is not waiting, but %v", it.pod.Name, it.at)
					}
					for _, n := range s.index.nodes {
						if s.refusal(it, n, nil) == nil {
							t.Fatalf("%s waits, and fits on %s", it.pod.Name, n.name)
						}
						if below := s.below(it, n); len(below) > 0 {
							if _, f := s.victims(it, n, below, nil, nil); f == nil {
								t.Fatalf("%s waits, and could have room on %s; it is nominated to %q", it.pod.Name, n.name, it.nominated)
							}
						}
					}
				}
			},
		})
	})
}
