package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// DefaultName is the scheduler that pods name if they name none.
const DefaultName = v1.DefaultSchedulerName

// Config of a Scheduler. Client and Informers are required.
type Config struct {
	Client kubernetes.Interface
	// Informers gives pods, nodes and namespaces. New registers with it;
	// whoever calls New starts it afterwards.
	Informers informers.SharedInformerFactory
	// Create, if set, creates an object at a path of the API with less ado than
	// Client does: each pod costs two, a binding and an event.
	Create func(ctx context.Context, path string, obj runtime.Object) error
	Clock  clock.WithTicker // the real one by default
	// Rand chooses among nodes of one score; seeded by chance by default.
	Rand   *rand.Rand
	Logger *slog.Logger // the default one by default
	// Name is what pods' spec.schedulerName must say; DefaultName by default.
	Name string
	// Binders bounds the bindings that are under way at once; 64 by default.
	Binders int
}

// Scheduler binds the pods of one scheduler name. It is safe for concurrent use.
type Scheduler struct {
	client     kubernetes.Interface
	direct     func(ctx context.Context, path string, obj runtime.Object) error
	clock      clock.WithTicker
	log        *slog.Logger
	name       string
	instance   string
	namespaces corelisters.NamespaceLister
	// disruptionBudgets are looked at when pods must go to make room.
	disruptionBudgets policylisters.PodDisruptionBudgetLister
	volumes           *volumes
	synced            []cache.DoneChecker
	ready             chan struct{}
	wake              chan struct{}

	binders, reporters *pool

	plugins []plugin
	cluster []clusterPlugin

	mu          sync.Mutex // guards the rest
	index       *index
	queue       *queue
	nominations nominations
	counted     counted
	rng         *rand.Rand
	start       int        // where the next look at a part of the nodes begins
	failures    []*failure // of the last decision that found no node
}

// New returns a scheduler that has registered with the informers.
func New(c Config) *Scheduler {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.Binders == 0 {
		c.Binders = 64
	}
	vols := newVolumes(c.Informers)
	core, budgets := c.Informers.Core().V1(), c.Informers.Policy().V1().PodDisruptionBudgets()
	s := &Scheduler{
		client:     c.Client,
		direct:     c.Create,
		clock:      c.Clock,
		log:        c.Logger,
		name:       c.Name,
		instance:   c.Name,
		namespaces: core.Namespaces().Lister(),

		disruptionBudgets: budgets.Lister(),
		volumes:           vols,

		ready:   make(chan struct{}),
		wake:    make(chan struct{}, 1),
		plugins: profile(),
		cluster: clusterProfile(vols),
		index:   newIndex(),
		queue:   newQueue(),

		nominations: nominations{},

		rng: c.Rand,
	}
	if host, err := os.Hostname(); err == nil {
		s.instance += "-" + host
	}
	s.binders = newPool(c.Binders, 0)
	s.reporters = newPool(2, 16<<10)
	s.follow(core.Nodes().Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.onNode(obj.(*v1.Node)) },
		UpdateFunc: func(_, obj any) { s.onNode(obj.(*v1.Node)) },
		DeleteFunc: func(obj any) { deleted(obj, s.onNodeGone) },
	})
	s.follow(core.Pods().Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.onPod(obj.(*v1.Pod)) },
		UpdateFunc: func(_, obj any) { s.onPod(obj.(*v1.Pod)) },
		DeleteFunc: func(obj any) { deleted(obj, s.onPodGone) },
	})
	s.follow(core.Namespaces().Informer(), cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, obj any) {
			if !maps.Equal(old.(*v1.Namespace).Labels, obj.(*v1.Namespace).Labels) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.helps(nil)
			}
		},
	})
	s.follow(core.PersistentVolumeClaims().Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.onClaim(obj.(*v1.PersistentVolumeClaim)) },
		UpdateFunc: func(_, obj any) { s.onClaim(obj.(*v1.PersistentVolumeClaim)) },
		DeleteFunc: func(obj any) { deleted(obj, s.onClaim) },
	})
	for _, informer := range []cache.SharedIndexInformer{core.PersistentVolumes().Informer(), c.Informers.Storage().V1().StorageClasses().Informer()} {
		s.follow(informer, cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { s.onVolumes() },
			UpdateFunc: func(any, any) { s.onVolumes() },
			DeleteFunc: func(any) { s.onVolumes() },
		})
	}
	s.synced = append(s.synced, budgets.Informer().HasSyncedChecker())
	return s
}

func (s *Scheduler) follow(informer cache.SharedIndexInformer, h cache.ResourceEventHandler) {
	r, err := informer.AddEventHandler(h)
	if err != nil {
		// Only an informer that has been stopped refuses.
		panic(fmt.Sprintf("scheduler: %v", err))
	}
	s.synced = append(s.synced, r.HasSyncedChecker())
}

// deleted calls f with what was deleted, seen or not.
func deleted[T any](obj any, f func(T)) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if o, ok := obj.(T); ok {
		f(o)
	}
}

