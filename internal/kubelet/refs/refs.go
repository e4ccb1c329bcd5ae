// Package refs keeps the ConfigMaps and Secrets that the node's pods refer to,
// each by one watch of that object alone for as long as a pod refers to it, so
// that a change reaches the pods at once and a node reads nothing else.
package refs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Kind of a referenced object.
type Kind string

const (
	ConfigMap Kind = "configmap"
	Secret    Kind = "secret"
)

// Key names a referenced object.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Store holds the objects. It is safe for concurrent use.
type Store struct {
	client kubernetes.Interface
	clock  clock.Clock
	ctx    context.Context

	mu      sync.Mutex
	entries map[Key]*entry
	holders map[types.UID]*holder
}

type holder struct {
	keys   map[Key]bool
	notify func()
}

type entry struct {
	cancel context.CancelFunc
	// synced is closed when the object's state is known for the first time.
	synced chan struct{}
	known  bool
	users  map[types.UID]bool
	object runtime.Object // nil: it does not exist
	err    error          // why the state is not known
}

// New returns an empty Store whose watches end with ctx.
func New(ctx context.Context, client kubernetes.Interface, clk clock.Clock) *Store {
	return &Store{ctx: ctx, client: client, clock: clk,
		entries: map[Key]*entry{}, holders: map[types.UID]*holder{}}
}

// Of lists the ConfigMaps and Secrets that a pod's containers and volumes refer to.
func Of(pod *v1.Pod) map[Key]bool {
	keys := map[Key]bool{}
	add := func(k Kind, name string) {
		if name != "" {
			keys[Key{k, pod.Namespace, name}] = true
		}
	}
	container := func(env []v1.EnvVar, from []v1.EnvFromSource) {
		for _, f := range from {
			if f.ConfigMapRef != nil {
				add(ConfigMap, f.ConfigMapRef.Name)
			}
			if f.SecretRef != nil {
				add(Secret, f.SecretRef.Name)
			}
		}
		for _, e := range env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				add(ConfigMap, r.Name)
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				add(Secret, r.Name)
			}
		}
	}
	for _, c := range pod.Spec.InitContainers {
		container(c.Env, c.EnvFrom)
	}
	for _, c := range pod.Spec.Containers {
		container(c.Env, c.EnvFrom)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		container(c.Env, c.EnvFrom)
	}
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			add(ConfigMap, v.ConfigMap.Name)
		case v.Secret != nil:
			add(Secret, v.Secret.SecretName)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					add(ConfigMap, s.ConfigMap.Name)
				}
				if s.Secret != nil {
					add(Secret, s.Secret.Name)
				}
			}
		}
	}
	return keys
}

