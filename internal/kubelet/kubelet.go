package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/cgroup"
	"clipper/internal/kubelet/event"
	"clipper/internal/kubelet/image"
	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/node"
	"clipper/internal/kubelet/podspec"
	"clipper/internal/kubelet/refs"
	"clipper/internal/kubelet/volume"
)

// Kubelet is the agent of one node.
type Kubelet struct {
	Config
	spec     *podspec.Node
	node     *node.Node
	host     lifecycle.Host
	events   *event.Recorder
	images   *image.Puller
	tokens   *tokens
	cgroups  cgroup.Hierarchy
	services listers.ServiceLister

	// Set by Run, before anything else uses them.
	ctx     context.Context
	refs    *refs.Store
	volumes *volume.Manager

	ready chan struct{}

	mu     sync.Mutex
	pods   map[types.UID]*actor
	actors sync.WaitGroup
	// claimed is what the pods on the node take of it.
	claimed         map[types.UID]claim
	burstableShares int64
	// Labels and taints of the node's object when it was last read.
	nodeLabels map[string]string
	nodeTaints []v1.Taint
}

// New checks the configuration. It starts nothing.
func New(c Config) (*Kubelet, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.RootDir, 0o750); err != nil {
		return nil, err
	}
	k := &Kubelet{Config: c,
		host:    lifecycle.Host{IPs: c.NodeIPs, Runtime: "clipper"},
		ready:   make(chan struct{}),
		pods:    map[types.UID]*actor{},
		claimed: map[types.UID]claim{},
	}
	if !c.NoCgroups {
		var err error
		if k.cgroups, err = cgroup.Find(); err != nil {
			return nil, fmt.Errorf("cgroups: %w", err)
		}
	}
	k.events = event.New(c.Client, c.NodeName, c.Clock, c.Logger)
	k.setMachine(node.ReadMachine(c.RootDir))
	k.tokens = newTokens(c.Client, c.Clock)
	if c.Informers != nil {
		k.services = c.Informers.Core().V1().Services().Lister()
	}
	return k, nil
}

// setMachine takes what the machine is made of.
func (k *Kubelet) setMachine(m node.Machine) {
	c := &k.Config
	var port int32
	if c.Listener != nil {
		if ap, err := netip.ParseAddrPort(c.Listener.Addr().String()); err == nil {
			port = int32(ap.Port())
		}
	}
	k.node = node.New(node.Config{
		Client: c.Client, Runtime: c.Runtime, Images: c.Images, Events: k.events,
		Name: c.NodeName, Hostname: c.Hostname, IPs: c.NodeIPs, Port: port, PodCIDR: c.PodCIDR,
		Labels: c.Labels, Taints: c.Taints, Version: c.Version, OSImage: c.OSImage,
		MaxPods: c.MaxPods, Reserved: c.Reserved, Pressure: c.Pressure,
		RootDir: c.RootDir, LogDir: c.LogDir, Machine: m,
		Tick: k.tick, Clock: c.Clock, Logger: c.Logger,
	})
	k.nodeLabels, k.nodeTaints = k.node.OwnLabels(), c.Taints
	k.spec = &podspec.Node{
		Name: c.NodeName, Hostname: c.Hostname, IPs: c.NodeIPs,
		ClusterDNS: c.ClusterDNS, ClusterDomain: c.ClusterDomain,
		CgroupRoot: c.CgroupRoot, Unified: m.Unified,
		LogDir: c.LogDir, SeccompDir: filepath.Join(c.RootDir, "seccomp"),
		Allocatable: k.node.Allocatable(), Memory: m.Memory,
	}
	if b, err := os.ReadFile(c.ResolvConf); err == nil {
		k.spec.Resolver = podspec.ParseResolver(string(b))
	}
}

