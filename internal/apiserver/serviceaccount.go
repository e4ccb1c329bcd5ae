package apiserver

import (
	"fmt"
	"net/http"
	"time"

	"clipper/internal/apiserver/cache"
	"clipper/internal/auth"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	defaultTokenLife = time.Hour
	minTokenLife     = 10 * time.Minute
	maxTokenLife     = 1 << 32 * time.Second
)

// token answers serviceaccounts/NAME/token.
func (q *request) token() error {
	if q.Signer == nil {
		return notServed()
	}
	obj, o, err := q.subobject(q.kind.row.Subresource("token").Kind)
	if err != nil {
		return err
	}
	t := obj.(*authenticationv1.TokenRequest)
	if t.Name != "" && t.Name != q.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", t.Name, q.name))
	}
	e := q.kind.cache.Get(cache.Key(q.namespace, q.name))
	if e == nil {
		return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
	}
	account := e.Object.(*corev1.ServiceAccount)
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	if err := w.admit(t); err != nil {
		return err
	}
	q.warn(w.warnings)
	life := defaultTokenLife
	if t.Spec.ExpirationSeconds != nil {
		s := *t.Spec.ExpirationSeconds
		at := field.NewPath("spec", "expirationSeconds")
		var errs field.ErrorList
		switch {
		case s < int64(minTokenLife/time.Second):
			errs = append(errs, field.Invalid(at, s, "may not specify a duration less than 10 minutes"))
		case s > int64(maxTokenLife/time.Second):
			errs = append(errs, field.Invalid(at, s, "may not specify a duration larger than 2^32 seconds"))
		}
		if len(errs) > 0 {
			return apierrors.NewInvalid(schema.GroupKind{Group: authenticationv1.GroupName, Kind: "TokenRequest"}, "", errs)
		}
		life = time.Duration(s) * time.Second
	}
	bound, err := q.tokenBinding(account, t.Spec.BoundObjectRef)
	if err != nil {
		return err
	}
	if !w.dryRun {
		token, ends, err := q.Signer.Sign(account, bound, t.Spec.Audiences, life)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		t.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(ends)}
	}
	t.Name, t.Namespace, t.CreationTimestamp = account.Name, account.Namespace, q.now()
	seconds := int64(life / time.Second)
	t.Spec.ExpirationSeconds = &seconds
	if len(t.Spec.Audiences) == 0 {
		t.Spec.Audiences = []string{auth.Issuer}
	}
	return q.object(http.StatusCreated, t)
}

// tokenBinding finds what a token is to be bound to.
func (q *request) tokenBinding(account *corev1.ServiceAccount, ref *authenticationv1.BoundObjectReference) (b auth.Binding, err error) {
	if ref == nil {
		return b, nil
	}
	find := func(resource, namespace string) (runtime.Object, error) {
		gr := schema.GroupResource{Resource: resource}
		m := q.cache.Object(gr, namespace, ref.Name)
		if m == nil {
			return nil, apierrors.NewNotFound(gr, ref.Name)
		}
		if ref.UID != "" && ref.UID != m.GetUID() {
			return nil, apierrors.NewConflict(gr, ref.Name, fmt.Errorf(
				"the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
		}
		return m.(runtime.Object), nil
	}
	switch (schema.GroupVersionKind{Version: ref.APIVersion, Kind: ref.Kind}) {
	case corev1.SchemeGroupVersion.WithKind("Pod"):
		o, err := find("pods", account.Namespace)
		if err != nil {
			return b, err
		}
		b.Pod = o.(*corev1.Pod)
		if b.Pod.Spec.ServiceAccountName != account.Name {
			return b, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
		}
		if n := b.Pod.Spec.NodeName; n != "" {
			if node, ok := q.cache.Object(schema.GroupResource{Resource: "nodes"}, "", n).(*corev1.Node); ok {
				b.Node = node
			} else {
				// The pod knows its node's name before the node exists.
				b.Node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n, UID: types.UID("")}}
			}
		}
	case corev1.SchemeGroupVersion.WithKind("Secret"):
		o, err := find("secrets", account.Namespace)
		if err != nil {
			return b, err
		}
		b.Secret = o.(*corev1.Secret)
	case corev1.SchemeGroupVersion.WithKind("Node"):
		o, err := find("nodes", "")
		if err != nil {
			return b, err
		}
		b.Node = o.(*corev1.Node)
	default:
		return b, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s, Kind=%s", ref.APIVersion, ref.Kind))
	}
	return b, nil
}
