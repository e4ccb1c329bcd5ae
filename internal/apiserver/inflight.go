package apiserver

import (
	"net/http"
	"slices"
	"sync/atomic"

	"clipper/internal/auth"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// How many requests may be under way at once, as upstream's defaults are.
const (
	maxReads  = 400
	maxWrites = 200
)

// inflight bounds the requests under way. Long ones are not counted; the
// cluster's masters always get in, and so do components in this process, which
// bound themselves. Nodes have room of their own. A flood from others, or a
// trickle that never ends, must not hold up the control plane.
type inflight struct {
	reads, writes, long   atomic.Int64
	nodeReads, nodeWrites atomic.Int64
}

func (f *inflight) enter(q *request) (release func(), err error) {
	reads, writes := &f.reads, &f.writes
	groups := q.user.GetGroups()
	if slices.Contains(groups, auth.Nodes) {
		reads, writes = &f.nodeReads, &f.nodeWrites
	}
	n, limit := reads, int64(maxReads)
	switch q.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		n, limit = writes, maxWrites
	}
	if q.long() {
		n, limit = &f.long, 0
	}
	_, inside := auth.UserFrom(q.r.Context())
	if n.Add(1) > limit && limit > 0 && !inside && !slices.Contains(groups, auth.Masters) {
		n.Add(-1)
		return nil, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
	}
	return func() { n.Add(-1) }, nil
}
