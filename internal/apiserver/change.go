package apiserver

import (
	"fmt"
	"net/http"
	"sync"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/scheme/ownership"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func (q *request) create() error {
	if q.name != "" {
		return q.notAllowed()
	}
	can := shaped
	if !q.kind.row.IsStored() {
		can = plain // an answer to a question has no columns and no metadata
	}
	if err := q.negotiate(can); err != nil {
		return err
	}
	o, err := scheme.ParseCreateOptions(q.query)
	if err != nil {
		return err
	}
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	v, err := scheme.ParseValidation(o.FieldValidation)
	if err != nil {
		return err
	}
	obj, warnings, err := q.decode(v)
	if err != nil {
		return err
	}
	q.warn(warnings)
	if !q.kind.row.IsStored() {
		return q.review(obj)
	}
	e, err := w.create(obj)
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	return q.entry(http.StatusCreated, e)
}

// update replaces the object, or what the subresource may change of it.
func (q *request) update(subresource string) error {
	if err := q.negotiate(q.shapes()); err != nil {
		return err
	}
	o, err := scheme.ParseUpdateOptions(q.query)
	if err != nil {
		return err
	}
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	v, err := scheme.ParseValidation(o.FieldValidation)
	if err != nil {
		return err
	}
	mt, err := bodyType(q.r.Header)
	if err != nil {
		return err
	}
	var (
		e       *cache.Entry
		created bool
	)
	err = q.withBody(func(body []byte) error {
		obj, warnings, err := q.decodeBody(body, mt, v)
		if err != nil {
			return err
		}
		q.warn(warnings)
		if err := q.named(obj); err != nil {
			return err
		}
		// An object with a version or an identity was there once.
		m := obj.(metav1.Object)
		mayCreate := q.kind.strategy.CreateOnUpdate && m.GetResourceVersion() == "" && m.GetUID() == ""
		e, created, err = w.update(func(old *cache.Entry) (runtime.Object, error) {
			if old == nil && !mayCreate {
				return nil, w.notFound()
			}
			// What is handed out is changed; it is read anew if it is asked for
			// again, which is rare.
			next := obj
			if obj = nil; next != nil {
				return next, nil
			}
			next, _, err := q.decodeBody(body, mt, v)
			if err != nil {
				return nil, err
			}
			return next, q.named(next)
		})
		return err
	})
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	if created {
		return q.entry(http.StatusCreated, e)
	}
	return q.entry(http.StatusOK, e)
}

// named checks that an object is the one that the path names.
func (q *request) named(obj runtime.Object) error {
	m := obj.(metav1.Object)
	if m.GetName() == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", q.name))
	} else if m.GetName() != q.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), q.name))
	}
	return place(q.kind.row, m, q.namespace)
}

// place gives an object the namespace of its path, and refuses one of another.
func place(row *scheme.Resource, m metav1.Object, namespace string) error {
	switch {
	case !row.Namespaced:
		m.SetNamespace("")
	case m.GetNamespace() == "":
		m.SetNamespace(namespace)
	case m.GetNamespace() != namespace:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// The types of patches, as Content-Type names them.
var patchTypes = map[string]types.PatchType{
	string(types.JSONPatchType):           types.JSONPatchType,
	string(types.MergePatchType):          types.MergePatchType,
	string(types.StrategicMergePatchType): types.StrategicMergePatchType,
	string(types.ApplyYAMLPatchType):      types.ApplyYAMLPatchType,
}

// errPatchMedia is the answer to a patch of no known type, which upstream does
// not even route.
func errPatchMedia() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "415: Unsupported Media Type",
	}}
}

func (q *request) patch(subresource string) error {
	pt, ok := patchTypes[mediaType(q.r.Header)]
	if !ok {
		return errPatchMedia()
	}
	if err := q.negotiate(q.shapes()); err != nil {
		return err
	}
	o, err := scheme.ParsePatchOptions(q.query)
	if err != nil {
		return err
	}
	if err := checkPatch(&o, pt); err != nil {
		return err
	}
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	v, err := scheme.ParseValidation(o.FieldValidation)
	if err != nil {
		return err
	}
	w.patched, w.applied = true, pt == types.ApplyYAMLPatchType
	var (
		e       *cache.Entry
		created bool
	)
	err = q.withBody(func(body []byte) error {
		var tell sync.Once
		e, created, err = w.update(func(old *cache.Entry) (runtime.Object, error) {
			obj, warnings, err := q.patched(subresource, old, pt, body, v, &o)
			if err != nil {
				return nil, err
			}
			tell.Do(func() { q.warn(warnings) })
			return obj, nil
		})
		return err
	})
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	if created {
		return q.entry(http.StatusCreated, e)
	}
	return q.entry(http.StatusOK, e)
}

// patched returns the object with the patch, in the stored version.
func (q *request) patched(subresource string, old *cache.Entry, pt types.PatchType, body []byte, v scheme.Validation, o *metav1.PatchOptions) (runtime.Object, []string, error) {
	var (
		live, obj runtime.Object
		warnings  []string
		err       error
	)
	switch {
	case old != nil:
		if live, err = q.kind.served(old.Object); err != nil {
			return nil, nil, err
		}
	case pt != types.ApplyYAMLPatchType || subresource != "" && !q.kind.strategy.CreateOnUpdate:
		return nil, nil, apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
	default:
		live = q.kind.row.New()
		m := live.(metav1.Object)
		m.SetName(q.name)
		m.SetNamespace(q.scope())
	}
	if pt == types.ApplyYAMLPatchType {
		force := o.Force != nil && *o.Force
		obj, warnings, err = q.ownership.Apply(ownership.Write{
			Resource: q.kind.row, Subresource: subresource, Manager: o.FieldManager, Time: q.now(),
		}, live, body, force, v)
	} else {
		obj, warnings, err = q.Table.Patch(q.kind.row, live, pt, body, v)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := q.named(obj); err != nil {
		return nil, nil, err
	}
	obj, err = q.kind.stored(obj)
	return obj, warnings, err
}

func mediaType(h http.Header) string {
	v := h.Get("Content-Type")
	for i := range len(v) {
		if v[i] == ';' {
			return v[:i]
		}
	}
	return v
}
