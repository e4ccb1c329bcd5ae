// Package endpointslice lists the pods behind each Service in EndpointSlices.
//
// A Service's endpoints are computed whole from the caches; Pack turns what is
// there into what should be with few writes.
package endpointslice

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the EndpointSlice controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events   record.EventRecorder
	services corelisters.ServiceLister
	pods     corelisters.PodLister
	nodes    corelisters.NodeLister
	slices   cache.Indexer
	writer   Writer

	mu       sync.Mutex
	triggers map[types.UID]time.Time // by Service, the last time its endpoints changed
}

const (
	managedBy = "endpointslice-controller.k8s.io"
	workers   = 5
)

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	core := c.Informers.Core().V1()
	slices := c.Informers.Discovery().V1().EndpointSlices().Informer()
	e := &Controller{
		Config: c, events: c.Events.For("endpoint-slice-controller"),
		services: core.Services().Lister(), pods: core.Pods().Lister(), nodes: core.Nodes().Lister(),
		slices: Index(slices), writer: Writer{c.Client, controller.NewPending(c.Clock)},
		triggers: map[types.UID]time.Time{},
	}
	e.Loop = controller.NewLoop("endpointslice-controller", c, workers, e.sync)
	e.Watch(core.Services().Informer(), controller.On(e.serviceChanged))
	e.Watch(core.Pods().Informer(), controller.On(func(before, now *corev1.Pod) {
		controller.ServicesOf(e.services, before, now, e.podsChanged)
	}))
	e.Watch(slices, controller.On(func(before, now *discoveryv1.EndpointSlice) {
		e.writer.Saw(before, now, managedBy, e.Add)
	}))
	e.Watch(core.Nodes().Informer(), controller.On(e.nodeChanged))
	return e
}

func (e *Controller) podsChanged(service controller.Key) {
	n := 0
	for _, s := range Of(e.slices, service, managedBy) {
		n += len(s.Endpoints)
	}
	e.AddAfter(service, controller.Gather(n))
}

func (e *Controller) serviceChanged(before, now *corev1.Service) {
	if now == nil {
		e.writer.Pending.Forget(before.UID)
		e.mu.Lock()
		delete(e.triggers, before.UID)
		e.mu.Unlock()
		return
	}
	e.Add(controller.KeyOf(now))
}

// nodeChanged resyncs all Services when a node comes, goes or moves to another
// zone, all of which are rare.
func (e *Controller) nodeChanged(before, now *corev1.Node) {
	if before != nil && now != nil && before.Labels[corev1.LabelTopologyZone] == now.Labels[corev1.LabelTopologyZone] {
		return
	}
	all, _ := e.services.List(labels.Everything())
	for _, s := range all {
		if controller.SelectsPods(s) {
			e.Add(controller.KeyOf(s))
		}
	}
}

func (e *Controller) sync(ctx context.Context, key controller.Key) error {
	s, err := e.services.Services(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err) // the slices go with their owner
	}
	if !controller.SelectsPods(s) || s.DeletionTimestamp != nil {
		return nil
	}
	if wait := e.writer.Pending.Wait(s.UID); wait > 0 {
		e.AddAfter(key, wait)
		return nil
	}
	pods, err := e.pods.Pods(key.Namespace).List(labels.SelectorFromSet(s.Spec.Selector))
	if err != nil {
		return err
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	e.mu.Lock()
	trigger, newest := controller.TriggerTime(s, pods, e.triggers[s.UID])
	e.mu.Unlock()

	w := wanted{service: s, node: e.nodes.Get, zones: map[string]*string{}}
	changes := Pack(like(s, trigger), families(s), w.groups(pods), Of(e.slices, key, managedBy))
	if err := e.writer.Apply(ctx, s, changes); err != nil {
		if controller.NamespaceEnds(err) {
			return nil
		}
		if ctx.Err() == nil && !conflict(err) {
			e.events.Eventf(s, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices",
				"Error updating Endpoint Slices for Service %s/%s: %v", s.Namespace, s.Name, err)
		}
		return err
	}
	e.mu.Lock()
	e.triggers[s.UID] = newest
	e.mu.Unlock()
	return nil
}

// reserved are the labels that a Service does not hand down.
var reserved = map[string]bool{
	discoveryv1.LabelServiceName: true, discoveryv1.LabelManagedBy: true, corev1.IsHeadlessService: true,
}

// like returns what all slices of a Service have in common.
func like(s *corev1.Service, trigger time.Time) *discoveryv1.EndpointSlice {
	l := map[string]string{discoveryv1.LabelServiceName: s.Name, discoveryv1.LabelManagedBy: managedBy}
	for k, v := range s.Labels {
		if !reserved[k] {
			l[k] = v
		}
	}
	if controller.Headless(s) {
		l[corev1.IsHeadlessService] = ""
	}
	out := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		GenerateName: s.Name + "-", Namespace: s.Namespace, Labels: l,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s, corev1.SchemeGroupVersion.WithKind("Service"))},
	}}
	if !trigger.IsZero() {
		out.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: trigger.UTC().Format(time.RFC3339Nano)}
	}
	return out
}

func families(s *corev1.Service) (out []discoveryv1.AddressType) {
	for _, f := range s.Spec.IPFamilies {
		out = append(out, discoveryv1.AddressType(f))
	}
	if len(out) == 0 {
		out = append(out, discoveryv1.AddressTypeIPv4)
	}
	return out
}

// Writer applies Changes; Pending knows the slices it made and that the cache
// has not shown.
type Writer struct {
	Client  kubernetes.Interface
	Pending *controller.Pending
}

// Saw takes note of what the cache shows and calls add with the key of the
// slice's Service, if the slice is the manager's.
func (w Writer) Saw(before, now *discoveryv1.EndpointSlice, manager string, add func(controller.Key)) {
	s := now
	if s == nil {
		s = before
	}
	if before == nil {
		if ref := metav1.GetControllerOfNoCopy(s); ref != nil {
			w.Pending.Created(ref.UID)
		}
	}
	if s.Labels[discoveryv1.LabelManagedBy] == manager || before != nil && before.Labels[discoveryv1.LabelManagedBy] == manager {
		add(controller.Key{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]})
		if before != nil && before.Labels[discoveryv1.LabelServiceName] != s.Labels[discoveryv1.LabelServiceName] {
			add(controller.Key{Namespace: s.Namespace, Name: before.Labels[discoveryv1.LabelServiceName]})
		}
	}
}

// Apply makes the changes, on behalf of the slices' owner.
func (w Writer) Apply(ctx context.Context, owner metav1.Object, c Changes) error {
	client := w.Client.DiscoveryV1().EndpointSlices(owner.GetNamespace())
	_, err1 := controller.AllAtOnce(len(c.Create), func(i int) error {
		w.Pending.Create(owner.GetUID(), 1)
		_, err := client.Create(ctx, c.Create[i], metav1.CreateOptions{})
		if err != nil {
			w.Pending.Create(owner.GetUID(), -1)
		}
		return err
	})
	_, err2 := controller.AllAtOnce(len(c.Update), func(i int) error {
		_, err := client.Update(ctx, c.Update[i], metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			err = nil // its deletion is told of yet, and brings the Service back here
		}
		return err
	})
	_, err3 := controller.AllAtOnce(len(c.Delete), func(i int) error {
		s := c.Delete[i]
		err := client.Delete(ctx, s.Name, *metav1.NewPreconditionDeleteOptions(string(s.UID)))
		return controller.GoneOrChanged(err)
	})
	return errors.Join(err1, err2, err3)
}
