package controllertest

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	clienttesting "k8s.io/client-go/testing"
)

// Metadata is a metadata client of the same objects.
func (a *API) Metadata() metadata.Interface { return metadataClient{a} }

// Serve makes discovery list the resources, given as plurals; all of them are
// namespaced but those that end in "!".
func (a *API) Serve(plurals ...string) error {
	lists := map[string]*metav1.APIResourceList{}
	for _, p := range plurals {
		namespaced := true
		if p[len(p)-1] == '!' {
			p, namespaced = p[:len(p)-1], false
		}
		gvr, gvk, err := resourceNamed(p)
		if err != nil {
			return err
		}
		gv := gvr.GroupVersion().String()
		if lists[gv] == nil {
			lists[gv] = &metav1.APIResourceList{GroupVersion: gv}
			a.Resources = append(a.Resources, lists[gv])
		}
		lists[gv].APIResources = append(lists[gv].APIResources, metav1.APIResource{
			Name: p, Kind: gvk.Kind, Namespaced: namespaced,
			Verbs: metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
		})
	}
	return nil
}

type metadataClient struct{ api *API }

func (c metadataClient) Resource(gvr schema.GroupVersionResource) metadata.Getter {
	return metadataResource{c.api, gvr, ""}
}

// IsWatchListSemanticsUnSupported tells reflectors to list and then watch.
func (c metadataClient) IsWatchListSemanticsUnSupported() bool { return true }

type metadataResource struct {
	api *API
	gvr schema.GroupVersionResource
	ns  string
}

func (r metadataResource) Namespace(ns string) metadata.ResourceInterface {
	r.ns = ns
	return r
}

func (r metadataResource) Delete(_ context.Context, name string, opts metav1.DeleteOptions, _ ...string) error {
	_, _, err := r.api.remove(clienttesting.NewDeleteActionWithOptions(r.gvr, r.ns, name, opts))
	return err
}

func (r metadataResource) DeleteCollection(ctx context.Context, opts metav1.DeleteOptions, lo metav1.ListOptions) error {
	l, err := r.List(ctx, lo)
	if err != nil {
		return err
	}
	r.api.mu.Lock()
	defer r.api.mu.Unlock()
	r.api.note("deletecollection %s %s", r.gvr.Resource, r.ns)
	for _, o := range l.Items {
		if err := r.api.delete(r.gvr, o.Namespace, o.Name, opts); err != nil {
			return err
		}
	}
	return nil
}

func (r metadataResource) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*metav1.PartialObjectMetadata, error) {
	obj, err := r.api.Tracker().Get(r.gvr, r.ns, name)
	if err != nil {
		return nil, err
	}
	return partial(obj)
}

func (r metadataResource) List(context.Context, metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	_, gvk, err := resourceNamed(r.gvr.Resource)
	if err != nil {
		return nil, err
	}
	list, err := r.api.Tracker().List(r.gvr, gvk, r.ns)
	if err != nil {
		return nil, err
	}
	objs, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	out := &metav1.PartialObjectMetadataList{}
	if lm, err := meta.ListAccessor(list); err == nil {
		out.ResourceVersion = lm.GetResourceVersion()
	}
	for _, obj := range objs {
		p, err := partial(obj)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, *p)
	}
	return out, nil
}

func (r metadataResource) Watch(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := r.api.Tracker().Watch(r.gvr, r.ns, opts)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		p, err := partial(e.Object)
		if err != nil {
			return e, false
		}
		e.Object = p
		return e, true
	}), nil
}

func (r metadataResource) Patch(_ context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, sub ...string) (*metav1.PartialObjectMetadata, error) {
	act := clienttesting.NewPatchSubresourceActionWithOptions(r.gvr, r.ns, name, pt, data, opts, sub...)
	_, obj, err := r.api.patch(act)
	if err != nil {
		return nil, err
	}
	return partial(obj)
}

func partial(obj runtime.Object) (*metav1.PartialObjectMetadata, error) {
	o, ok := obj.(metav1.ObjectMetaAccessor)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", obj)
	}
	gvk, _, err := kindOf(obj)
	if err != nil {
		return nil, err
	}
	m, ok := o.GetObjectMeta().(*metav1.ObjectMeta)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", obj)
	}
	p := &metav1.PartialObjectMetadata{ObjectMeta: *m.DeepCopy()}
	p.SetGroupVersionKind(gvk)
	return p, nil
}
