package scheme

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Table is all the kinds that are served. It never changes once it was made.
type Table struct {
	rows   []*Resource
	groups []Group
	byGVR  map[schema.GroupVersionResource]*Resource
	byGVK  map[schema.GroupVersionKind]*Resource
	kinds  map[schema.GroupVersionKind]func() runtime.Object
}

// Group is one API group with the versions that serve it, preferred first.
type Group struct {
	Name     string
	Versions []string
}

// New returns the table of every built-in kind.
func New() *Table {
	return newTable(slices.Concat(
		coreRows(), apiregistrationRows(), appsRows(), eventsRows(), authenticationRows(), authorizationRows(),
		autoscalingRows(), batchRows(), certificatesRows(), networkingRows(), policyRows(), rbacRows(),
		storageRows(), admissionRegistrationRows(), apiextensionsRows(), schedulingRows(), coordinationRows(),
		nodeRows(), discoveryRows(), resourceRows(), flowcontrolRows(),
	))
}

// newTable indexes the rows. The order of groups and versions is theirs. The
// Stored row of a kind that is served again must be among them.
func newTable(rows []*Resource) *Table {
	t := &Table{
		rows:  rows,
		byGVR: make(map[schema.GroupVersionResource]*Resource, len(rows)),
		byGVK: make(map[schema.GroupVersionKind]*Resource, len(rows)),
		kinds: subresourceKinds(),
	}
	for _, r := range rows {
		t.byGVR[r.GroupVersionResource()] = r
		t.byGVK[r.GroupVersionKind()] = r
		g := slices.IndexFunc(t.groups, func(g Group) bool { return g.Name == r.Group })
		if g < 0 {
			g = len(t.groups)
			t.groups = append(t.groups, Group{Name: r.Group})
		}
		if !slices.Contains(t.groups[g].Versions, r.Version) {
			t.groups[g].Versions = append(t.groups[g].Versions, r.Version)
		}
	}
	for _, r := range rows {
		if r.Stored.Group == r.Group && r.Stored.Version == r.Version {
			continue
		}
		// A row names its stored row by what it is; here it becomes the one of
		// this table.
		if stored := t.byGVR[r.Stored.GroupVersionResource()]; stored != nil {
			r.Stored = stored
		}
	}
	return t
}

// Validated returns the table without the kinds that lack validation rules.
func (t *Table) Validated() *Table {
	return newTable(slices.DeleteFunc(slices.Clone(t.rows), func(r *Resource) bool { return r.Unvalidated }))
}

// Resources returns every row, in the order of groups. It is not to be changed.
func (t *Table) Resources() []*Resource { return t.rows }

// Groups returns the API groups in the order of preference, core ("") first.
// It is not to be changed.
func (t *Table) Groups() []Group { return t.groups }

// ByGVR returns the row of a resource, or nil.
func (t *Table) ByGVR(gvr schema.GroupVersionResource) *Resource { return t.byGVR[gvr] }

// ByKind returns the row of a kind, or nil, also when the kind is only that of
// a subresource.
func (t *Table) ByKind(gvk schema.GroupVersionKind) *Resource { return t.byGVK[gvk] }

// ByPath returns the row that a path such as /apis/GROUP/VERSION/PLURAL means,
// or nil.
func (t *Table) ByPath(group, version, plural string) *Resource {
	return t.byGVR[schema.GroupVersionResource{Group: group, Version: version, Resource: plural}]
}

// Preferred returns the row of a resource in the version its group prefers
// among those that serve it, or nil.
func (t *Table) Preferred(gr schema.GroupResource) *Resource {
	for _, g := range t.groups {
		if g.Name != gr.Group {
			continue
		}
		for _, v := range g.Versions {
			if r := t.byGVR[gr.WithVersion(v)]; r != nil {
				return r
			}
		}
	}
	return nil
}

// NewObject returns an empty object of any kind that a path reads or writes,
// those of subresources (Scale, Eviction, TokenRequest, ...) included, or nil.
func (t *Table) NewObject(gvk schema.GroupVersionKind) runtime.Object {
	if r := t.byGVK[gvk]; r != nil {
		return r.New()
	}
	if f := t.kinds[gvk]; f != nil {
		return f()
	}
	return nil
}

// Verbs, sorted, as discovery lists them.
var (
	everyVerb  = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	createOnly = []string{"create"}
	readWrite  = []string{"get", "patch", "update"}
	connect    = []string{"create", "get"}
	proxyVerbs = []string{"create", "delete", "get", "patch", "update"}
)

var (
	scaleKind        = schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	evictionKind     = schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "Eviction"}
	tokenRequestKind = schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest"}
)

func status() Subresource { return Subresource{Name: "status", Verbs: readWrite} }

func scale() Subresource { return Subresource{Name: "scale", Kind: scaleKind, Verbs: readWrite} }

func coreKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: corev1.SchemeGroupVersion.Version, Kind: kind}
}

// typed returns a maker of objects of a kind that has no row.
func typed[T any, PT pointer[T]](gvk schema.GroupVersionKind) (schema.GroupVersionKind, func() runtime.Object) {
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	return gvk, func() runtime.Object {
		o := PT(new(T))
		setType(o, apiVersion, kind)
		return o
	}
}

// metaKind is a kind of apimachinery itself, which every group version knows.
func metaKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: metav1.SchemeGroupVersion.Version, Kind: kind}
}
