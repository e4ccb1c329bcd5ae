package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
	"k8s.io/utils/clock"
)

const (
	// maxForwards bounds how many names are asked for at a time.
	maxForwards = 512
	// upstreamTimeout is how long one upstream has to answer.
	upstreamTimeout = 2 * time.Second
)

// forwarder asks upstreams for the names that are not the cluster's.
type forwarder struct {
	upstreams []string
	log       *slog.Logger
	clock     clock.Clock
	slots     chan struct{}
	running   sync.WaitGroup
	cache     replies
}

func newForwarder(cfg *Config) (*forwarder, error) {
	f := &forwarder{log: cfg.Logger, clock: cfg.Clock, slots: make(chan struct{}, maxForwards)}
	for _, u := range cfg.Upstreams {
		at, err := netip.ParseAddrPort(u)
		if err != nil {
			ip, err := netip.ParseAddr(u)
			if err != nil {
				return nil, fmt.Errorf("dns: upstream %q: want an address, or an address and a port", u)
			}
			at = netip.AddrPortFrom(ip, 53)
		}
		for _, own := range cfg.Listen {
			if at == own {
				return nil, fmt.Errorf("dns: upstream %v is this server itself", at)
			}
		}
		f.upstreams = append(f.upstreams, at.String())
	}
	return f, nil
}

// able tells whether there is anybody to ask.
func (f *forwarder) able() bool { return len(f.upstreams) > 0 }

// wait returns once no question is under way any more.
func (f *forwarder) wait() { f.running.Wait() }

// resolve completes the reply to a query with what upstreams say of name, and
// hands it to send, from another goroutine unless it is known already.
func (f *forwarder) resolve(ctx context.Context, query, reply *mdns.Msg, name string, send func(*mdns.Msg)) {
	question := mdns.Question{Name: name, Qtype: query.Question[0].Qtype, Qclass: mdns.ClassINET}
	if known, ok := f.cache.get(question, f.clock.Now()); ok {
		complete(reply, known)
		send(reply)
		return
	}
	if !f.able() {
		complete(reply, nil)
		send(reply)
		return
	}
	select {
	case f.slots <- struct{}{}:
	default:
		complete(reply, nil)
		send(reply)
		return
	}
	f.running.Go(func() {
		defer func() { <-f.slots }()
		known := f.ask(ctx, question)
		complete(reply, known)
		send(reply)
	})
}

// complete adds what an upstream said, nil if none could say anything. An
// alias that led there is part of the reply, and stands by itself.
func complete(reply, known *mdns.Msg) {
	alias := len(reply.Answer) > 0
	if known == nil {
		if !alias {
			reply.Rcode = mdns.RcodeServerFailure
		}
		return
	}
	reply.Rcode = known.Rcode
	if alias && known.Rcode != mdns.RcodeSuccess {
		reply.Rcode = mdns.RcodeSuccess
		return
	}
	for _, rr := range known.Answer {
		if !alias && rr.Header().Name != reply.Question[0].Name && equalFold(rr.Header().Name, reply.Question[0].Name) {
			rr = mdns.Copy(rr)
			rr.Header().Name = reply.Question[0].Name // as the client spelt it
		}
		reply.Answer = append(reply.Answer, rr)
	}
	reply.Ns = append(reply.Ns, known.Ns...)
}

func equalFold(a, b string) bool { return mdns.CanonicalName(a) == mdns.CanonicalName(b) }

// ask returns the first answer of an upstream, nil if there is none.
func (f *forwarder) ask(ctx context.Context, question mdns.Question) *mdns.Msg {
	var last error
	for _, upstream := range f.upstreams {
		reply, err := exchange(ctx, upstream, question)
		if err == nil && (reply.Rcode == mdns.RcodeSuccess || reply.Rcode == mdns.RcodeNameError) {
			f.cache.put(question, reply, f.clock.Now())
			return reply
		}
		if err == nil {
			err = fmt.Errorf("%s answers %s", upstream, mdns.RcodeToString[reply.Rcode])
		}
		if last = err; ctx.Err() != nil {
			return nil
		}
	}
	f.log.Debug("no upstream has an answer", "name", question.Name, "err", last)
	return nil
}

// exchange asks one upstream, by TCP if the answer does not fit a datagram.
func exchange(ctx context.Context, upstream string, question mdns.Question) (*mdns.Msg, error) {
	query := &mdns.Msg{Question: []mdns.Question{question}}
	query.Id = mdns.Id()
	query.RecursionDesired = true
	query.SetEdns0(maxUDP, false)
	for _, network := range []string{"udp", "tcp"} {
		client := mdns.Client{Net: network, UDPSize: maxUDP, Timeout: upstreamTimeout, Dialer: &net.Dialer{Timeout: upstreamTimeout}}
		reply, _, err := client.ExchangeContext(ctx, query, upstream)
		if err != nil {
			return nil, err
		}
		if len(reply.Question) != 1 || !equalFold(reply.Question[0].Name, question.Name) || reply.Question[0].Qtype != question.Qtype {
			return nil, fmt.Errorf("%s answers another question", upstream)
		}
		if !reply.Truncated {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("%s truncates its answer", upstream)
}
