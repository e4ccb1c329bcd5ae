package apiserver

import (
	"net/http"
	"slices"
	"sync/atomic"

	"clipper/internal/auth"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
)

// How many requests may be under way at once, as upstream's defaults are.
const (
	maxReads  = 400
	maxWrites = 200
)

// inflight bounds the requests under way. Long ones are not counted; the
// cluster's masters always get in, and so do components in this process, which
// bound themselves: a flood from outside must not hold up the control plane.
type inflight struct {
	reads, writes, long atomic.Int64
}

func (f *inflight) enter(q *request) (release func(), err error) {
	n, limit := &f.reads, int64(maxReads)
	switch q.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		n, limit = &f.writes, maxWrites
	}
	if q.long() {
		n, limit = &f.long, 0
	}
	_, inside := auth.UserFrom(q.r.Context())
	if n.Add(1) > limit && limit > 0 && !inside && !slices.Contains(q.user.GetGroups(), user.SystemPrivilegedGroup) {
		n.Add(-1)
		return nil, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
	}
	return func() { n.Add(-1) }, nil
}
