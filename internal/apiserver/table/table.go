// Package table turns objects into the tables that kubectl prints: the columns
// of each kind and the texts of their cells, which people and scripts know.
//
// One file describes one kind. A kind without a file has its name and when it
// was created. Columns of priority 1 are those of `-o wide`.
package table

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"clipper/internal/scheme"
)

// Converter makes tables. It is safe for concurrent use.
type Converter struct {
	clock clock.PassiveClock
	kinds map[schema.GroupKind]kind
}

// kind is how objects of one kind are shown.
type kind struct {
	columns []metav1.TableColumnDefinition
	// row is not ok if the object is of another type.
	row func(now time.Time, obj runtime.Object) (r metav1.TableRow, ok bool)
	// order, if set, is how the rows of a page follow each other.
	order func(a, b runtime.Object) int
}

// New returns a Converter that counts ages by the clock.
func New(c clock.PassiveClock) *Converter { return &Converter{clock: c, kinds: kinds()} }

// Table returns the objects, all of the row's kind and of its own or its stored
// version, as a table whose list metadata is left to the caller. headers tells
// whether the columns are described, as only the first table of a watch does.
// Objects are not copied. Errors: an object of another kind.
func (c *Converter) Table(row *scheme.Resource, objs []runtime.Object, o metav1.TableOptions, headers bool) (*metav1.Table, error) {
	k, known := c.kinds[row.Stored.GroupVersionKind().GroupKind()]
	if !known {
		k = plain
	}
	t := &metav1.Table{Rows: make([]metav1.TableRow, 0, len(objs))}
	t.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("Table"))
	if headers && !o.NoHeaders {
		t.ColumnDefinitions = k.columns
	}
	if k.order != nil {
		objs = slices.SortedStableFunc(slices.Values(objs), k.order)
	}
	now := c.clock.Now()
	for _, obj := range objs {
		shown := obj
		if row.ToStored != nil && obj.GetObjectKind().GroupVersionKind() == row.GroupVersionKind() {
			var err error
			if shown, err = row.ToStored(obj); err != nil {
				return nil, fmt.Errorf("table of %s: %w", row.Name, err)
			}
		}
		r, ok := k.row(now, shown)
		if !ok {
			return nil, fmt.Errorf("table of %s: object is a %T", row.Name, shown)
		}
		switch o.IncludeObject {
		case metav1.IncludeNone:
		case metav1.IncludeObject:
			r.Object.Object = obj
		default:
			m, err := meta.Accessor(obj)
			if err != nil {
				return nil, fmt.Errorf("table of %s: %w", row.Name, err)
			}
			partial := meta.AsPartialObjectMetadata(m)
			partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"))
			r.Object.Object = partial
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}

// show describes the kind of T.
func show[T any, PT interface {
	*T
	runtime.Object
}](columns []metav1.TableColumnDefinition, cells func(now time.Time, obj *T) []any) kind {
	return kind{columns: columns, row: func(now time.Time, obj runtime.Object) (metav1.TableRow, bool) {
		o, ok := obj.(PT)
		if !ok {
			return metav1.TableRow{}, false
		}
		return metav1.TableRow{Cells: cells(now, (*T)(o))}, true
	}}
}

// plain is any kind without a description.
var plain = kind{
	columns: columns(name, created),
	row: func(_ time.Time, obj runtime.Object) (metav1.TableRow, bool) {
		m, err := meta.Accessor(obj)
		if err != nil {
			return metav1.TableRow{}, false
		}
		return metav1.TableRow{Cells: []any{m.GetName(), timestamp(m.GetCreationTimestamp())}}, true
	},
}
