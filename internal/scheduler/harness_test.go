package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	typedeventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

var testTime = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// stubClient answers what the scheduler writes, and nothing else.
type stubClient struct {
	kubernetes.Interface
	bound   func(namespace, name string, b *v1.Binding) error
	event   func(*eventsv1.Event)
	patched func(name string, patch []byte)
	deleted func(namespace, name string) error
	// stored is told what was written of claims and volumes.
	stored func(what string)
}

func (c *stubClient) CoreV1() typedcorev1.CoreV1Interface       { return stubCore{c: c} }
func (c *stubClient) EventsV1() typedeventsv1.EventsV1Interface { return stubEvents{c: c} }

type stubCore struct {
	typedcorev1.CoreV1Interface
	c *stubClient
}

func (s stubCore) Pods(ns string) typedcorev1.PodInterface { return stubPods{c: s.c, ns: ns} }

func (s stubCore) PersistentVolumeClaims(ns string) typedcorev1.PersistentVolumeClaimInterface {
	return stubClaims{c: s.c, ns: ns}
}

func (s stubCore) PersistentVolumes() typedcorev1.PersistentVolumeInterface {
	return stubVolumes{c: s.c}
}

type stubClaims struct {
	typedcorev1.PersistentVolumeClaimInterface
	c  *stubClient
	ns string
}

func (s stubClaims) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*v1.PersistentVolumeClaim, error) {
	s.c.stored("claim " + s.ns + "/" + name + " " + string(data))
	return nil, nil
}

type stubVolumes struct {
	typedcorev1.PersistentVolumeInterface
	c *stubClient
}

func (s stubVolumes) Update(_ context.Context, v *v1.PersistentVolume, _ metav1.UpdateOptions) (*v1.PersistentVolume, error) {
	s.c.stored("volume " + v.Name + " for " + v.Spec.ClaimRef.Namespace + "/" + v.Spec.ClaimRef.Name)
	return v, nil
}

type stubPods struct {
	typedcorev1.PodInterface
	c  *stubClient
	ns string
}

func (s stubPods) Bind(_ context.Context, b *v1.Binding, _ metav1.CreateOptions) error {
	if s.c.bound == nil {
		return nil
	}
	return s.c.bound(s.ns, b.Name, b)
}

func (s stubPods) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, sub ...string) (*v1.Pod, error) {
	if s.c.patched != nil && len(sub) == 1 && sub[0] == "status" {
		s.c.patched(s.ns+"/"+name, data)
	}
	return nil, nil
}

func (s stubPods) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	if s.c.deleted == nil {
		return nil
	}
	return s.c.deleted(s.ns, name)
}

type stubEvents struct {
	typedeventsv1.EventsV1Interface
	c *stubClient
}

func (s stubEvents) Events(string) typedeventsv1.EventInterface { return stubEventsOf{c: s.c} }

type stubEventsOf struct {
	typedeventsv1.EventInterface
	c *stubClient
}

func (s stubEventsOf) Create(_ context.Context, e *eventsv1.Event, _ metav1.CreateOptions) (*eventsv1.Event, error) {
	if s.c.event != nil {
		s.c.event(e)
	}
	return e, nil
}

func (s stubEventsOf) Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*eventsv1.Event, error) {
	return nil, nil
}

// quick is a scheduler without informers: tests call its handlers.
func quick(t testing.TB, client kubernetes.Interface) (*Scheduler, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(testTime)
	return New(Config{
		Client:    client,
		Informers: informers.NewSharedInformerFactory(fake.NewClientset(), 0),
		Clock:     clock,
		Rand:      rand.New(rand.NewPCG(1, 2)),
		Logger:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}), clock
}

// drain decides on all pods that can be, and waits for the bindings.
func drain(s *Scheduler) {
	for {
		for s.scheduleOne(context.Background()) {
		}
		s.binders.wait()
		s.reporters.wait()
		s.mu.Lock()
		more := len(s.queue.active.items)+len(s.queue.backoff.items) > 0
		s.mu.Unlock()
		if !more {
			return
		}
	}
}

func where(s *Scheduler, pod *v1.Pod) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.index.pods[pod.UID]; p != nil {
		return p.node.name
	}
	return ""
}

