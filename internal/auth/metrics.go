package auth

import (
	"sync/atomic"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
)

// tokenCounts are what is counted of ServiceAccount tokens: how often one was
// known already, what became of verifying the others, and whether who used a
// pod's token should have read it again.
type tokenCounts struct {
	hits, misses, good, bad, valid, stale atomic.Uint64
}

func count(of bool, yes, no *atomic.Uint64) {
	if of {
		yes.Add(1)
	} else {
		no.Add(1)
	}
}

func (c *tokenCounts) lookup(known bool)  { count(known, &c.hits, &c.misses) }
func (c *tokenCounts) verified(err error) { count(err == nil, &c.good, &c.bad) }
func (c *tokenCounts) used(late bool)     { count(late, &c.stale, &c.valid) }

// Collector returns upstream's metrics of ServiceAccount tokens.
func (v *Verifier) Collector() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	requests := d("authentication_token_cache_request_total", "Number of tokens that were looked up, by whether they were known (hit or miss).", "status")
	fetches := d("authentication_token_cache_fetch_total", "Number of tokens that were verified since they were not known, by the result.", "status")
	valid := d("serviceaccount_valid_tokens_total", "Cumulative valid projected service account tokens used")
	stale := d("serviceaccount_stale_tokens_total", "Cumulative stale projected service account tokens used")
	return measure.Collector(func(out measure.Out) {
		c := &v.counts
		out.Happened(requests, c.hits.Load(), "hit")
		out.Happened(requests, c.misses.Load(), "miss")
		out.Happened(fetches, c.good.Load(), "ok")
		out.Happened(fetches, c.bad.Load(), "error")
		out.Counter(valid, c.valid.Load())
		out.Counter(stale, c.stale.Load())
	})
}

// Collector returns upstream's metric of who allowed requests. What
// system:masters may is asked of nobody.
func (r *Rules) Collector() prometheus.Collector {
	d := prometheus.NewDesc("apiserver_authorization_decisions_total", "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.", []string{"type", "name", "decision"}, nil)
	return measure.Collector(func(out measure.Out) {
		out.Happened(d, r.nodeAllowed.Load(), "Node", "node", "allowed")
		out.Happened(d, r.grantAllowed.Load(), "RBAC", "rbac", "allowed")
	})
}
