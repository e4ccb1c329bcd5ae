// Package garbage deletes objects whose owners are gone, and carries out
// deletions that wait for, or let go of, an object's dependents.
//
// It watches the metadata of everything that can be deleted. Feeds of all
// resources write to one graph of owners and dependents; what a change there
// calls for is decided by a pure function of the graph and carried out by
// workers, each write guarded by the uid and version that were judged.
package garbage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config adds the means to reach resources of any kind.
type Config struct {
	controller.Config
	// Discovery lists the resources; Client's is used if nil.
	Discovery discovery.DiscoveryInterface
	Metadata  metadata.Interface
	// Source, if set, gives the list-watch of a resource, of objects whose
	// metadata alone is read, or nil if it has none; Metadata is used then.
	Source func(schema.GroupVersionResource) cache.ListerWatcher
}

// Controller is the garbage collector.
type Controller struct {
	*controller.Loop[task]
	Config

	events record.EventRecorder

	mu    sync.Mutex
	graph graph
	feeds map[schema.GroupVersionResource]*feed
	refs  sync.WaitGroup // of feeds that run
}

const workers = 20

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	if c.Discovery == nil {
		c.Discovery = c.Client.Discovery()
	}
	g := &Controller{
		Config: c, events: c.Events.For("garbage-collector-controller"), feeds: map[schema.GroupVersionResource]*feed{},
		graph: graph{nodes: map[types.UID]*node{}, kinds: map[schema.GroupKind]*resource{}},
	}
	g.Loop = controller.NewLoop("garbage-collector-controller", c.Config, workers, g.sync)
	return g
}

// retryDiscovery is the pause after discovery failed at start.
const retryDiscovery = time.Second

// Run watches all resources and collects garbage until ctx ends.
func (g *Controller) Run(ctx context.Context) error {
	defer g.refs.Wait()
	for {
		err := g.Refresh(ctx)
		if err == nil {
			break
		}
		g.Logger.Error("discovery failed, will retry", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-g.Clock.After(retryDiscovery):
		}
	}
	// Before all is known, what waits for its dependents could seem to have none.
	var synced []cache.DoneChecker
	g.mu.Lock()
	for _, f := range g.feeds {
		synced = append(synced, f)
	}
	g.mu.Unlock()
	if !cache.WaitFor(ctx, "", synced...) {
		return nil
	}
	return g.Loop.Run(ctx)
}

// Refresh watches resources that are new and no longer watches those that are
// gone. It is to be called, once Run has been, when the served resources have
// changed.
func (g *Controller) Refresh(ctx context.Context) error {
	found, err := g.resources()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for gvr, f := range g.feeds {
		if !slices.ContainsFunc(found, func(r *resource) bool { return r.GroupVersionResource == gvr }) {
			f.stop()
			delete(g.feeds, gvr)
			delete(g.graph.kinds, f.resource.kind)
		}
	}
	for _, r := range found {
		if g.feeds[r.GroupVersionResource] == nil {
			g.graph.kinds[r.kind] = r
			g.feeds[r.GroupVersionResource] = g.start(ctx, r)
		}
	}
	g.add(g.graph.unknown()) // of whose kind there may be more to tell now
	return nil
}

// resources lists what can be watched and deleted, in its preferred version.
func (g *Controller) resources() (out []*resource, err error) {
	lists, err := discovery.ServerPreferredResources(g.Discovery)
	var partly *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partly) {
		return nil, err
	}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range l.APIResources {
			gvr := gv.WithResource(r.Name)
			if ignored(gvr.GroupResource()) || !slices.Contains(r.Verbs, "delete") || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "watch") {
				continue
			}
			out = append(out, &resource{gvr, schema.GroupKind{Group: gv.Group, Kind: r.Kind}, r.Namespaced})
		}
	}
	return out, nil
}

// ignored are kinds of short life that nobody owns and that own nothing.
func ignored(r schema.GroupResource) bool {
	return r.Resource == "events" && (r.Group == corev1.GroupName || r.Group == eventsv1.GroupName)
}

func (g *Controller) add(todo []task) {
	for _, t := range todo {
		g.Add(t)
	}
}

func (g *Controller) sync(ctx context.Context, t task) error {
	g.mu.Lock()
	a := g.graph.decide(t)
	r := g.graph.kinds[a.id.kind]
	g.mu.Unlock()
	if a.what == nothing || r == nil {
		return nil
	}
	client := g.client(r, a.id.namespace)
	switch a.what {
	case find:
		if err := g.find(ctx, client, r, a); err != nil {
			return err
		}
		g.Add(t)
		return nil
	case look:
		for _, d := range a.dependents {
			g.Add(task{uid: d.uid})
		}
		return nil
	case remove:
		return g.delete(ctx, client, a)
	case disown:
		return controller.GoneOrChanged(disowned(ctx, client, a.id.name, a.uid, a.owners))
	case unblock:
		if err := g.unblock(ctx, client, a); err != nil {
			return controller.GoneOrChanged(err)
		}
		return controller.ErrNotYet // and deleted once the cache shows it
	case letGo:
		if err := g.letGo(ctx, a); err != nil {
			return err
		}
	}
	return g.release(ctx, client, a)
}

