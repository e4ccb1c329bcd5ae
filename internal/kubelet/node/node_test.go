package node

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/kubelet/event"
	"clipper/internal/kubelet/fakecri"
)

func newNode(t *testing.T, client *fake.Clientset) (*Node, *clocktesting.FakeClock) {
	c := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	log := slog.New(slog.DiscardHandler)
	return New(Config{
		Client: client, Runtime: fakecri.New(c), Images: fakecri.NewImages(), Events: event.New(client, "n", c, log),
		Name: "n", Hostname: "host", IPs: []string{"1.2.3.4", "fd00::4"}, Port: 10250, PodCIDR: "10.0.0.0/24",
		Labels: map[string]string{"zone": "a"}, Version: "v1.36.3", MaxPods: 110,
		Reserved: v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")}, RootDir: t.TempDir(), LogDir: t.TempDir(),
		Machine: Machine{CPUs: 4, Memory: 8 << 30, Disk: 1 << 40, HugePages: map[string]int64{"2Mi": 1 << 30}, OSImage: "Test"},
		Clock:   c, Logger: log,
	}), c
}

// await waits until get's answer is as wanted; each change of the clock or of
// the API is waited for by a watch.
func await[T any](t *testing.T, w <-chan T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-w:
		case <-deadline:
			t.Fatal("never " + what)
		}
	}
}

func ready(n *v1.Node) *v1.NodeCondition {
	i := slices.IndexFunc(n.Status.Conditions, func(c v1.NodeCondition) bool { return c.Type == v1.NodeReady })
	if i < 0 {
		return nil
	}
	return &n.Status.Conditions[i]
}

