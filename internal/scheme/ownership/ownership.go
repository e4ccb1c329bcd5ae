// Package ownership keeps track of which manager owns which field of an
// object (metadata.managedFields), and merges what managers apply: server-side
// apply, as KEP-555 describes it.
//
// Every write pays for it, so it is made to cost little. How a kind's fields
// are owned is read off its Go type and a table of rules (rules.txt, which
// `make generate` writes), piece by piece as values are met. What a write
// changed is found by walking the two Go values side by side; sets of fields
// are compared as they are stored, and only what changes is read and written
// anew. A writer that changes what it owns already changes the time alone.
// Sets that look alike are shared by all objects.
//
// Merging itself is sigs.k8s.io/structured-merge-diff's, over a schema that is
// made of the same rules when a kind is first applied.
package ownership

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"clipper/internal/scheme"
)

// Tracker tracks the fields of the table's kinds. It is safe for concurrent use.
type Tracker struct {
	table    *scheme.Table
	plans    plans
	kinds    sync.Map // *scheme.Resource -> *kind
	scopes   sync.Map // path -> *scope
	schemas  sync.Map // reflect.Type -> typed.ParseableType
	managers sync.Map // path -> *managedfields.FieldManager
	sets     interned
	// Memory that is used again.
	texts sync.Pool // *[]byte
	spare sync.Pool // *set
}

// path is what a request writes to.
type path struct {
	row         *scheme.Resource
	subresource string
}

// kind is how objects of a row are walked.
type kind struct {
	plan *plan
	zero unsafe.Pointer // an object without anything
}

// New returns a Tracker; it costs nothing until it is used.
func New(table *scheme.Table) *Tracker { return &Tracker{table: table} }

func (t *Tracker) kind(r *scheme.Resource) *kind {
	if k, ok := t.kinds.Load(r); ok {
		return k.(*kind)
	}
	zero := reflect.ValueOf(r.New())
	k, _ := t.kinds.LoadOrStore(r, &kind{t.plans.plan(zero.Type().Elem(), ""), zero.UnsafePointer()})
	return k.(*kind)
}

func (t *Tracker) scope(r *scheme.Resource, subresource string) *scope {
	p := path{r, subresource}
	if s, ok := t.scopes.Load(p); ok {
		return s.(*scope)
	}
	s, _ := t.scopes.LoadOrStore(p, newScope(r, subresource))
	return s.(*scope)
}

// Apply merges the configuration (YAML or JSON) that a write applies into live
// and returns the new object; live, which is of the row's version, is not
// changed. To create an object, live is r.New(). Warnings are about duplicate
// fields under Warn. Errors: a conflict with causes that name the
// fields and their owners, unless forced; a bad request.
func (t *Tracker) Apply(w Write, live runtime.Object, config []byte, force bool, v scheme.Validation) (runtime.Object, []string, error) {
	m, err := t.manager(w.Resource, w.Subresource)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	obj, warnings, err := t.apply(m, w, live, config, force, v)
	if err != nil {
		return nil, nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(w.Resource.GroupVersionKind())
	return obj, warnings, nil
}

func (t *Tracker) apply(m *managedfields.FieldManager, w Write, live runtime.Object, config []byte, force bool, v scheme.Validation) (runtime.Object, []string, error) {
	if err := scheme.CheckConfig(live, config); err != nil {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(config, &applied.Object); err != nil {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	if applied.Object == nil {
		return nil, nil, apierrors.NewBadRequest("invalid object type: /, Kind=")
	}
	warnings, err := duplicates(config, v)
	if err != nil {
		return nil, nil, err
	}
	obj, err := m.Apply(live.DeepCopyObject(), applied, w.Manager, force)
	if err != nil {
		return nil, nil, asStatus(err)
	}
	t.settle(live, obj, w.Time)
	return obj, warnings, nil
}

// settle gives entries that are new the time of the write, as every timestamp
// has it, and shares their sets.
func (t *Tracker) settle(live, obj runtime.Object, now metav1.Time) {
	m := obj.(metav1.Object)
	entries := m.GetManagedFields()
	for i := range entries {
		e := &entries[i]
		if e.FieldsV1 != nil {
			e.FieldsV1 = t.sets.share(e.FieldsV1.Raw)
		}
		kept := false
		for _, l := range live.(metav1.Object).GetManagedFields() {
			kept = kept || l.Manager == e.Manager && l.Operation == e.Operation && l.Time.Equal(e.Time)
		}
		if !kept {
			time := now
			e.Time = &time
		}
	}
	slices.SortStableFunc(entries, inOrder)
	m.SetManagedFields(entries)
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
	return scheme.Complaints(err), nil
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

func (t *Tracker) manager(r *scheme.Resource, subresource string) (*managedfields.FieldManager, error) {
	p := path{r, subresource}
	if m, ok := t.managers.Load(p); ok {
		return m.(*managedfields.FieldManager), nil
	}
	var reset map[fieldpath.APIVersion]fieldpath.Filter
	if f := t.scope(r, subresource).filter; f != nil {
		reset = map[fieldpath.APIVersion]fieldpath.Filter{}
		for _, row := range t.table.Resources() {
			if row.Stored == r.Stored {
				reset[fieldpath.APIVersion(row.APIVersion())] = f
			}
		}
	}
	k, gvk := kindOf{t.table, r}, r.GroupVersionKind()
	m, err := managedfields.NewDefaultFieldManager(converter{t}, k, k, k, gvk, gvk.GroupVersion(), subresource, reset)
	if err != nil {
		return nil, fmt.Errorf("field manager of %s: %w", gvk, err)
	}
	stored, _ := t.managers.LoadOrStore(p, m)
	return stored.(*managedfields.FieldManager), nil
}

// kindOf answers what the field managers ask about a kind.
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

// ConvertToVersion returns an object in another version that serves its kind.
func (k kindOf) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	from := in.GetObjectKind().GroupVersionKind()
	row := k.table.ByKind(from)
	if row == nil || row.Stored != k.row.Stored {
		return nil, runtime.NewNotRegisteredErrForKind("clipper", from)
	}
	// The merge works on maps; what comes out of it gets its Go type here.
	if u, ok := in.(*unstructured.Unstructured); ok {
		in = row.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, in); err != nil {
			return nil, fmt.Errorf("%s: %w", row.Kind, err)
		}
	}
	for _, to := range k.table.Resources() {
		if to.Stored != row.Stored {
			continue
		}
		gvk := to.GroupVersionKind()
		if want, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{gvk}); ok && want == gvk {
			return convert(in, row, to)
		}
	}
	return nil, runtime.NewNotRegisteredGVKErrForTarget("clipper", from, gv)
}

func convert(obj runtime.Object, from, to *scheme.Resource) (runtime.Object, error) {
	var err error
	if from != to && from.ToStored != nil {
		if obj, err = from.ToStored(obj); err != nil {
			return nil, err
		}
	}
	if from != to {
		return served(to, obj)
	}
	return obj, nil
}

func (k kindOf) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", fmt.Errorf("%s: fields are not converted", k.row.Kind)
}
