package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestRun goes the whole way, with a client and informers: a pod is bound, one
// that fits nowhere is told why, and is bound when a node is freed for it.
func TestRun(t *testing.T) {
	client := fake.NewClientset(newNode("n", taint("dedicated", "gpu", v1.TaintEffectNoSchedule)), newNode("small", allocatable(v1.ResourceCPU, "100m")))
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "binding" {
			return false, nil, nil
		}
		b := action.(clienttesting.CreateAction).GetObject().(*v1.Binding)
		obj, err := client.Tracker().Get(v1.SchemeGroupVersion.WithResource("pods"), b.Namespace, b.Name)
		if err != nil {
			return true, nil, err
		}
		pod := obj.(*v1.Pod).DeepCopy()
		pod.Spec.NodeName = b.Target.Name
		return true, b, client.Tracker().Update(v1.SchemeGroupVersion.WithResource("pods"), pod, b.Namespace)
	})
	factory := informers.NewSharedInformerFactory(client, 0)
	s := New(Config{Client: client, Informers: factory})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	factory.Start(ctx.Done())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods("default")
	w, err := pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	until := func(what string, ok func(*v1.Pod) bool) *v1.Pod {
		t.Helper()
		for {
			select {
			case e := <-w.ResultChan():
				if pod, is := e.Object.(*v1.Pod); is && e.Type != watch.Deleted && ok(pod) {
					return pod
				}
			case <-ctx.Done():
				t.Fatalf("the pod was not %s", what)
			}
		}
	}
	create := func(p *v1.Pod) {
		t.Helper()
		if _, err := pods.Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create(newPod("fits", requests(v1.ResourceCPU, "100m")))
	until("bound", func(p *v1.Pod) bool { return p.Spec.NodeName == "small" })
	create(newPod("waits", requests(v1.ResourceCPU, "1")))
	p := until("refused", func(p *v1.Pod) bool { return len(p.Status.Conditions) > 0 })
	want := v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: "Unschedulable",
		Message: "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."}
	got := p.Status.Conditions[0]
	got.LastTransitionTime = metav1.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := client.CoreV1().Nodes().Update(ctx, newNode("n"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("bound", func(p *v1.Pod) bool { return p.Name == "waits" && p.Spec.NodeName == "n" })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestEventsAndConditions(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	s.onPod(newPod("early"))
	drain(s)
	s.onNode(newNode("n1", allocatable(v1.ResourceCPU, "1"), allocatable(v1.ResourceMemory, "1")))
	s.onNode(newNode("n2", cordoned))
	drain(s)
	s.onPod(newPod("big", requests(v1.ResourceCPU, "2"), requests(v1.ResourceMemory, "1Gi")))
	drain(s)
	want := []string{
		"Warning FailedScheduling Scheduling early: no nodes available to schedule pods",
		"Normal Scheduled Binding early: Successfully assigned default/early to n1",
		"Warning FailedScheduling Scheduling big: 0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
	}
	if diff := cmp.Diff(want, a.events); diff != "" {
		t.Error(diff)
	}
	if len(a.patches) != 2 || !strings.HasPrefix(a.patches[1], "default/big ") {
		t.Fatalf("patches: %q", a.patches)
	}
	var patch struct{ Status v1.PodStatus }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(a.patches[1], "default/big ")), &patch); err != nil {
		t.Fatal(err)
	}
	c := patch.Status.Conditions[0]
	if c.Type != v1.PodScheduled || c.Status != v1.ConditionFalse || c.Reason != "Unschedulable" || !strings.HasPrefix(c.Message, "0/2 nodes are available: ") {
		t.Errorf("condition %+v", c)
	}
	if diff := cmp.Diff(map[string]string{"default/early": "n1"}, a.bindings); diff != "" {
		t.Error(diff)
	}
	// The same again is no news.
	s.onNode(newNode("n3", cordoned))
	s.onNodeGone(newNode("n3"))
	drain(s)
	if len(a.events) != len(want) || len(a.patches) != 2 {
		t.Errorf("told again: %q %q", a.events, a.patches)
	}
}

// TestReportsNothingThatIsKnown leaves a condition alone that says it already.
func TestReportsNothingThatIsKnown(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	s.onPod(newPod("p", func(p *v1.Pod) {
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: "Unschedulable", Message: noNodes}}
	}))
	drain(s)
	if len(a.patches) != 0 || len(a.events) != 1 {
		t.Errorf("patches %q, events %q", a.patches, a.events)
	}
}

