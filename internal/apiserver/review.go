package apiserver

import (
	"net/http"

	"clipper/internal/auth"
	"clipper/internal/validate"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Rules lists what a user may do; an Authorizer may have it.
type Rules interface {
	RulesFor(u user.Info, namespace string) (rules authorizationv1.SubjectRulesReviewStatus)
}

// review answers a question: a create of a kind that is never stored.
func (q *request) review(obj runtime.Object) error {
	m := obj.(metav1.Object)
	m.SetCreationTimestamp(q.now())
	if err := place(q.kind.row, m, q.namespace); err != nil {
		return err
	}
	if errs := validate.AccessReview(obj); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: q.kind.row.Group}, "", errs)
	}
	switch o := obj.(type) {
	case *corev1.Binding: // the older spelling of pods/NAME/binding
		return q.bindOlder(o)
	case *authenticationv1.SelfSubjectReview:
		o.ObjectMeta = metav1.ObjectMeta{CreationTimestamp: q.now()}
		o.Status.UserInfo = userInfo(q.user)
	case *authenticationv1.TokenReview:
		if err := q.reviewToken(o); err != nil {
			return err
		}
	case *authorizationv1.SelfSubjectAccessReview:
		q.judge(q.user, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes, &o.Status)
	case *authorizationv1.SubjectAccessReview:
		q.judge(subject(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes, &o.Status)
	case *authorizationv1.LocalSubjectAccessReview:
		q.judge(subject(&o.Spec), o.Spec.ResourceAttributes, nil, &o.Status)
	case *authorizationv1.SelfSubjectRulesReview:
		namespace := o.Spec.Namespace
		if namespace == "" {
			return apierrors.NewBadRequest("no namespace on request")
		}
		o.ObjectMeta, o.Spec = metav1.ObjectMeta{}, authorizationv1.SelfSubjectRulesReviewSpec{}
		o.Status = authorizationv1.SubjectRulesReviewStatus{
			ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
			Incomplete: true, EvaluationError: "the authorizer does not list rules",
		}
		if r, ok := q.Authorizer.(Rules); ok {
			o.Status = r.RulesFor(q.user, namespace)
		}
	default:
		return q.notAllowed()
	}
	return q.object(http.StatusCreated, obj)
}

// bindOlder binds the pod that the object names.
func (q *request) bindOlder(b *corev1.Binding) error {
	q.kind = q.byName[schema.GroupResource{Resource: "pods"}]
	q.name = b.Name
	if q.kind == nil {
		return notServed()
	}
	if err := q.assign(b, metav1.CreateOptions{DryRun: q.query["dryRun"]}); err != nil {
		return err
	}
	return q.object(http.StatusCreated, success(http.StatusCreated, nil))
}

func userInfo(u user.Info) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	if extra := u.GetExtra(); len(extra) > 0 {
		info.Extra = make(map[string]authenticationv1.ExtraValue, len(extra))
		for k, v := range extra {
			info.Extra[k] = v
		}
	}
	return info
}

func (q *request) reviewToken(o *authenticationv1.TokenReview) error {
	if o.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	if q.Verifier == nil {
		return notServed()
	}
	u, audiences, err := q.Verifier.Verify(o.Spec.Token, o.Spec.Audiences)
	if err != nil {
		o.Status.Error = err.Error()
		return nil
	}
	o.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: userInfo(u), Audiences: audiences}
	return nil
}

func subject(s *authorizationv1.SubjectAccessReviewSpec) user.Info {
	extra := make(map[string][]string, len(s.Extra))
	for k, v := range s.Extra {
		extra[k] = v
	}
	return &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups, Extra: extra}
}

func (q *request) judge(u user.Info, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes, s *authorizationv1.SubjectAccessReviewStatus) {
	a := auth.Attributes{User: u}
	if r != nil {
		a.Verb, a.APIGroup, a.APIVersion = r.Verb, r.Group, r.Version
		a.Resource, a.Subresource, a.Namespace, a.Name = r.Resource, r.Subresource, r.Namespace, r.Name
	} else {
		a.Verb, a.Path = n.Verb, n.Path
	}
	allowed, reason, err := q.Authorizer.Authorize(q.ctx, a)
	s.Allowed, s.Reason = allowed, reason
	if err != nil {
		s.EvaluationError = err.Error()
	}
}
