package auth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
)

const (
	impersonateUser        = "Impersonate-User"
	impersonateUID         = "Impersonate-Uid"
	impersonateGroup       = "Impersonate-Group"
	impersonateExtraPrefix = "Impersonate-Extra-"
)

// impersonate returns whom u asks to be taken for, or u if it does not ask,
// and takes the request out of the headers. Each part of the new identity must
// be allowed: user or ServiceAccount, uid, groups and extra values.
func (a *Authenticator) impersonate(r *http.Request, u user.Info) (user.Info, error) {
	name, uid, groups := r.Header.Get(impersonateUser), r.Header.Get(impersonateUID), r.Header.Values(impersonateGroup)
	var extra map[string][]string
	for header, values := range r.Header {
		if key, ok := strings.CutPrefix(header, impersonateExtraPrefix); ok {
			// Keys are case-insensitive as headers are, and may be escaped.
			key = strings.ToLower(key)
			if unescaped, err := url.PathUnescape(key); err == nil {
				key = unescaped
			}
			if extra == nil {
				extra = map[string][]string{}
			}
			extra[key] = append(extra[key], values...)
		}
	}
	if name == "" {
		if uid == "" && len(groups) == 0 && len(extra) == 0 {
			return u, nil
		}
		return nil, apierrors.NewInternalError(errors.New("requested groups, uid or extra without impersonating a user"))
	}

	checks := []Attributes{{Resource: "users", Name: name}}
	if namespace, account, ok := splitServiceAccount(name); ok {
		checks[0] = Attributes{Resource: "serviceaccounts", Namespace: namespace, Name: account}
		if len(groups) == 0 {
			groups = ServiceAccountGroups(namespace)
		}
	}
	for _, g := range r.Header.Values(impersonateGroup) {
		checks = append(checks, Attributes{Resource: "groups", Name: g})
	}
	if uid != "" {
		checks = append(checks, Attributes{APIGroup: "authentication.k8s.io", APIVersion: "v1", Resource: "uids", Name: uid})
	}
	for key, values := range extra {
		for _, v := range values {
			checks = append(checks, Attributes{APIGroup: "authentication.k8s.io", APIVersion: "v1", Resource: "userextras", Subresource: key, Name: v})
		}
	}
	for _, c := range checks {
		c.User, c.Verb = u, "impersonate"
		if c.APIVersion == "" {
			c.APIVersion = "v1"
		}
		allowed, reason, err := a.Authorizer.Authorize(r.Context(), c)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		if !allowed {
			return nil, Forbidden(c, reason)
		}
	}

	if name != Anonymous {
		groups = with(groups, Authenticated)
	} else {
		groups = with(groups, Unauthenticated)
	}
	for header := range r.Header {
		if strings.HasPrefix(header, "Impersonate-") {
			r.Header.Del(header)
		}
	}
	return &user.DefaultInfo{Name: name, UID: uid, Groups: groups, Extra: extra}, nil
}

// with returns groups and g, once.
func with(groups []string, g string) []string {
	out := make([]string, 0, len(groups)+1)
	for _, have := range groups {
		if have != g {
			out = append(out, have)
		}
	}
	return append(out, g)
}

// splitServiceAccount takes a ServiceAccount's user name apart.
func splitServiceAccount(username string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(username, serviceAccountPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	if !ok || namespace == "" || name == "" || strings.Contains(name, ":") {
		return "", "", false
	}
	return namespace, name, true
}