// Ready returns once the node is registered and its pods are looked after.
func (k *Kubelet) Ready(ctx context.Context) error {
	select {
	case <-k.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run looks after the node's pods until ctx ends. Pods run on after that.
func (k *Kubelet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	// Actors end before what they use.
	defer parts.Wait()
	defer k.actors.Wait()
	defer cancel()
	k.ctx = ctx
	k.refs = refs.New(ctx, k.Client, k.Clock)
	k.images = image.New(ctx, image.Config{Client: k.Client, Service: k.Images, Events: k.events, Clock: k.Clock, Changed: k.node.Changed})
	var err error
	k.volumes, err = volume.New(volume.Config{
		Root: filepath.Join(k.RootDir, "pods"), Memory: filepath.Join(k.RootDir, "memory"),
		Clock: k.Clock, Objects: k.refs, Token: k.tokens.get, Claim: k.claim, Image: k.images.Volume, Allocatable: k.spec.Allocatable,
	})
	if err != nil {
		return fmt.Errorf("volumes: %w", err)
	}
	if v, err := k.Runtime.Version(ctx, "v1"); err != nil {
		return fmt.Errorf("container runtime: %w", err)
	} else {
		k.host.Runtime = v.RuntimeName
	}

	failed := make(chan error, 4)
	part := func(name string, f func(context.Context) error) {
		parts.Add(1)
		go func() {
			defer parts.Done()
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		}()
	}
	part("events", func(ctx context.Context) error { k.events.Run(ctx); return nil })

	registered := make(chan struct{})
	part("node", func(ctx context.Context) error { return k.node.Run(ctx, registered) })
	part("server", k.serve)
	if k.Informers != nil {
		nodes := k.Informers.Core().V1().Nodes().Informer()
		seen, err := nodes.AddEventHandler(cache.FilteringResourceEventHandler{
			FilterFunc: func(o any) bool { n := nodeOf(o); return n != nil && n.Name == k.NodeName },
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    func(o any) { k.node.Saw(nodeOf(o)) },
				UpdateFunc: func(_, o any) { k.node.Saw(nodeOf(o)) },
				DeleteFunc: func(o any) { k.node.Removed(nodeOf(o).UID) },
			},
		})
		if err != nil {
			return err
		}
		defer nodes.RemoveEventHandler(seen)
	}

	// From here on nothing that happens in the runtime is missed; what had
	// happened before, the records tell.
	subscribed := make(chan struct{})
	var once sync.Once
	part("runtime events", func(ctx context.Context) error {
		return k.follow(ctx, func() { once.Do(func() { close(subscribed) }) })
	})
	wait := func(c <-chan struct{}) error {
		select {
		case <-c:
			return nil
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(subscribed); err != nil {
		return quiet(ctx, err)
	}
	synced := []cache.DoneChecker{k.Pods.HasSyncedChecker()}
	if k.Informers != nil {
		synced = append(synced, k.Informers.Core().V1().Services().Informer().HasSyncedChecker())
	}
	if !cache.WaitFor(ctx, "", synced...) {
		return nil
	}
	if err := k.adopt(ctx); err != nil {
		return quiet(ctx, err)
	}
	handler, err := k.Pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.podChanged(o) },
		UpdateFunc: func(_, o any) { k.podChanged(o) },
		DeleteFunc: k.podGone,
	})
	if err != nil {
		return err
	}
	defer k.Pods.RemoveEventHandler(handler)
	if err := wait(registered); err != nil {
		return quiet(ctx, err)
	}
	close(k.ready)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// nodeOf returns the node that an informer speaks of, or nil.
func nodeOf(o any) *v1.Node {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	n, _ := o.(*v1.Node)
	return n
}

func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// podChanged hands a new version of a pod to its actor, which it makes if need be.
func (k *Kubelet) podChanged(o any) {
	pod, ok := o.(*v1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.pods[pod.UID]; a != nil {
		a.post(func(s *lifecycle.State) { a.setPod(pod) })
		return
	}
	if k.ctx.Err() == nil {
		k.startLocked(pod, nil)
	}
}

func (k *Kubelet) podGone(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	pod, ok := o.(*v1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.pods[pod.UID]; a != nil {
		a.post(func(s *lifecycle.State) {
			a.setPod(pod)
			s.Gone = true
		})
		// The scheduler counts it no longer, whatever of it still has to stop.
		k.releaseLocked(pod.UID)
	}
}

// startLocked makes the actor of a pod; had is what the runtime knows of it.
func (k *Kubelet) startLocked(pod *v1.Pod, had *record) {
	s := lifecycle.New(pod, k.Clock.Now())
	if had != nil {
		had.restore(k, s)
	} else {
		restoreStatus(s, k.Clock.Now())
	}
	known := k.admitLocked(s, had != nil)
	a := newActor(k, s)
	k.pods[pod.UID] = a
	k.actors.Add(1)
	go func() {
		defer k.actors.Done()
		if !known {
			a.admitByNode()
		}
		a.run()
		k.mu.Lock()
		if k.pods[pod.UID] == a {
			delete(k.pods, pod.UID)
		}
		k.releaseLocked(pod.UID)
		k.mu.Unlock()
	}()
}

// actor returns the actor of a pod, or nil.
func (k *Kubelet) actor(uid types.UID) *actor {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pods[uid]
}

// follow hands the runtime's events to the actors. When the stream breaks it
// begins anew, and the records are read again.
func (k *Kubelet) follow(ctx context.Context, subscribed func()) error {
	const first, most = 100 * time.Millisecond, 10 * time.Second
	delay, again := first, false
	for {
		events := make(chan *runtimeapi.ContainerEventResponse, 64)
		sctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		live := make(chan struct{}, 1)
		go func() {
			done <- k.Runtime.GetContainerEvents(sctx, events, func(runtimeapi.RuntimeService_GetContainerEventsClient) {
				live <- struct{}{}
			})
		}()
		err := func() error {
			defer cancel()
			for {
				select {
				case <-live:
					subscribed()
					delay = first
					if again {
						k.reread(ctx)
					}
				case e := <-events:
					k.runtimeEvent(e)
				case err := <-done:
					return err
				case <-ctx.Done():
					// The stream may be about to hand over one more event.
					go func() {
						for {
							select {
							case <-events:
							case <-done:
								return
							}
						}
					}()
					return nil
				}
			}
		}()
		if ctx.Err() != nil {
			return nil
		}
		again = true
		k.Logger.Warn("stream of runtime events ended", "err", err, "retryIn", delay)
		t := k.Clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		delay = min(2*delay, most)
	}
}

// runtimeEvent tells the pod's actor what became of its containers.
func (k *Kubelet) runtimeEvent(e *runtimeapi.ContainerEventResponse) {
	st := e.PodSandboxStatus
	if st == nil || st.Metadata == nil {
		return
	}
	a := k.actor(types.UID(st.Metadata.Uid))
	if a == nil {
		return
	}
	a.post(func(s *lifecycle.State) {
		told := false
		for _, c := range e.ContainersStatuses {
			told = told || c.Id == e.ContainerId
			a.observe(st.Id, c)
		}
		switch {
		case e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT:
			s.Removed(k.Clock.Now(), e.ContainerId)
		case !told && e.ContainerId != st.Id:
			a.lookUp(st.Id, e.ContainerId)
		}
		if st.State == runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
			s.SandboxDown(st.Id)
		}
	})
}

// servicesOf lists the Services whose variables a pod may get.
func (k *Kubelet) servicesOf(pod *v1.Pod) []*v1.Service {
	if k.services == nil {
		return nil
	}
	list, err := k.services.Services(pod.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	// The lister's order is not one; the variables' should be.
	slices.SortFunc(list, func(a, b *v1.Service) int { return strings.Compare(a.Name, b.Name) })
	if pod.Namespace != v1.NamespaceDefault {
		if api, err := k.services.Services(v1.NamespaceDefault).Get("kubernetes"); err == nil {
			list = append(list, api)
		}
	}
	return list
}