func TestLife(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	client := fake.NewSimpleClientset()
	n, clk := newNode(t, client)
	registered, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, registered) }()
	defer func() { cancel(); <-done }()
	<-registered
	get := func() *v1.Node {
		o, err := client.CoreV1().Nodes().Get(ctx, "n", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := get()
	if c := ready(o); c == nil || c.Status != v1.ConditionTrue || c.Reason != "KubeletReady" || c.Message != "kubelet is posting ready status" {
		t.Errorf("ready: %+v", c)
	}
	if o.Labels["kubernetes.io/hostname"] != "host" || o.Labels["zone"] != "a" || o.Spec.PodCIDR != "10.0.0.0/24" ||
		o.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 || len(o.Status.Addresses) != 3 {
		t.Errorf("%+v", o)
	}
	// Huge pages and what is reserved are no memory for pods.
	if m := o.Status.Allocatable[v1.ResourceMemory]; m.Value() != 6<<30 {
		t.Errorf("allocatable memory %v", m.String())
	}

	lease := func() *coordv1.Lease {
		l, err := client.CoordinationV1().Leases("kube-node-lease").Get(ctx, "n", metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return l
	}
	lw, err := client.CoordinationV1().Leases("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, lw.ResultChan(), "leased", func() bool { return lease() != nil })
	first := lease()
	if *first.Spec.LeaseDurationSeconds != 40 || *first.Spec.HolderIdentity != "n" || first.OwnerReferences[0].Name != "n" {
		t.Errorf("%+v", first.Spec)
	}
	await(t, lw.ResultChan(), "renewed", func() bool {
		if clk.HasWaiters() {
			clk.Step(leaseEvery)
		}
		return lease().Spec.RenewTime.After(first.Spec.RenewTime.Time)
	})
	// A lease that somebody deleted comes back.
	if err := client.CoordinationV1().Leases("kube-node-lease").Delete(ctx, "n", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	clk.Step(leaseEvery)
	await(t, lw.ResultChan(), "leased again", func() bool { return lease() != nil })

	// The status is written again after five minutes, though nothing changed.
	nw, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := ready(get()).LastHeartbeatTime
	clk.Step(statusEvery)
	await(t, nw.ResultChan(), "a heartbeat", func() bool { return ready(get()).LastHeartbeatTime.After(before.Time) })
	if since := ready(get()).LastTransitionTime; !since.Equal(&ready(o).LastTransitionTime) {
		t.Errorf("ready since %v", since)
	}
}

// TestRegistersAgain: a node that is there keeps what others set on it.
func TestRegistersAgain(t *testing.T) {
	ctx := context.Background()
	old := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u", Labels: map[string]string{"mine": "yes", "zone": "old"}},
		Spec: v1.NodeSpec{Unschedulable: true}, Status: v1.NodeStatus{Conditions: []v1.NodeCondition{
			{Type: "Foreign", Status: v1.ConditionTrue}, {Type: v1.NodeReady, Status: v1.ConditionUnknown}}}}
	client := fake.NewSimpleClientset(old)
	n, _ := newNode(t, client)
	o, err := n.register(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if o.Labels["mine"] != "yes" || o.Labels["zone"] != "a" || !o.Spec.Unschedulable {
		t.Errorf("%+v", o)
	}
	if c := ready(o); c.Status != v1.ConditionTrue {
		t.Errorf("%+v", c)
	}
	if !slices.ContainsFunc(o.Status.Conditions, func(c v1.NodeCondition) bool { return c.Type == "Foreign" }) {
		t.Error("a condition of others is lost")
	}
}

func TestPressure(t *testing.T) {
	n, clk := newNode(t, fake.NewSimpleClientset())
	n.Pressure = Pressure{Memory: 1 << 60, Disk: 101}
	if p := n.pressed(); !p[v1.NodeMemoryPressure] || !p[v1.NodeDiskPressure] {
		t.Errorf("%v", p)
	}
	n.Pressure = Pressure{}
	clk.Step(pressureFor - time.Second)
	if p := n.pressed(); !p[v1.NodeMemoryPressure] {
		t.Error("relieved too soon")
	}
	clk.Step(2 * time.Second)
	if p := n.pressed(); p[v1.NodeMemoryPressure] || p[v1.NodeDiskPressure] {
		t.Errorf("%v", p)
	}
}

// What somebody else wrote of extended resources stays, and can be allocated.
func TestExtendedResources(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	client := fake.NewSimpleClientset()
	client.PrependReactor("create", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		a.(clienttesting.CreateAction).GetObject().(*v1.Node).ResourceVersion = "1"
		return false, nil, nil
	})
	n, _ := newNode(t, client)
	registered, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, registered) }()
	defer func() { cancel(); <-done }()
	<-registered
	w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	o, err := client.CoreV1().Nodes().Get(ctx, "n", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o = o.DeepCopy()
	o.ResourceVersion = "7"
	o.Status.Capacity["example.com/dongle"] = resource.MustParse("4")
	o.Status.Allocatable["example.com/gone"] = resource.MustParse("1")
	o.Status.Capacity["kubernetes.io/odd"] = resource.MustParse("9")
	if o, err = client.CoreV1().Nodes().UpdateStatus(ctx, o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Saw(o)
	await(t, w.ResultChan(), "allocatable", func() bool {
		if o, err = client.CoreV1().Nodes().Get(ctx, "n", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		q := o.Status.Allocatable["example.com/dongle"]
		return q.Value() == 4
	})
	if q := o.Status.Capacity["example.com/dongle"]; q.Value() != 4 {
		t.Errorf("capacity %v", o.Status.Capacity)
	}
	for _, name := range []v1.ResourceName{"example.com/gone", "kubernetes.io/odd"} {
		if q, ok := o.Status.Allocatable[name]; ok {
			t.Errorf("%s %v is allocatable", name, &q)
		}
	}
}

// A node that somebody deletes stays away, and is looked after again once
// somebody creates it.
func TestDeleted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	client := fake.NewSimpleClientset()
	n, clk := newNode(t, client)
	ticks := make(chan struct{})
	n.Tick = func(context.Context) { ticks <- struct{}{} }
	registered, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, registered) }()
	defer func() { cancel(); <-done }()
	<-registered
	nodes, leases := client.CoreV1().Nodes(), client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	w, err := client.CoordinationV1().Leases("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, w.ResultChan(), "leased", func() bool { _, err := leases.Get(ctx, "n", metav1.GetOptions{}); return err == nil })

	n.Removed("") // the fake gives no UIDs
	if err := nodes.Delete(ctx, "n", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// What the deleted node's object owned goes too.
	if err := leases.Delete(ctx, "n", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 + statusEvery/leaseEvery {
		clk.Step(leaseEvery)
		<-ticks
	}
	if all, _ := nodes.List(ctx, metav1.ListOptions{}); len(all.Items) > 0 {
		t.Error("the node is back")
	}
	if all, _ := leases.List(ctx, metav1.ListOptions{}); len(all.Items) > 0 {
		t.Error("its lease is back")
	}

	again, err := nodes.Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "new", ResourceVersion: "9"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Saw(again)
	await(t, w.ResultChan(), "leased again", func() bool {
		l, err := leases.Get(ctx, "n", metav1.GetOptions{})
		return err == nil && l.OwnerReferences[0].UID == "new"
	})
}
