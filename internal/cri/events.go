package cri

import (
	"context"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// events passes changes on to all who listen. A listener's queue is as long as
// it must be: an event is never lost, and nobody waits for a listener.
type events struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
}

type listener struct {
	wake  chan struct{}
	queue []*runtimeapi.ContainerEventResponse
}

func newEvents() *events { return &events{listeners: map[*listener]struct{}{}} }

func (e *events) send(ev *runtimeapi.ContainerEventResponse) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		l.queue = append(l.queue, ev)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// GetContainerEvents sends what happens to sandboxes and containers from now on
// until ctx ends. The callback is called once events are no longer missed; its
// argument is nil, as there is no connection.
func (r *Runtime) GetContainerEvents(ctx context.Context, ch chan *runtimeapi.ContainerEventResponse, established func(runtimeapi.RuntimeService_GetContainerEventsClient)) error {
	l := &listener{wake: make(chan struct{}, 1)}
	r.events.mu.Lock()
	r.events.listeners[l] = struct{}{}
	r.events.mu.Unlock()
	defer func() {
		r.events.mu.Lock()
		delete(r.events.listeners, l)
		r.events.mu.Unlock()
	}()
	if established != nil {
		established(nil)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wake:
		}
		r.events.mu.Lock()
		queue := l.queue
		l.queue = nil
		r.events.mu.Unlock()
		for _, ev := range queue {
			select {
			case ch <- ev:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// tell sends an event about a container, or about a sandbox when the ID is its
// own, with the whole pod as it is now. The caller holds r.mu.
func (r *Runtime) tell(id string, kind runtimeapi.ContainerEventType, s *sandbox) {
	r.events.send(&runtimeapi.ContainerEventResponse{
		ContainerId:        id,
		ContainerEventType: kind,
		CreatedAt:          r.clock.Now().UnixNano(),
		PodSandboxStatus:   s.status(),
		ContainersStatuses: s.containerStatuses(),
	})
}