func (g *Controller) client(r *resource, namespace string) metadata.ResourceInterface {
	c := g.Metadata.Resource(r.GroupVersionResource)
	if r.namespaced {
		return c.Namespace(namespace)
	}
	return c
}

// find asks the API whether an object that dependents name exists.
func (g *Controller) find(ctx context.Context, client metadata.ResourceInterface, r *resource, a action) error {
	o, err := client.Get(ctx, a.id.name, metav1.GetOptions{})
	if controller.IgnoreNotFound(err) != nil {
		return err
	}
	found := err == nil && o.UID == a.uid
	if !found {
		g.misplaced(ctx, r, a)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if found {
		g.add(g.graph.observe(r, o))
	} else {
		g.add(g.graph.missed(a.uid, a.id))
	}
	return nil
}

func (g *Controller) delete(ctx context.Context, client metadata.ResourceInterface, a action) error {
	err := client.Delete(ctx, a.id.name, metav1.DeleteOptions{
		PropagationPolicy: &a.policy,
		Preconditions:     &metav1.Preconditions{UID: &a.uid, ResourceVersion: &a.version},
	})
	return controller.IgnoreNotFound(err)
}

// disowned removes owners from an object.
func disowned(ctx context.Context, client metadata.ResourceInterface, name string, uid types.UID, owners []types.UID) error {
	refs := make([]any, 0, len(owners))
	for _, o := range owners {
		refs = append(refs, map[string]any{"$patch": "delete", "uid": o})
	}
	_, err := patch(ctx, client, name, types.StrategicMergePatchType, map[string]any{"uid": uid, "ownerReferences": refs})
	if !apierrors.IsUnsupportedMediaType(err) {
		return err
	}
	return rewriteOwners(ctx, client, name, uid, func(all []metav1.OwnerReference) []metav1.OwnerReference {
		return slices.DeleteFunc(all, func(r metav1.OwnerReference) bool { return slices.Contains(owners, r.UID) })
	})
}

// rewriteOwners replaces an object's owners, also of kinds that know no
// strategic patches.
func rewriteOwners(ctx context.Context, client metadata.ResourceInterface, name string, uid types.UID, f func([]metav1.OwnerReference) []metav1.OwnerReference) error {
	o, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil || o.UID != uid {
		return err
	}
	_, err = patch(ctx, client, name, types.MergePatchType, map[string]any{
		"resourceVersion": o.ResourceVersion, "uid": uid, "ownerReferences": f(slices.Clone(o.OwnerReferences)),
	})
	return err
}

func (g *Controller) unblock(ctx context.Context, client metadata.ResourceInterface, a action) error {
	return rewriteOwners(ctx, client, a.id.name, a.uid, func(all []metav1.OwnerReference) []metav1.OwnerReference {
		for i := range all {
			all[i].BlockOwnerDeletion = new(bool)
		}
		return all
	})
}

// letGo removes an owner from its dependents.
func (g *Controller) letGo(ctx context.Context, a action) error {
	_, err := controller.AllAtOnce(len(a.dependents), func(i int) error {
		d := a.dependents[i]
		g.mu.Lock()
		r := g.graph.kinds[d.id.kind]
		g.mu.Unlock()
		if r == nil {
			return nil // its kind is no longer served
		}
		err := disowned(ctx, g.client(r, d.id.namespace), d.id.name, d.uid, []types.UID{a.uid})
		return controller.GoneOrChanged(err)
	})
	if err != nil {
		return fmt.Errorf("orphan dependents of %s: %w", a.id.name, err)
	}
	return nil
}

// release removes a finalizer that has served.
func (g *Controller) release(ctx context.Context, client metadata.ResourceInterface, a action) error {
	o, err := client.Get(ctx, a.id.name, metav1.GetOptions{})
	if err != nil || o.UID != a.uid || !slices.Contains(o.Finalizers, a.finalizer) {
		return controller.IgnoreNotFound(err)
	}
	_, err = patch(ctx, client, a.id.name, types.MergePatchType, map[string]any{
		"resourceVersion": o.ResourceVersion, "uid": o.UID,
		"finalizers": slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return f == a.finalizer }),
	})
	return controller.IgnoreNotFound(err)
}

func patch(ctx context.Context, client metadata.ResourceInterface, name string, kind types.PatchType, meta map[string]any) (*metav1.PartialObjectMetadata, error) {
	body, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return nil, err
	}
	return client.Patch(ctx, name, kind, body, metav1.PatchOptions{})
}
