// Package namespace empties namespaces that are being deleted and then lets
// them go: pods first, then all else, then the "kubernetes" finalizer.
//
// A namespace is let go only after a pass in which discovery was whole and
// every listed resource was empty. While objects stay behind (pods that stop,
// finalizers), the controller watches just those resources, for a deletion.
package namespace

import (
	"context"
	"errors"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"

	"clipper/internal/controller"
)

// Config adds the means to reach resources of any kind.
type Config struct {
	controller.Config
	// Discovery lists the namespaced resources; Client's is used if nil.
	Discovery discovery.DiscoveryInterface
	Metadata  metadata.Interface
}

// Controller is the namespace controller.
type Controller struct {
	*controller.Loop[string]
	Config
	namespaces corelisters.NamespaceLister

	mu    sync.Mutex
	waits map[string]context.CancelFunc // by namespace, ends the watches of its remains
}

const workers = 10

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	if c.Discovery == nil {
		c.Discovery = c.Client.Discovery()
	}
	ns := c.Informers.Core().V1().Namespaces()
	n := &Controller{Config: c, namespaces: ns.Lister(), waits: map[string]context.CancelFunc{}}
	n.Loop = controller.NewLoop("namespace-controller", c.Config, workers, n.sync)
	n.Watch(ns.Informer(), controller.On(func(before, now *corev1.Namespace) {
		// What it writes itself while the namespace goes is no news.
		if now != nil && now.DeletionTimestamp != nil && (before == nil || before.DeletionTimestamp == nil) {
			n.Add(now.Name)
		}
	}))
	return n
}

func (n *Controller) sync(ctx context.Context, name string) error {
	n.await(name, nil)
	cached, err := n.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if cached.DeletionTimestamp == nil || !slices.Contains(cached.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return nil
	}
	ns := cached
	if ns.Status.Phase != corev1.NamespaceTerminating {
		// From here on the API server takes no new objects into it.
		ns = ns.DeepCopy()
		ns.Status.Phase = corev1.NamespaceTerminating
		if ns, err = n.Client.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{}); err != nil {
			return controller.IgnoreNotFound(err)
		}
	}
	found := n.empty(ctx, ns)
	if conditions := found.conditions(ns.Status.Conditions, metav1.NewTime(n.Clock.Now())); conditions != nil {
		ns = ns.DeepCopy()
		ns.Status.Conditions = conditions
		if ns, err = n.Client.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{}); err != nil {
			return controller.IgnoreNotFound(err)
		}
	}
	switch {
	case len(found.failures)+len(found.discovery)+len(found.parse) > 0:
		return errors.Join(slices.Concat(found.discovery, found.parse, found.failures)...)
	case len(found.remaining) > 0:
		n.await(name, func(ctx context.Context) {
			for _, r := range found.remaining {
				go n.watch(ctx, name, r)
			}
		})
		return nil
	}
	ns = ns.DeepCopy()
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool {
		return f == corev1.FinalizerKubernetes
	})
	_, err = n.Client.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}
