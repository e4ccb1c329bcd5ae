package auth

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Attributes is what is asked of an Authorizer: may User do this?
type Attributes struct {
	User user.Info
	// Verb is "get", "list", "watch", "create", "update", "patch", "delete",
	// "deletecollection", "impersonate", ... or, for paths that are no
	// resource's, the HTTP method in lower case.
	Verb string

	// Of a resource request. Name is empty for collections and creations.
	APIGroup, APIVersion, Resource, Subresource, Namespace, Name string
	// Fields is the field selector of a list, watch or deletecollection.
	Fields fields.Requirements

	// Path is set for requests that are no resource's, and only for these.
	Path string
}

// UpgradeVerb returns the verb that a request to a subresource is authorised
// as. Running something in a pod needs "create" however the client asks: a
// WebSocket client can only send GET. A switch of protocols through a node's
// proxy is the same by another way, as kubelets switch for nothing else.
func UpgradeVerb(resource, subresource, verb string, upgrade bool) string {
	if verb != "get" {
		return verb
	}
	switch resource + "/" + subresource {
	case "pods/exec", "pods/attach", "pods/portforward":
		return "create"
	case "nodes/proxy":
		if upgrade {
			return "create"
		}
	}
	return verb
}

// Unauthorized is the 401 answer.
func Unauthorized() *apierrors.StatusError { return apierrors.NewUnauthorized("Unauthorized") }

// Forbidden is the 403 answer to a, in upstream's words.
func Forbidden(a Attributes, reason string) *apierrors.StatusError {
	what := fmt.Sprintf("cannot %s path %q", a.Verb, a.Path)
	subject := fmt.Sprintf("forbidden: User %q ", a.User.GetName())
	details := &metav1.StatusDetails{}
	if a.Path == "" {
		resource := a.Resource
		if a.Subresource != "" {
			resource += "/" + a.Subresource
		}
		scope := "at the cluster scope"
		if a.Namespace != "" {
			scope = fmt.Sprintf("in the namespace %q", a.Namespace)
		}
		what = fmt.Sprintf("cannot %s resource %q in API group %q %s", a.Verb, resource, a.APIGroup, scope)
		details = &metav1.StatusDetails{Group: a.APIGroup, Kind: a.Resource, Name: a.Name}
		kind := a.Resource
		if a.APIGroup != "" {
			kind += "." + a.APIGroup
		}
		subject = fmt.Sprintf("%s is forbidden: User %q ", kind, a.User.GetName())
		if a.Name != "" {
			subject = fmt.Sprintf("%s %q is forbidden: User %q ", kind, a.Name, a.User.GetName())
		}
	}
	message := subject + what
	if reason != "" {
		message += ": " + reason
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusForbidden,
		Reason:  metav1.StatusReasonForbidden,
		Details: details,
		Message: message,
	}}
}