// Ready returns once pods are being scheduled, or with ctx's error.
func (s *Scheduler) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run schedules pods until ctx ends, and returns nil when the bindings that
// were under way have ended too. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	if !cache.WaitFor(ctx, "", s.synced...) {
		return nil
	}
	close(s.ready)
	defer s.reporters.end()
	defer s.binders.end()
	var timer clock.Timer
	for {
		for ctx.Err() == nil && s.scheduleOne(ctx) {
		}
		s.mu.Lock()
		next := s.queue.next()
		s.mu.Unlock()
		if timer != nil {
			timer.Stop()
			timer = nil
		}
		if !next.IsZero() {
			timer = s.clock.NewTimer(next.Sub(s.clock.Now()))
		}
		select {
		case <-ctx.Done():
			if timer != nil {
				timer.Stop()
			}
			return nil
		case <-s.wake:
		case <-timerC(timer):
		}
	}
}

// poke has Run look at the queue.
func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// namespace gives plugins the labels of a namespace.
func (s *Scheduler) namespace(name string) map[string]string {
	ns, err := s.namespaces.Get(name)
	if err != nil {
		return nil
	}
	return ns.Labels
}

func (s *Scheduler) onNode(obj *v1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.index.setNode(obj); n != nil {
		s.helps(n)
	}
}

func (s *Scheduler) onNodeGone(obj *v1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.removeNode(obj.Name)
	s.queue.wakeClaimants(s.clock.Now(), func(*v1.Pod) bool { return true })
	s.helps(nil)
}

func (s *Scheduler) onPod(pod *v1.Pod) {
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		s.onPodGone(pod)
		return
	}
	if pod.Spec.NodeName != "" {
		if s.confirm(pod) {
			return
		}
		load, terms := loadOf(pod), podTermsOf(pod)
		s.mu.Lock()
		defer s.mu.Unlock()
		before := s.index.pods[pod.UID]
		n := s.index.place(pod, pod.Spec.NodeName, load, terms, false)
		if it := s.queue.items[pod.UID]; it != nil {
			s.dequeue(it)
		}
		// It may have become smaller, or is another one for affinity.
		if n != nil && (before != nil || len(s.queue.coupled) > 0) {
			s.helps(n)
		}
		return
	}
	if pod.Spec.SchedulerName != s.name {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.queue.items[pod.UID]
	if pod.DeletionTimestamp != nil {
		if it != nil {
			s.dequeue(it)
		}
		return
	}
	if p := s.index.pods[pod.UID]; p != nil && p.assumed && it == nil {
		return // bound; this is from before
	}
	was := ""
	if it != nil {
		was = it.pod.Status.NominatedNodeName
	}
	s.queue.set(pod, s.clock.Now())
	// What others nominate counts too, and what was nominated before a restart.
	if is := pod.Status.NominatedNodeName; is != was {
		it = s.queue.items[pod.UID]
		it.told = is
		if it.at != binding {
			s.nominate(it, is)
		}
	}
	s.poke()
}

// confirm takes in that a pod is where it was assumed to be, if nothing else of
// it has changed.
func (s *Scheduler) confirm(pod *v1.Pod) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.index.pods[pod.UID]
	if p == nil || !p.assumed || p.node.name != pod.Spec.NodeName || p.pod.Generation != pod.Generation ||
		pod.DeletionTimestamp != nil || p.pod.DeletionTimestamp != nil || !maps.Equal(p.pod.Labels, pod.Labels) {
		return false
	}
	p.pod, p.assumed = pod, false
	if it := s.queue.items[pod.UID]; it != nil {
		s.dequeue(it)
	}
	return true
}

func (s *Scheduler) onPodGone(pod *v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(pod.UID)
	if it := s.queue.items[pod.UID]; it != nil {
		s.dequeue(it)
	}
}

// forget takes a pod off its node, and tries those that wait for room there.
func (s *Scheduler) forget(uid types.UID) {
	if n := s.index.remove(uid); n != nil {
		s.helps(n)
	}
}

// helps tries the pods again that a change on a node may help. Which those
// are, the filters themselves tell.
func (s *Scheduler) helps(n *node) {
	now := s.clock.Now()
	s.queue.wakeCoupled(now)
	if n != nil && n.obj != nil {
		for c := range s.queue.waiting {
			if c.woken == nil && (s.failureOn(c, n) == nil || s.gives(c, n)) {
				s.queue.wakeClass(c, now)
			}
		}
		// Pods of a class are alike, but for whom room is kept; and if it was
		// lost while it was made, it must be made anew.
		for _, it := range s.nominations[n.name] {
			if it.at == waiting && (s.failureOn(it.class, n) == nil || !makesRoom(n, it.priority)) {
				s.queue.wake(it, backoff, now)
			}
		}
	}
	s.poke()
}

// gives tells whether room can be made on a node for the first of a class's
// waiting pods, unless room is being made already.
func (s *Scheduler) gives(c *class, n *node) bool {
	it := c.waiting.items[0]
	if it.nominated != "" || neverPreempts(it.pod) || !s.index.anyBelow(it.priority) {
		return false
	}
	below := s.below(it, n)
	if len(below) == 0 {
		return false
	}
	_, f := s.victims(it, n, below, nil, nil)
	return f == nil
}

// failureOn returns why a class's pods do not fit a node; nil if they do.
func (s *Scheduler) failureOn(c *class, n *node) *failure {
	for i := range s.plugins {
		p := &s.plugins[i]
		if p.filter == nil || p.skipsFilter != nil && p.skipsFilter(c) {
			continue
		}
		if f := p.filter(c, n); f != nil {
			return f
		}
	}
	return nil
}
