package system

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
)

// objects is the watch cache as authentication, authorisation and admission
// look things up in it.
type objects struct {
	cache *cache.Cache
	rows  map[schema.GroupResource]*scheme.Resource
}

func newObjects(c *cache.Cache, t *scheme.Table) *objects {
	o := &objects{cache: c, rows: map[schema.GroupResource]*scheme.Resource{}}
	for _, row := range t.Resources() {
		if row.Stored == row {
			o.rows[row.GroupResource()] = row
		}
	}
	return o
}

func (o *objects) listWatch(resource schema.GroupResource, namespace string, field fields.Selector) *cache.ListWatch {
	row := o.rows[resource]
	if row == nil {
		return nil
	}
	return o.cache.ListWatch(row, namespace, nil, field)
}

// Object returns one object, or nil.
func (o *objects) Object(resource schema.GroupResource, namespace, name string) metav1.Object {
	return o.cache.Object(resource, namespace, name)
}

// Objects returns all objects of a namespace, or of the cluster if it is empty.
func (o *objects) Objects(resource schema.GroupResource, namespace string) []runtime.Object {
	lw := o.listWatch(resource, namespace, nil)
	if lw == nil {
		return nil
	}
	all, _, err := lw.List()
	if err != nil {
		return nil // only a row that is converted can fail, and none is here
	}
	return all
}

// Await returns an object as soon as it exists, or nil when ctx ends.
func (o *objects) Await(ctx context.Context, resource schema.GroupResource, namespace, name string) metav1.Object {
	lw := o.listWatch(resource, namespace, fields.OneTermEqualSelector("metadata.name", name))
	if lw == nil {
		return nil
	}
	for ctx.Err() == nil {
		all, revision, err := lw.List()
		if err != nil {
			return nil
		}
		if len(all) > 0 {
			found, _ := all[0].(metav1.Object)
			return found
		}
		w, err := lw.Watch(revision)
		if err != nil {
			continue // the revision is too old already
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
		}
		w.Stop()
	}
	return nil
}

// PodsOn returns the pods that are bound to a node.
func (o *objects) PodsOn(node string) []*corev1.Pod {
	lw := o.listWatch(schema.GroupResource{Resource: "pods"}, "", fields.OneTermEqualSelector("spec.nodeName", node))
	if lw == nil {
		return nil
	}
	all, _, err := lw.List()
	if err != nil {
		return nil
	}
	pods := make([]*corev1.Pod, 0, len(all))
	for _, obj := range all {
		if p, ok := obj.(*corev1.Pod); ok {
			pods = append(pods, p)
		}
	}
	return pods
}
