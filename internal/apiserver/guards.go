package apiserver

import (
	"strings"
	"sync/atomic"

	"clipper/internal/measure"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// guards count what becomes of requests on their way to their handler: who they
// are from, how long they wait for a seat, whether they may.
type guards struct {
	authentication [len(identifications)]*measure.Histogram
	authorization  [len(decisions)]*measure.Histogram
	fairness       *measure.Histogram // waits
	users          [len(familiar) + 2]atomic.Uint64
}

// What becomes of an authentication.
const (
	identified = iota
	unidentified
	mistaken // a credential was shown that is not good
)

var identifications = [...]string{identified: "success", unidentified: "failure", mistaken: "error"}

// What becomes of an authorisation. No rule of ours forbids: without one that
// allows there is no opinion.
const (
	allowed = iota
	noOpinion
	undecided // by an error
)

var decisions = [...]string{allowed: "allowed", noOpinion: "no-opinion", undecided: "error"}

// familiar are the users that metrics name; others are told by what they look
// like, so that no name is told that a client made up.
var familiar = [...]string{"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"}

func newGuards() *guards {
	g := &guards{fairness: measure.Seconds(filterBounds)}
	for i := range g.authentication {
		g.authentication[i] = measure.Seconds(measure.Union(guardBounds, filterBounds))
	}
	for i := range g.authorization {
		g.authorization[i] = measure.Seconds(measure.Union(guardBounds, filterBounds))
	}
	return g
}

// userLabels are those of users.
func userLabels() []string { return append(familiar[:], "email_id", "other") }

func userIndex(name string) int {
	for i, known := range familiar {
		if name == known {
			return i
		}
	}
	if strings.Contains(name, "@") {
		return len(familiar)
	}
	return len(familiar) + 1
}

// authenticated counts an authentication that has just ended with this error.
func (q *request) authenticated(err error) {
	took := q.Clock.Since(q.start)
	q.known = q.start.Add(took)
	g, result := q.metrics.guards, identified
	switch {
	case err == nil:
		g.users[userIndex(q.user.GetName())].Add(1)
	case !apierrors.IsUnauthorized(err): // it is known who asks, who must not be somebody else
	case q.r.Header["Authorization"] != nil, q.r.TLS != nil && len(q.r.TLS.PeerCertificates) > 0:
		result = mistaken
	default:
		result = unidentified
	}
	g.authentication[result].Took(took)
}
