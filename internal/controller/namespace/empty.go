package namespace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
)

// parallel bounds the requests of one namespace at a time.
const parallel = 8

// found is what one pass over a namespace's content came to.
type found struct {
	discovery, parse, failures []error
	remaining                  []remains
}

// remains are the objects of one resource that are still there.
type remains struct {
	gvr        schema.GroupVersionResource
	version    string // of the list that counted them
	count      int
	finalizers map[string]int // how many objects bear each
}

type resource struct {
	gvr        schema.GroupVersionResource
	collection bool // can be deleted as a collection
}

// resources lists what can live in a namespace and be deleted.
func (n *Controller) resources(f *found) (all []resource) {
	lists, err := discovery.ServerPreferredNamespacedResources(n.Discovery)
	var groups *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &groups):
		for gv, err := range groups.Groups {
			f.discovery = append(f.discovery, fmt.Errorf("%s: %w", gv, err))
		}
		slices.SortFunc(f.discovery, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	case err != nil:
		f.discovery = append(f.discovery, err)
	}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			f.parse = append(f.parse, err)
			continue
		}
		for _, r := range l.APIResources {
			if slices.Contains(r.Verbs, "delete") && slices.Contains(r.Verbs, "list") {
				all = append(all, resource{gv.WithResource(r.Name), slices.Contains(r.Verbs, "deletecollection")})
			}
		}
	}
	return all
}

// empty deletes the namespace's content: its pods, and once they are gone the
// rest, so that nothing a pod stops with is taken from under it (KEP-5080).
func (n *Controller) empty(ctx context.Context, ns *corev1.Namespace) *found {
	f := &found{}
	all := n.resources(f)
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	if i := slices.IndexFunc(all, func(r resource) bool { return r.gvr == pods }); i >= 0 {
		n.delete(ctx, ns.Name, all[i], f, nil)
		if len(f.remaining)+len(f.failures) > 0 {
			return f
		}
		all = slices.Delete(all, i, i+1)
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		slot = make(chan struct{}, parallel)
	)
	for _, r := range all {
		slot <- struct{}{}
		wg.Go(func() {
			n.delete(ctx, ns.Name, r, f, &mu)
			<-slot
		})
	}
	wg.Wait()
	slices.SortFunc(f.remaining, func(a, b remains) int { return cmp.Compare(a.gvr.String(), b.gvr.String()) })
	slices.SortFunc(f.failures, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return f
}

// delete deletes all objects of one resource and notes in f, under mu, what
// is left of them.
func (n *Controller) delete(ctx context.Context, ns string, r resource, f *found, mu sync.Locker) {
	left, err := n.deleteAll(ctx, ns, r)
	if mu != nil {
		mu.Lock()
		defer mu.Unlock()
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
		f.failures = append(f.failures, fmt.Errorf("%s: %w", r.gvr.Resource, err))
	} else if left.count > 0 {
		f.remaining = append(f.remaining, left)
	}
}

func (n *Controller) deleteAll(ctx context.Context, ns string, r resource) (remains, error) {
	client := n.Metadata.Resource(r.gvr).Namespace(ns)
	// Most resources are empty; to know that takes one request, not two.
	l, err := client.List(ctx, metav1.ListOptions{})
	if err != nil || len(l.Items) == 0 {
		return remains{}, err
	}
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	if r.collection {
		err = client.DeleteCollection(ctx, opts, metav1.ListOptions{})
	}
	if !r.collection || apierrors.IsMethodNotSupported(err) {
		for i := range l.Items {
			if err = client.Delete(ctx, l.Items[i].Name, opts); err != nil && !apierrors.IsNotFound(err) {
				break
			}
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return remains{}, err
	}
	if l, err = client.List(ctx, metav1.ListOptions{}); err != nil {
		return remains{}, err
	}
	left := remains{gvr: r.gvr, version: l.ResourceVersion, count: len(l.Items), finalizers: map[string]int{}}
	for i := range l.Items {
		for _, f := range l.Items[i].Finalizers {
			left.finalizers[f]++
		}
	}
	return left, nil
}

// await ends the namespace's watches and, if start is set, starts others.
func (n *Controller) await(ns string, start func(context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cancel := n.waits[ns]; cancel != nil {
		cancel()
		delete(n.waits, ns)
	}
	if start != nil {
		ctx, cancel := context.WithCancel(n.Context())
		n.waits[ns] = cancel
		start(ctx)
	}
}

// retryWatch is the pause after a watch could not be had or was cut.
const retryWatch = 5 * time.Second

// watch has the namespace synced again after the next deletion among what
// remains of one resource.
func (n *Controller) watch(ctx context.Context, ns string, r remains) {
	w, err := n.Metadata.Resource(r.gvr).Namespace(ns).Watch(ctx, metav1.ListOptions{ResourceVersion: r.version})
	if err != nil {
		n.AddAfter(ns, retryWatch)
		return
	}
	defer w.Stop()
	for left := r.count; left > 0; {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.ResultChan():
			switch {
			case !ok || e.Type == watch.Error:
				n.AddAfter(ns, retryWatch)
				return
			case e.Type == watch.Deleted:
				left--
			}
		}
	}
	n.Add(ns)
}