func TestPriorityAndAge(t *testing.T) {
	s, clock := quick(t, newAPI())
	for _, p := range []struct {
		name     string
		priority int32
	}{{"low", -1}, {"first", 0}, {"second", 0}, {"high", 1000}} {
		s.onPod(newPod(p.name, withPriority(p.priority)))
		clock.Step(time.Second)
	}
	var got []string
	for it := s.queue.pop(clock.Now()); it != nil; it = s.queue.pop(clock.Now()) {
		got = append(got, it.pod.Name)
	}
	if diff := cmp.Diff([]string{"high", "first", "second", "low"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSchedulingGates(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	s.onNode(newNode("n"))
	p := newPod("p", gatedBy("example.com/wait"))
	s.onPod(p)
	drain(s)
	if len(a.bindings) != 0 || len(a.events) != 0 {
		t.Errorf("a gated pod was looked at: %v %v", a.bindings, a.events)
	}
	s.onPod(newPod("p"))
	drain(s)
	if where(s, p) != "n" {
		t.Error("the pod was not bound when its gate was gone")
	}
}

func TestWhoseAndWhich(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	s.onNode(newNode("n"))
	now := metav1.NewTime(testTime)
	s.onPod(newPod("another's", func(p *v1.Pod) { p.Spec.SchedulerName = "other" }))
	s.onPod(newPod("leaving", func(p *v1.Pod) { p.DeletionTimestamp = &now }))
	s.onPod(newPod("ended", func(p *v1.Pod) { p.Status.Phase = v1.PodFailed }))
	drain(s)
	if len(a.bindings) != 0 {
		t.Errorf("bound: %v", a.bindings)
	}
}

func TestBindingFails(t *testing.T) {
	a := newAPI()
	s, clock := quick(t, a)
	s.onNode(newNode("n", allocatable(v1.ResourcePods, "1")))
	p := newPod("p")
	a.refuse = errors.New("no")
	s.onPod(p)
	drain(s)
	if where(s, p) != "" {
		t.Fatal("the pod is still assumed to be on the node")
	}
	want := []string{`Warning FailedScheduling Scheduling p: binding rejected: running Bind plugin "DefaultBinder": no`}
	if diff := cmp.Diff(want, a.events); diff != "" {
		t.Error(diff)
	}
	a.refuse = nil
	drain(s)
	if len(a.bindings) != 0 {
		t.Error("there was no back-off")
	}
	clock.Step(time.Second)
	drain(s)
	if where(s, p) != "n" {
		t.Error("the pod was not tried again")
	}

	// A pod that is gone is forgotten.
	q := newPod("q")
	s.onNode(newNode("m"))
	a.refuse = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "q")
	s.onPod(q)
	drain(s)
	if where(s, q) != "" || len(s.queue.items) != 0 {
		t.Errorf("left: %v, %v", where(s, q), s.queue.items)
	}
}

// TestDeletedWhileBinding deletes a pod between decision and binding.
func TestDeletedWhileBinding(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	s.onNode(newNode("n", allocatable(v1.ResourcePods, "1")))
	p, next := newPod("p"), newPod("next")
	inner := a.bound
	a.bound = func(ns, name string, b *v1.Binding) error {
		if name == "p" {
			s.onPodGone(p)
			return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name)
		}
		return inner(ns, name, b)
	}
	s.onPod(p)
	s.onPod(next)
	drain(s)
	if where(s, p) != "" || where(s, next) != "n" {
		t.Errorf("p on %q, next on %q", where(s, p), where(s, next))
	}
}

func TestConfirmation(t *testing.T) {
	s, _ := quick(t, newAPI())
	s.onNode(newNode("n"))
	s.onNode(newNode("m"))
	p := newPod("p", requests(v1.ResourceCPU, "1"))
	s.onPod(p)
	drain(s)
	// An event from before the binding does not bring the pod back.
	s.onPod(newPod("p", requests(v1.ResourceCPU, "1"), label("new", "label")))
	if len(s.queue.items) != 0 {
		t.Error("a bound pod is queued again")
	}
	// What it confirms is no change of the node.
	at, before := where(s, p), s.index.generation
	bound := newPod("p", requests(v1.ResourceCPU, "1"), onNodeNamed(at))
	s.onPod(bound)
	if q := s.index.pods[p.UID]; q.assumed || q.pod != bound || s.index.generation != before {
		t.Errorf("assumed %t, changed %t after the confirmation", q.assumed, s.index.generation != before)
	}
	// The API has the last word on where it is.
	other := map[string]string{"n": "m", "m": "n"}[where(s, p)]
	s.onPod(newPod("p", requests(v1.ResourceCPU, "1"), onNodeNamed(other)))
	if got := where(s, p); got != other {
		t.Errorf("the pod is on %s, not on %s", got, other)
	}
	for _, n := range s.index.nodes {
		if want := map[bool]int64{true: 1000}[n.name == other]; n.requested.cpu != want {
			t.Errorf("%s has %dm requested, want %dm", n.name, n.requested.cpu, want)
		}
	}
}

// TestRoomIsFilled frees room for some of many pods that wait.
func TestRoomIsFilled(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	for i := range 100 {
		s.onPod(newPod(fmt.Sprint("p", i), requests(v1.ResourceCPU, "1")))
	}
	drain(s)
	s.onNode(newNode("n", allocatable(v1.ResourceCPU, "7")))
	drain(s)
	if len(a.bindings) != 7 {
		t.Errorf("%d pods were bound, want 7", len(a.bindings))
	}
	for uid := range s.index.pods {
		s.onPodGone(s.index.pods[uid].pod)
	}
	drain(s)
	if len(a.bindings) != 14 {
		t.Errorf("%d pods were bound, want 14", len(a.bindings))
	}
}

// TestBackOff counts how long a pod that always fails is left alone.
func TestBackOff(t *testing.T) {
	it := &item{}
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		it.attempts++
		it.backOff(testTime)
		if got := it.ready.Sub(testTime); got != want*time.Second {
			t.Errorf("attempt %d: %v, want %v", it.attempts, got, want*time.Second)
		}
	}
}

