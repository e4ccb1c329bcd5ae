// Package endpoints keeps the legacy Endpoints object of each Service that
// selects pods, and mirrors Endpoints that users write into EndpointSlices.
package endpoints

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controllers are built from.
type Config = controller.Config

// Controller is the Endpoints controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events    record.EventRecorder
	services  corelisters.ServiceLister
	pods      corelisters.PodLister
	endpoints corelisters.EndpointsLister

	mu       sync.Mutex
	triggers map[types.UID]time.Time
}

const (
	workers = 5
	// managedBy tells Endpoints of this controller from those users write.
	managedBy = "endpoints.kubernetes.io/managed-by"
	manager   = "endpoint-controller"

	// many is the number of addresses from which on changes are gathered for
	// a while: the whole object is written each time.
	many   = 100
	gather = time.Second
)

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	core := c.Informers.Core().V1()
	e := &Controller{
		Config: c, events: c.Events.For("endpoint-controller"),
		services: core.Services().Lister(), pods: core.Pods().Lister(), endpoints: core.Endpoints().Lister(),
		triggers: map[types.UID]time.Time{},
	}
	e.Loop = controller.NewLoop("endpoint-controller", c, workers, e.sync)
	e.Watch(core.Services().Informer(), controller.On(func(before, now *corev1.Service) {
		if now == nil {
			e.mu.Lock()
			delete(e.triggers, before.UID)
			e.mu.Unlock()
			now = before
		}
		e.Add(controller.KeyOf(now))
	}))
	e.Watch(core.Pods().Informer(), controller.On(func(before, now *corev1.Pod) {
		controller.ServicesOf(e.services, before, now, e.podsChanged)
	}))
	e.Watch(core.Endpoints().Informer(), controller.On(func(before, now *corev1.Endpoints) {
		if now == nil {
			e.Add(controller.KeyOf(before))
		} else if now.Labels[managedBy] != "" || before != nil && before.Labels[managedBy] != "" {
			e.Add(controller.KeyOf(now))
		}
	}))
	return e
}

func (e *Controller) podsChanged(service controller.Key) {
	have, err := e.endpoints.Endpoints(service.Namespace).Get(service.Name)
	if err == nil && addresses(have) >= many {
		e.AddAfter(service, gather)
		return
	}
	e.Add(service)
}

func addresses(e *corev1.Endpoints) (n int) {
	for i := range e.Subsets {
		n += len(e.Subsets[i].Addresses) + len(e.Subsets[i].NotReadyAddresses)
	}
	return n
}

func (e *Controller) sync(ctx context.Context, key controller.Key) error {
	client := e.Client.CoreV1().Endpoints(key.Namespace)
	s, err := e.services.Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		// Endpoints have no owner to go with.
		have, err := e.endpoints.Endpoints(key.Namespace).Get(key.Name)
		if err != nil || have.Labels[managedBy] != manager {
			return controller.IgnoreNotFound(err)
		}
		return controller.IgnoreNotFound(client.Delete(ctx, key.Name, metav1.DeleteOptions{}))
	}
	if err != nil || !controller.SelectsPods(s) || s.DeletionTimestamp != nil {
		return err
	}
	pods, err := e.pods.Pods(key.Namespace).List(labels.SelectorFromSet(s.Spec.Selector))
	if err != nil {
		return err
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	e.mu.Lock()
	trigger, newest := controller.TriggerTime(s, pods, e.triggers[s.UID])
	e.mu.Unlock()
	want := build(s, pods, trigger)

	have, err := e.endpoints.Endpoints(key.Namespace).Get(key.Name)
	switch {
	case apierrors.IsNotFound(err):
		if _, err = client.Create(ctx, want, metav1.CreateOptions{}); err != nil && controller.IgnoreCreated(err) != nil && ctx.Err() == nil {
			e.events.Eventf(s, corev1.EventTypeWarning, "FailedToCreateEndpoint", "Failed to create endpoint for service %v/%v: %v", key.Namespace, key.Name, err)
		}
		err = controller.IgnoreCreated(err)
	case err != nil:
	case same(have, want):
		return nil
	default:
		annotations := maps.Clone(have.Annotations)
		delete(annotations, corev1.EndpointsOverCapacity)
		if annotations == nil {
			annotations = map[string]string{}
		}
		if trigger.IsZero() {
			delete(annotations, corev1.EndpointsLastChangeTriggerTime)
		}
		maps.Copy(annotations, want.Annotations)
		want.ObjectMeta = have.ObjectMeta
		want.Labels, want.Annotations = labelsOf(s), annotations
		if _, err = client.Update(ctx, want, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && ctx.Err() == nil {
			e.events.Eventf(s, corev1.EventTypeWarning, "FailedToUpdateEndpoint", "Failed to update endpoint %v/%v: %v", key.Namespace, key.Name, err)
		}
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.triggers[s.UID] = newest
	e.mu.Unlock()
	return nil
}

func same(have, want *corev1.Endpoints) bool {
	return maps.Equal(have.Labels, want.Labels) &&
		have.Annotations[corev1.EndpointsOverCapacity] == want.Annotations[corev1.EndpointsOverCapacity] &&
		equality.Semantic.DeepEqual(have.Subsets, want.Subsets)
}

func labelsOf(s *corev1.Service) map[string]string {
	l := maps.Clone(s.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[managedBy] = manager
	delete(l, corev1.IsHeadlessService)
	if controller.Headless(s) {
		l[corev1.IsHeadlessService] = ""
	}
	return l
}
