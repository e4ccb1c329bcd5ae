package informer

import (
	"reflect"

	"clipper/internal/scheme"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/internalinterfaces"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// factory is a SharedInformerFactory whose informers read a Source. What the
// Source does not have falls to the factory below, which asks the API.
type factory struct {
	informers.SharedInformerFactory
	source Source
	rows   map[reflect.Type]*scheme.Resource
	byGVR  func(schema.GroupVersionResource) *scheme.Resource
}

// New returns a factory over a Source. Every informer of a kind is one and the
// same, also for those who ask again. It starts, and waits, as client-go's.
func New(table *scheme.Table, source Source, client kubernetes.Interface) informers.SharedInformerFactory {
	f := &factory{
		SharedInformerFactory: informers.NewSharedInformerFactory(client, 0),
		source:                source,
		rows:                  map[reflect.Type]*scheme.Resource{},
		byGVR:                 table.ByGVR,
	}
	for _, row := range table.Resources() {
		if row.Stored == row && row.Prefix != "" {
			f.rows[reflect.TypeOf(row.New())] = row
		}
	}
	return f
}

// Remote returns a factory that asks the API. Its copies of objects are without
// what nobody on a node reads: who owns which field.
func Remote(client kubernetes.Interface) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutOwners))
}

func withoutOwners(o any) (any, error) {
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// InformerFor implements informers.SharedInformerFactory.
func (f *factory) InformerFor(obj runtime.Object, ask internalinterfaces.NewInformerFunc) cache.SharedIndexInformer {
	row := f.rows[reflect.TypeOf(obj)]
	if row != nil {
		if feed := f.source(row, "", nil, nil); feed != nil {
			return f.SharedInformerFactory.InformerFor(obj, fromFeed(feed, row).new)
		}
	}
	return f.SharedInformerFactory.InformerFor(obj, ask)
}

// ForResource implements informers.SharedInformerFactory.
func (f *factory) ForResource(gvr schema.GroupVersionResource) (informers.GenericInformer, error) {
	row := f.byGVR(gvr)
	if row == nil || row.Stored != row || f.source(row, "", nil, nil) == nil {
		return f.SharedInformerFactory.ForResource(gvr)
	}
	return &generic{f.InformerFor(row.New(), nil), gvr.GroupResource()}, nil
}

type generic struct {
	informer cache.SharedIndexInformer
	resource schema.GroupResource
}

func (g *generic) Informer() cache.SharedIndexInformer { return g.informer }
func (g *generic) Lister() cache.GenericLister {
	return cache.NewGenericLister(g.informer.GetIndexer(), g.resource)
}
