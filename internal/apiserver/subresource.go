package apiserver

import (
	"net/http"

	"clipper/internal/apiserver/cache"
	"clipper/internal/apiserver/connect"
	"clipper/internal/scheme"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	if err := q.negotiate(plain); err != nil {
		return err
	}
	if q.verb == "get" {
		if err := q.cache.WaitFresh(q.ctx); err != nil {
			return err
		}
		e := q.kind.cache.Get(cache.Key(q.scope(), q.name))
		if e == nil {
			return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
		}
		return q.object(http.StatusOK, s.Get(e.Object))
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
	var e *cache.Entry
	err = q.withBody(func(body []byte) error {
		wanted, err := q.scaler(sub, body, v)
		if err != nil {
			return err
		}
		e, _, err = w.update(func(old *cache.Entry) (runtime.Object, error) {
			if old == nil {
				return nil, w.notFound()
			}
			n, err := wanted(s.Get(old.Object))
			if err != nil {
				return nil, err
			}
			obj := old.Object.DeepCopyObject()
			obj.(metav1.Object).SetResourceVersion(n.ResourceVersion)
			s.Set(obj, n.Spec.Replicas)
			return obj, nil
		})
		return err
	})
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	return q.object(http.StatusOK, s.Get(e.Object))
}

// scaler returns how a request's body changes a Scale.
func (q *request) scaler(sub *scheme.Subresource, body []byte, v scheme.Validation) (func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error), error) {
	check := func(o runtime.Object, warnings []string, err error) (*autoscalingv1.Scale, error) {
		if err != nil {
			return nil, err
		}
		q.warn(warnings)
		n := o.(*autoscalingv1.Scale)
		if n.Name != "" && n.Name != q.name {
			return nil, apierrors.NewBadRequest("the name of the object (" + n.Name + ") does not match the name on the URL (" + q.name + ")")
		}
		return n, nil
	}
	if q.verb == "update" {
		mt, err := bodyType(q.r.Header)
		if err != nil {
			return nil, err
		}
		o, warnings, err := q.Table.Decode(body, mt, sub.Kind, v)
		n, err := check(o, warnings, err)
		return func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error) { return n, nil }, err
	}
	pt, ok := patchTypes[mediaType(q.r.Header)]
	if !ok || pt == types.ApplyYAMLPatchType {
		return nil, unsupportedMedia("application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json")
	}
	return func(live *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
		return check(q.Table.PatchKind(sub.Kind, live, pt, body, v))
	}, nil
}
