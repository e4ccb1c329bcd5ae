// Package ownership keeps track of which manager owns which field of an
// object (metadata.managedFields), and merges what managers apply: server-side
// apply, as KEP-555 describes it.
//
// Only objects that were applied once are tracked: until then a write leaves
// no mark, and at the first apply all that is there belongs to
// "before-first-apply". The schemas that merging needs are costly, so they are
// made when something is first applied or tracked.
package ownership

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"clipper/internal/scheme"
)

// Tracker tracks the fields of the table's kinds. It is safe for concurrent use.
type Tracker struct {
	table    *scheme.Table
	types    func() managedfields.TypeConverter
	mu       sync.Mutex
	managers map[managerKey]*managedfields.FieldManager
}

type managerKey struct {
	kind        schema.GroupVersionKind
	subresource string
}

// New returns a Tracker; it costs nothing until it is used.
func New(table *scheme.Table) *Tracker {
	return &Tracker{
		table: table,
		types: sync.OnceValue(func() managedfields.TypeConverter {
			return applyconfigurations.NewTypeConverter(clientscheme.Scheme)
		}),
		managers: make(map[managerKey]*managedfields.FieldManager),
	}
}

// Apply merges the configuration (YAML or JSON) of a manager into live and
// returns the new object; live, which is of the row's version, is not changed.
// To create an object, live is r.New(). Warnings are about duplicate
// fields under Warn. Errors: a conflict with causes that name the
// fields and their owners, unless forced; a bad request.
func (t *Tracker) Apply(r *scheme.Resource, subresource string, live runtime.Object, config []byte, manager string, force bool, v scheme.Validation) (runtime.Object, []string, error) {
	m, err := t.manager(r, subresource)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(config, &applied.Object); err != nil {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	if applied.Object == nil {
		return nil, nil, apierrors.NewBadRequest("error decoding YAML: the configuration is empty")
	}
	warnings, err := duplicates(config, v)
	if err != nil {
		return nil, nil, err
	}
	obj, err := m.Apply(live.DeepCopyObject(), applied, manager, force)
	if err != nil {
		return nil, nil, asStatus(err)
	}
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return obj, warnings, nil
}

// duplicates complains about keys given twice. Unknown fields are always an
// error, which merging finds.
func duplicates(config []byte, v scheme.Validation) ([]string, error) {
	if v == scheme.Ignore {
		return nil, nil
	}
	var m map[string]any
	err := yaml.UnmarshalStrict(config, &m)
	if err == nil {
		return nil, nil
	}
	if v == scheme.Strict {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding YAML: %v", err))
	}
	return []string{err.Error()}, nil
}

// asStatus keeps the text of an error of the merge, such as a field that the
// schema lacks, as upstream answers it: code 500 without a reason.
func asStatus(err error) error {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error(),
	}}
}

// Tracked tells whether writes to the object are to be passed to Update.
func Tracked(obj runtime.Object) bool {
	m, err := meta.Accessor(obj)
	return err == nil && len(m.GetManagedFields()) > 0
}

// Update states in obj what the manager changed of live by a write that was no
// apply. obj is not shared yet and may be changed; it is also what is
// returned. When neither is tracked, nothing is done. To create, live is
// r.New().
func (t *Tracker) Update(r *scheme.Resource, subresource string, live, obj runtime.Object, manager string) (runtime.Object, error) {
	if !Tracked(live) && !Tracked(obj) {
		return obj, nil
	}
	m, err := t.manager(r, subresource)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	out, err := m.Update(live.DeepCopyObject(), obj, manager)
	if err != nil {
		return nil, asStatus(err)
	}
	out.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return out, nil
}

func (t *Tracker) manager(r *scheme.Resource, subresource string) (*managedfields.FieldManager, error) {
	key := managerKey{r.GroupVersionKind(), subresource}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.managers[key]; m != nil {
		return m, nil
	}
	k := kindOf{t.table, r}
	m, err := managedfields.NewDefaultFieldManager(t.types(), k, k, k, key.kind, key.kind.GroupVersion(), subresource, notOwned(r, subresource))
	if err != nil {
		return nil, fmt.Errorf("field manager of %s: %w", key.kind, err)
	}
	t.managers[key] = m
	return m, nil
}

// notOwned are the fields that a path does not write, so that nobody comes to
// own them by naming them there.
func notOwned(r *scheme.Resource, subresource string) map[fieldpath.APIVersion]fieldpath.Filter {
	if r.Subresource("status") == nil {
		return nil
	}
	field := "status"
	if subresource == "status" {
		field = "spec"
	}
	return fieldpath.NewExcludeFilterSetMap(map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(r.APIVersion()): fieldpath.NewSet(fieldpath.MakePathOrDie(field)),
	})
}

// kindOf answers what the field managers ask about a kind. Objects are only
// ever in the one version.
type kindOf struct {
	table *scheme.Table
	row   *scheme.Resource
}

func (k kindOf) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	if o := k.table.NewObject(kind); o != nil {
		return o, nil
	}
	return nil, runtime.NewNotRegisteredErrForKind("clipper", kind)
}

func (k kindOf) Default(obj runtime.Object) { k.row.Default(obj) }

func (k kindOf) Convert(in, out, _ any) error {
	return fmt.Errorf("%T is not converted to %T", in, out)
}

func (k kindOf) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	// The merge works on maps; what comes out of it gets its Go type here.
	if u, ok := in.(*unstructured.Unstructured); ok {
		typed := k.row.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
			return nil, fmt.Errorf("%s: %w", k.row.Kind, err)
		}
		return typed, nil
	}
	if to, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{k.row.GroupVersionKind()}); ok && to == k.row.GroupVersionKind() {
		return in, nil
	}
	return nil, runtime.NewNotRegisteredGVKErrForTarget("clipper", in.GetObjectKind().GroupVersionKind(), gv)
}

func (k kindOf) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", fmt.Errorf("%s: fields are not converted", k.row.Kind)
}