// Hold keeps the objects the pod refers to until Release; notify is called,
// from any goroutine and not too long, after one of them changed. Calling it
// again replaces what the pod holds.
func (s *Store) Hold(pod *v1.Pod, notify func()) {
	keys := Of(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holders[pod.UID]
	if h == nil {
		if len(keys) == 0 {
			return
		}
		h = &holder{}
		s.holders[pod.UID] = h
	}
	old := h.keys
	h.keys, h.notify = keys, notify
	for k := range keys {
		e := s.entries[k]
		if e == nil {
			ctx, cancel := context.WithCancel(s.ctx)
			e = &entry{cancel: cancel, synced: make(chan struct{}), users: map[types.UID]bool{}}
			s.entries[k] = e
			go s.follow(ctx, k, e)
		}
		e.users[pod.UID] = true
	}
	for k := range old {
		if !keys[k] {
			s.dropLocked(k, pod.UID)
		}
	}
}

// Release ends what Hold began.
func (s *Store) Release(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holders[uid]; h != nil {
		delete(s.holders, uid)
		for k := range h.keys {
			s.dropLocked(k, uid)
		}
	}
}

func (s *Store) dropLocked(k Key, uid types.UID) {
	e := s.entries[k]
	if e == nil {
		return
	}
	if delete(e.users, uid); len(e.users) == 0 {
		e.cancel()
		delete(s.entries, k)
	}
}

// Wait returns once the state of all that the pod holds is known.
func (s *Store) Wait(ctx context.Context, uid types.UID) error {
	s.mu.Lock()
	var list []*entry
	if h := s.holders[uid]; h != nil {
		for k := range h.keys {
			list = append(list, s.entries[k])
		}
	}
	s.mu.Unlock()
	for _, e := range list {
		select {
		case <-e.synced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ConfigMap returns a held ConfigMap; it is shared and not to be changed.
func (s *Store) ConfigMap(namespace, name string) (*v1.ConfigMap, error) {
	o, err := s.get(Key{ConfigMap, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.ConfigMap), nil
}

// Secret returns a held Secret; it is shared and not to be changed.
func (s *Store) Secret(namespace, name string) (*v1.Secret, error) {
	o, err := s.get(Key{Secret, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.Secret), nil
}

func (s *Store) get(k Key) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	switch {
	case e == nil || !e.known:
		if e != nil && e.err != nil {
			return nil, e.err
		}
		return nil, fmt.Errorf("%s %q is not known yet", k.Kind, k.Name)
	case e.object == nil:
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: string(k.Kind)}, k.Name)
	}
	return e.object, nil
}

// set stores a new state and tells those who hold the object.
func (s *Store) set(k Key, e *entry, o runtime.Object, err error) {
	s.mu.Lock()
	if s.entries[k] != e {
		s.mu.Unlock()
		return
	}
	first := !e.known && e.err == nil
	changed := false
	if err != nil {
		// What is known stays in use while the API does not answer.
		e.err = err
	} else {
		changed = !e.known || !same(e.object, o)
		e.object, e.known, e.err = o, true, nil
	}
	var notify []func()
	if changed && !first {
		for uid := range e.users {
			if h := s.holders[uid]; h != nil {
				notify = append(notify, h.notify)
			}
		}
	}
	if first {
		close(e.synced)
	}
	s.mu.Unlock()
	for _, f := range notify {
		f()
	}
}

func same(a, b runtime.Object) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	x, y := a.(metav1.Object), b.(metav1.Object)
	return x.GetUID() == y.GetUID() && x.GetResourceVersion() == y.GetResourceVersion() && x.GetResourceVersion() != ""
}

// follow lists and watches one object until ctx ends.
func (s *Store) follow(ctx context.Context, k Key, e *entry) {
	const first, most = 100 * time.Millisecond, 30 * time.Second
	delay := first
	for ctx.Err() == nil {
		err := s.followOnce(ctx, k, e, func() { delay = first })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, errGone) {
			s.set(k, e, nil, fmt.Errorf("failed to get %s %q: %w", k.Kind, k.Name, err))
		}
		t := s.clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
		}
		delay = min(2*delay, most)
	}
}

var errGone = errors.New("watch cannot go on")

func (s *Store) followOnce(ctx context.Context, k Key, e *entry, healthy func()) error {
	opts := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", k.Name).String()}
	object, version, err := s.list(ctx, k, opts)
	if err != nil {
		return err
	}
	healthy()
	s.set(k, e, object, nil)
	opts.ResourceVersion = version
	w, err := s.watch(ctx, k, opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			m, isObject := ev.Object.(metav1.Object)
			switch {
			case ev.Type == watch.Error:
				return errGone
			case !isObject || m.GetName() != k.Name || ev.Type == watch.Bookmark:
			case ev.Type == watch.Deleted:
				s.set(k, e, nil, nil)
			default:
				s.set(k, e, ev.Object, nil)
			}
		}
	}
}

func (s *Store) list(ctx context.Context, k Key, opts metav1.ListOptions) (runtime.Object, string, error) {
	switch k.Kind {
	case ConfigMap:
		l, err := s.client.CoreV1().ConfigMaps(k.Namespace).List(ctx, opts)
		if err != nil {
			return nil, "", err
		}
		for i := range l.Items {
			if l.Items[i].Name == k.Name {
				return &l.Items[i], l.ResourceVersion, nil
			}
		}
		return nil, l.ResourceVersion, nil
	default:
		l, err := s.client.CoreV1().Secrets(k.Namespace).List(ctx, opts)
		if err != nil {
			return nil, "", err
		}
		for i := range l.Items {
			if l.Items[i].Name == k.Name {
				return &l.Items[i], l.ResourceVersion, nil
			}
		}
		return nil, l.ResourceVersion, nil
	}
}

func (s *Store) watch(ctx context.Context, k Key, opts metav1.ListOptions) (watch.Interface, error) {
	if k.Kind == ConfigMap {
		return s.client.CoreV1().ConfigMaps(k.Namespace).Watch(ctx, opts)
	}
	return s.client.CoreV1().Secrets(k.Namespace).Watch(ctx, opts)
}
