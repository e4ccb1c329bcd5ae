// Package event writes the node's core/v1 Events: in order, behind the back of
// what they tell of, the same event again counting up the first.
package event

import (
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/lifecycle"
)

const (
	// eventQueue bounds what waits for the API; events beyond it are dropped.
	eventQueue = 1024
	// eventMemory is how many events can still be counted up.
	eventMemory  = 512
	maxEventText = 1024
)

type eventKey struct {
	object                types.UID
	name, path            string
	kind, reason, message string
}

type event struct {
	key eventKey
	ref v1.ObjectReference
	at  metav1.Time
}

type sent struct {
	key         eventKey
	space, name string
	count       int32
	element     *list.Element
}

// Recorder records events for Run to write. Its methods never block; beyond a
// bound, events are dropped.
type Recorder struct {
	client kubernetes.Interface
	clock  clock.Clock
	log    *slog.Logger
	node   string
	queue  chan event

	known map[eventKey]*sent
	order *list.List // oldest use first
	// stamp of the newest event's name; it only grows, so that names differ.
	stamp int64
}

// New returns a Recorder of the named node.
func New(client kubernetes.Interface, node string, clk clock.Clock, log *slog.Logger) *Recorder {
	return &Recorder{client: client, clock: clk, log: log, node: node,
		queue: make(chan event, eventQueue), known: map[eventKey]*sent{}, order: list.New()}
}

// Pod records an event of a pod, or of one of its containers.
func (r *Recorder) Pod(pod *v1.Pod, c *lifecycle.Container, kind, reason, message string) {
	path := ""
	if c != nil {
		list := "containers"
		switch c.Kind {
		case lifecycle.Init, lifecycle.Sidecar:
			list = "initContainers"
		case lifecycle.Ephemeral:
			list = "ephemeralContainers"
		}
		path = "spec." + list + "{" + c.Name + "}"
	}
	r.record(v1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name,
		UID: pod.UID, ResourceVersion: pod.ResourceVersion, FieldPath: path,
	}, kind, reason, message)
}

// Node records an event of the node itself.
func (r *Recorder) Node(kind, reason, message string) {
	r.record(v1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: r.node, UID: types.UID(r.node)}, kind, reason, message)
}

func (r *Recorder) record(ref v1.ObjectReference, kind, reason, message string) {
	if len(message) > maxEventText {
		message = message[:maxEventText]
	}
	e := event{
		key: eventKey{object: ref.UID, name: ref.Name, path: ref.FieldPath, kind: kind, reason: reason, message: message},
		ref: ref,
		at:  metav1.NewTime(r.clock.Now()),
	}
	select {
	case r.queue <- e:
	default:
		r.log.Warn("event dropped, too many wait", "object", ref.Name, "reason", reason)
	}
}

// Run writes what is recorded until ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			if err := r.write(ctx, e); err != nil && ctx.Err() == nil {
				r.log.Debug("event not written", "object", e.ref.Name, "reason", e.key.reason, "err", err)
			}
		}
	}
}

func (r *Recorder) write(ctx context.Context, e event) error {
	space := e.ref.Namespace
	if space == "" {
		space = metav1.NamespaceDefault
	}
	events := r.client.CoreV1().Events(space)
	if s := r.known[e.key]; s != nil {
		r.order.MoveToBack(s.element)
		patch, err := json.Marshal(map[string]any{"count": s.count + 1, "lastTimestamp": e.at})
		if err != nil {
			return err
		}
		_, err = events.Patch(ctx, s.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		if err == nil {
			s.count++
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		r.forget(s)
	}
	r.stamp = max(r.stamp+1, e.at.UnixNano())
	ev := &v1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%x", e.ref.Name, r.stamp),
			Namespace: space,
		},
		InvolvedObject: e.ref,
		Type:           e.key.kind, Reason: e.key.reason, Message: e.key.message,
		Source:              v1.EventSource{Component: "kubelet", Host: r.node},
		ReportingController: "kubelet", ReportingInstance: r.node,
		FirstTimestamp: e.at, LastTimestamp: e.at, Count: 1,
	}
	if _, err := events.Create(ctx, ev, metav1.CreateOptions{}); err != nil {
		return err
	}
	s := &sent{key: e.key, space: space, name: ev.Name, count: 1}
	s.element = r.order.PushBack(s)
	r.known[e.key] = s
	if r.order.Len() > eventMemory {
		r.forget(r.order.Front().Value.(*sent))
	}
	return nil
}

func (r *Recorder) forget(s *sent) {
	r.order.Remove(s.element)
	delete(r.known, s.key)
}