// TestSpreadEvenly has pods without requests go where there are fewest.
func TestSpreadEvenly(t *testing.T) {
	s, _ := quick(t, newAPI())
	for i := range 300 {
		s.onNode(newNode(fmt.Sprint("n", i)))
	}
	for i := range 900 {
		s.onPod(newPod(fmt.Sprint("p", i)))
	}
	drain(s)
	counts := map[int]int{}
	for _, n := range s.index.nodes {
		counts[len(n.pods)]++
	}
	if diff := cmp.Diff(map[int]int{3: 300}, counts); diff != "" {
		t.Errorf("nodes by number of pods: %s", diff)
	}
}

// TestAntiAffinity puts pods that keep apart onto nodes of their own.
func TestAntiAffinity(t *testing.T) {
	a := newAPI()
	s, clock := quick(t, a)
	for i := range 5 {
		s.onNode(newNode(fmt.Sprint("n", i)))
	}
	for i := range 6 {
		s.onPod(newPod(fmt.Sprint("p", i), label("app", "web"), apart(podTerm_(v1.LabelHostname))))
	}
	drain(s)
	used := map[string]bool{}
	for _, node := range a.bindings {
		used[node] = true
	}
	if len(a.bindings) != 5 || len(used) != 5 {
		t.Fatalf("bindings %v", a.bindings)
	}
	if want := "Warning FailedScheduling Scheduling p5: 0/5 nodes are available: 5 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/5 nodes are available: 5 No preemption victims found for incoming pod."; !slices.Contains(a.events, want) {
		t.Errorf("events %q", a.events)
	}
	s.onPodGone(newPod("p3"))
	clock.Step(time.Second)
	drain(s)
	if where(s, newPod("p5")) == "" {
		t.Error("the pod was not tried again")
	}
}

func TestManyClasses(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	for i := range 10 {
		s.onNode(newNode(fmt.Sprint("n", i), allocatable(v1.ResourceMemory, "1Ti"), allocatable(v1.ResourcePods, "1000")))
	}
	for i := range 1000 {
		s.onPod(newPod(fmt.Sprint("p", i), requests(v1.ResourceMemory, fmt.Sprint(i%500, "Mi"))))
		drain(s)
	}
	if len(a.bindings) != 1000 {
		t.Errorf("%d pods were bound", len(a.bindings))
	}
	cs := &s.queue.classes
	if len(cs.byKey) > classesKept || len(cs.ranked) > rankingsKept || len(cs.idle) != len(cs.byKey) {
		t.Errorf("%d classes, %d idle, %d rankings are kept", len(cs.byKey), len(cs.idle), len(cs.ranked))
	}
}

// TestHeartbeats shows that a node that only says it is alive wakes nobody.
func TestHeartbeats(t *testing.T) {
	s, _ := quick(t, newAPI())
	n := newNode("n")
	s.onNode(n)
	before := s.index.generation
	n = n.DeepCopy()
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(testTime)}}
	n.ResourceVersion = "2"
	s.onNode(n)
	if s.index.generation != before || s.index.byName["n"].obj != n {
		t.Error("a heartbeat counts as a change, or was not taken in")
	}
}

func TestExplain(t *testing.T) {
	s, _ := quick(t, newAPI())
	s.onNode(newNode("a", cordoned, allocatable(v1.ResourceCPU, "0"), taint("x", "1", v1.TaintEffectNoSchedule)))
	s.onNode(newNode("b"))
	p := newPod("p", requests(v1.ResourceCPU, "3"))
	want := []NodeReason{
		{Node: "a", Reasons: []PluginReason{
			{"NodeUnschedulable", "node(s) were unschedulable"},
			{"TaintToleration", "node(s) had untolerated taint(s)"},
			{"NodeResourcesFit", "Insufficient cpu"},
		}},
		{Node: "b", Score: 300 + 61 + 62},
	}
	for range 2 { // the second time, it is on b, and not in its own way
		if diff := cmp.Diff(want, s.Explain(p)); diff != "" {
			t.Error(diff)
		}
		s.onPod(p)
		drain(s)
	}
	if where(s, p) != "b" {
		t.Error("Explain took the pod away")
	}
	if got := s.Explain(&v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("")}}); len(got) != 2 {
		t.Errorf("an empty pod: %v", got)
	}
}