type nodeOption func(*v1.Node)

func newNode(name string, options ...nodeOption) *v1.Node {
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU:    resource.MustParse("4"),
			v1.ResourceMemory: resource.MustParse("8Gi"),
			v1.ResourcePods:   resource.MustParse("110"),
		}},
	}
	for _, o := range options {
		o(n)
	}
	return n
}

func allocatable(name v1.ResourceName, amount string) nodeOption {
	return func(n *v1.Node) { n.Status.Allocatable[name] = resource.MustParse(amount) }
}

func nodeLabel(key, value string) nodeOption {
	return func(n *v1.Node) { n.Labels[key] = value }
}

func taint(key, value string, effect v1.TaintEffect) nodeOption {
	return func(n *v1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: key, Value: value, Effect: effect})
	}
}

func cordoned(n *v1.Node) { n.Spec.Unschedulable = true }

func hasImage(name string, size int64) nodeOption {
	return func(n *v1.Node) {
		n.Status.Images = append(n.Status.Images, v1.ContainerImage{Names: []string{name}, SizeBytes: size})
	}
}

type podOption func(*v1.Pod)

func newPod(name string, options ...podOption) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(testTime)},
		Spec: v1.PodSpec{
			SchedulerName: DefaultName,
			Containers:    []v1.Container{{Name: "c", Image: "image:v1"}},
		},
		Status: v1.PodStatus{Phase: v1.PodPending},
	}
	for _, o := range options {
		o(p)
	}
	return p
}

func requests(name v1.ResourceName, amount string) podOption {
	return func(p *v1.Pod) {
		r := &p.Spec.Containers[0].Resources
		if r.Requests == nil {
			r.Requests = v1.ResourceList{}
		}
		r.Requests[name] = resource.MustParse(amount)
	}
}

func label(key, value string) podOption {
	return func(p *v1.Pod) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[key] = value
	}
}

func onNodeNamed(name string) podOption { return func(p *v1.Pod) { p.Spec.NodeName = name } }

func inNamespace(ns string) podOption { return func(p *v1.Pod) { p.Namespace = ns } }

func withPriority(priority int32) podOption { return func(p *v1.Pod) { p.Spec.Priority = &priority } }

func tolerating(t v1.Toleration) podOption {
	return func(p *v1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, t) }
}

func selecting(key, value string) podOption {
	return func(p *v1.Pod) {
		if p.Spec.NodeSelector == nil {
			p.Spec.NodeSelector = map[string]string{}
		}
		p.Spec.NodeSelector[key] = value
	}
}

func hostPortOf(ip string, port int32, protocol v1.Protocol) podOption {
	return func(p *v1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = append(c.Ports, v1.ContainerPort{HostIP: ip, HostPort: port, ContainerPort: port, Protocol: protocol})
	}
}

func affinityOf(a v1.Affinity) podOption { return func(p *v1.Pod) { p.Spec.Affinity = &a } }

func gatedBy(name string) podOption {
	return func(p *v1.Pod) {
		p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, v1.PodSchedulingGate{Name: name})
	}
}

// api is a client that remembers what was written.
type api struct {
	stubClient
	mu       sync.Mutex
	bindings map[string]string
	events   []string
	patches  []string
	deletes  []string
	writes   []string
	refuse   error
}

func newAPI() *api {
	a := &api{bindings: map[string]string{}}
	a.bound = func(ns, name string, b *v1.Binding) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.refuse != nil {
			return a.refuse
		}
		if _, ok := a.bindings[ns+"/"+name]; ok {
			return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, name, fmt.Errorf("bound twice"))
		}
		a.bindings[ns+"/"+name] = b.Target.Name
		return nil
	}
	a.event = func(e *eventsv1.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, fmt.Sprintf("%s %s %s %s: %s", e.Type, e.Reason, e.Action, e.Regarding.Name, e.Note))
	}
	a.patched = func(name string, patch []byte) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.patches = append(a.patches, name+" "+string(patch))
	}
	a.stored = func(what string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.writes = append(a.writes, what)
	}
	a.deleted = func(ns, name string) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.deletes = append(a.deletes, ns+"/"+name)
		return nil
	}
	return a
}
