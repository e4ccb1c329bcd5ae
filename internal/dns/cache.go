package dns

import (
	"container/list"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	// maxReplies is how many replies of upstreams are remembered, and
	// maxRemembered for how long at most.
	maxReplies    = 1024
	maxRemembered = 5 * time.Minute
)

// replies remembers what upstreams said; its zero value is empty. When it is
// full the reply that was asked for longest ago goes.
type replies struct {
	mu    sync.Mutex
	byKey map[mdns.Question]*list.Element
	used  list.List // of *known, the latest used first
}

type known struct {
	question mdns.Question
	reply    *mdns.Msg
	at, ends time.Time
}

// get returns a reply with the time it has yet to live.
func (c *replies) get(q mdns.Question, now time.Time) (*mdns.Msg, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[q]
	if e == nil {
		return nil, false
	}
	k := e.Value.(*known)
	if !now.Before(k.ends) {
		c.used.Remove(e)
		delete(c.byKey, q)
		return nil, false
	}
	c.used.MoveToFront(e)
	return age(k.reply, uint32(now.Sub(k.at)/time.Second)), true
}

// age returns a copy of the reply as it is so many seconds later.
func age(reply *mdns.Msg, seconds uint32) *mdns.Msg {
	older := *reply
	for _, section := range []*[]mdns.RR{&older.Answer, &older.Ns} {
		rrs := make([]mdns.RR, len(*section))
		for i, rr := range *section {
			rrs[i] = mdns.Copy(rr)
			rrs[i].Header().Ttl -= min(seconds, rr.Header().Ttl)
		}
		*section = rrs
	}
	return &older
}

// put remembers a reply for as long as its records say.
func (c *replies) put(q mdns.Question, reply *mdns.Msg, now time.Time) {
	lives := lifetime(reply)
	if lives <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[mdns.Question]*list.Element{}
	}
	k := &known{question: q, reply: reply, at: now, ends: now.Add(lives)}
	if e := c.byKey[q]; e != nil {
		e.Value = k
		c.used.MoveToFront(e)
		return
	}
	if len(c.byKey) == maxReplies {
		last := c.used.Back()
		c.used.Remove(last)
		delete(c.byKey, last.Value.(*known).question)
	}
	c.byKey[q] = c.used.PushFront(k)
}

// lifetime is the shortest of a reply's records; that of a negative one is its
// SOA's (RFC 2308), without which it has none.
func lifetime(reply *mdns.Msg) time.Duration {
	shortest, found := uint32(maxRemembered/time.Second), false
	if len(reply.Answer) > 0 {
		found = true
		for _, rr := range reply.Answer {
			shortest = min(shortest, rr.Header().Ttl)
		}
	}
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			found = true
			shortest = min(shortest, soa.Hdr.Ttl, soa.Minttl)
		}
	}
	if !found {
		return 0
	}
	return time.Duration(shortest) * time.Second
}
