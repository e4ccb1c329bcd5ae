package apiserver

import (
	"fmt"
	"net/http"
	"sync"

	"clipper/internal/apiserver/cache"
	"clipper/internal/apiserver/connect"
	"clipper/internal/apiserver/strategy"
	"clipper/internal/scheme"
	"clipper/internal/scheme/ownership"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// subresourceRequest runs what is below an object.
func (q *request) subresourceRequest() error {
	sub := q.kind.row.Subresource(q.subresource)
	if sub == nil || q.name == "" {
		return notServed()
	}
	switch sub.Name {
	case "exec", "attach", "portforward", "log", "proxy":
		return q.connect(sub)
	}
	if q.below != "" && q.below != "/" {
		return notServed()
	}
	if !sub.HasVerb(q.verb) {
		return q.notAllowed()
	}
	switch sub.Name {
	case "binding":
		return q.bind()
	case "eviction":
		return q.evict()
	case "token":
		return q.token()
	case "scale":
		return q.scale(sub)
	}
	switch q.verb {
	case "get":
		return q.get()
	case "update":
		return q.update(sub.Name)
	case "patch":
		return q.patch(sub.Name)
	}
	return q.notAllowed()
}

// connect hands the request over to who knows the way to nodes.
func (q *request) connect(sub *scheme.Subresource) error {
	if q.Connector == nil {
		return notServed()
	}
	options := sub.Name == "proxy" && q.r.Method == http.MethodOptions // the backend's to answer
	if q.verb != "get" && !sub.HasVerb(q.verb) && !options {
		return q.notAllowed()
	}
	q.handled = true
	if sub.Name == "log" {
		if _, err := scheme.ParsePodLogOptions(q.query); err != nil {
			return err
		}
	}
	c := connect.Request{
		Resource: q.kind.row, Subresource: sub.Name, Namespace: q.scope(), Name: q.name, Path: q.below,
	}
	if e := q.kind.cache.Get(cache.Key(c.Namespace, c.Name)); e != nil {
		c.Object = e.Object
	} else if sub.Name != "proxy" {
		return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
	}
	return q.Connector.Connect(q.w, q.r, c)
}

// scale reads and writes the replicas of a workload.
func (q *request) scale(sub *scheme.Subresource) error {
	s := q.kind.strategy.Scale
	if s == nil {
		return notServed()
	}
	if err := q.negotiate(shaped); err != nil {
		return err
	}
	if q.verb == "get" {
		if err := q.kind.cache.WaitFresh(q.ctx); err != nil {
			return err
		}
		e := q.kind.cache.Get(cache.Key(q.scope(), q.name))
		if e == nil {
			return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
		}
		return q.scaled(s.Get(e.Object))
	}
	if q.verb == "patch" {
		return q.patchScale(sub, s)
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
	obj, warnings, err := q.decodeKind(sub.Kind, mt, v)
	if err != nil {
		return err
	}
	q.warn(warnings)
	return q.rescale(w, s, func(*cache.Entry) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
		return obj.(*autoscalingv1.Scale), nil, nil
	})
}

// decodeKind reads the body as an object of a subresource's own kind.
func (q *request) decodeKind(kind schema.GroupVersionKind, mt scheme.MediaType, v scheme.Validation) (obj runtime.Object, warnings []string, err error) {
	err = q.withBody(func(b []byte) error {
		obj, warnings, err = q.Table.Decode(b, mt, kind, v)
		return err
	})
	return obj, warnings, err
}

func (q *request) patchScale(sub *scheme.Subresource, s *strategy.Scale) error {
	pt, ok := patchTypes[mediaType(q.r.Header)]
	if !ok {
		return errPatchMedia()
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
	w.applied = pt == types.ApplyYAMLPatchType
	return q.withBody(func(body []byte) error {
		var tell sync.Once
		return q.rescale(w, s, func(old *cache.Entry) (n *autoscalingv1.Scale, entries []metav1.ManagedFieldsEntry, err error) {
			var warnings []string
			if w.applied {
				n, entries, warnings, err = q.ownership.ApplyScale(ownership.Write{
					Resource: q.kind.row, Subresource: sub.Name, Manager: w.manager, Time: q.now(),
				}, old.Meta(), s.Get(old.Object), body, o.Force != nil && *o.Force, v)
			} else {
				var obj runtime.Object
				obj, warnings, err = q.Table.PatchKind(sub.Kind, s.Get(old.Object), pt, body, v)
				n, _ = obj.(*autoscalingv1.Scale)
			}
			tell.Do(func() { q.warn(warnings) })
			return n, entries, err
		})
	})
}

// rescale sets an object's replicas to those of the Scale that wanted makes of
// it; entries say who owns what, if an apply said so.
func (q *request) rescale(w *write, s *strategy.Scale, wanted func(*cache.Entry) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error)) error {
	e, _, err := w.update(func(old *cache.Entry) (runtime.Object, error) {
		if old == nil {
			return nil, w.notFound()
		}
		n, entries, err := wanted(old)
		if err != nil {
			return nil, err
		}
		if n.Name != "" && n.Name != q.name {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", n.Name, q.name))
		}
		if err := w.expect(n.UID, "", old.Meta()); err != nil {
			return nil, err
		}
		obj := old.Object.DeepCopyObject()
		m := obj.(metav1.Object)
		m.SetResourceVersion(n.ResourceVersion)
		if w.applied {
			m.SetManagedFields(entries)
		}
		s.Set(obj, n.Spec.Replicas)
		return obj, nil
	})
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	return q.scaled(s.Get(e.Object))
}

// scaled answers with a Scale in the form that was negotiated.
func (q *request) scaled(s *autoscalingv1.Scale) error {
	row := &scheme.Resource{Group: "autoscaling", Version: "v1", Kind: "Scale", Name: "scale"}
	row.Stored = row
	switch q.form.shape {
	case table:
		t, err := q.tableOf(row, []runtime.Object{s}, true)
		if err != nil {
			return err
		}
		t.ResourceVersion = s.ResourceVersion
		return q.object(http.StatusOK, t)
	case partly:
		p := partial(s)
		if q.form.beta {
			p.APIVersion = betaVersion
		}
		return q.object(http.StatusOK, p)
	case partlyList:
		return notSuch(row, "PartialObjectMetadataList", "not a list", "")
	}
	return q.object(http.StatusOK, s)
}
