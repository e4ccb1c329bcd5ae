package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	// maxUDP is the most that is sent in one datagram, which so is not
	// fragmented on any usual way (dnsflagday.net/2020).
	maxUDP = 1232
	// maxQuery is the longest query that is read from a datagram.
	maxQuery = 4096
	// idleTCP is how long a connection without queries is kept.
	idleTCP = 10 * time.Second
	// maxTCP bounds the connections that are served at a time.
	maxTCP = 256
)

// serveUDP answers datagrams until ctx ends. Names of the cluster are answered
// on the spot; only what is forwarded gets a goroutine.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	in, out := make([]byte, maxQuery), make([]byte, maxUDP)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("dns: receive: %w", err)
		}
		query := &mdns.Msg{}
		if !parse(query, in[:n]) {
			continue
		}
		reply, alias := s.answer(query)
		if alias != "" {
			s.forward.resolve(ctx, query, reply, alias, func(reply *mdns.Msg) {
				s.send(conn, from, query, reply, make([]byte, maxUDP))
			})
			continue
		}
		s.send(conn, from, query, reply, out)
	}
}

// parse reads a query; whatever is not one gets no answer.
func parse(query *mdns.Msg, data []byte) bool {
	if len(data) < 12 || data[2]&0x80 != 0 {
		return false
	}
	if err := query.Unpack(data); err != nil {
		// The header may be good enough to say what is wrong.
		*query = mdns.Msg{MsgHdr: mdns.MsgHdr{Id: uint16(data[0])<<8 | uint16(data[1]), Opcode: int(data[2]>>3) & 15}}
	}
	return true
}

func (s *Server) send(conn *net.UDPConn, to netip.AddrPort, query, reply *mdns.Msg, buf []byte) {
	size := mdns.MinMsgSize
	if o := query.IsEdns0(); o != nil {
		size = min(max(size, int(o.UDPSize())), maxUDP)
	}
	reply.Truncate(size)
	data, err := reply.PackBuffer(buf)
	if err != nil {
		s.log.Error("answer could not be packed", "question", reply.Question, "err", err)
		return
	}
	_, _ = conn.WriteToUDPAddrPort(data, to) // a client that has gone is no news
}

// serveTCP answers connections until ctx ends.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener) error {
	limited := &limitListener{TCPListener: l, slots: make(chan struct{}, maxTCP)}
	srv := &mdns.Server{
		Listener: limited, MaxTCPQueries: -1, ReadTimeout: idleTCP, WriteTimeout: idleTCP,
		IdleTimeout: func() time.Duration { return idleTCP },
		// Let the handler see what is odd: it answers as for datagrams.
		MsgAcceptFunc: func(h mdns.Header) mdns.MsgAcceptAction {
			if h.Bits&(1<<15) != 0 {
				return mdns.MsgIgnore
			}
			return mdns.MsgAccept
		},
		Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, query *mdns.Msg) {
			reply, alias := s.answer(query)
			if alias == "" {
				_ = w.WriteMsg(reply)
				return
			}
			done := make(chan struct{})
			s.forward.resolve(ctx, query, reply, alias, func(reply *mdns.Msg) {
				_ = w.WriteMsg(reply)
				close(done)
			})
			<-done
		}),
	}
	defer context.AfterFunc(ctx, func() {
		// Without waiting for idle connections: their clients ask again.
		stopped, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.ShutdownContext(stopped)
		_ = l.Close()
	})()
	if err := srv.ActivateAndServe(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("dns: accept: %w", err)
	}
	return nil
}

// limitListener accepts only so many connections at a time.
type limitListener struct {
	*net.TCPListener
	slots chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.TCPListener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

type limitedConn struct {
	net.Conn
	slots chan struct{}
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	if !errors.Is(err, net.ErrClosed) {
		<-c.slots
	}
	return err
}

// answer makes the reply to a query. If alias is not empty, that absolute name
// is not the cluster's: the reply is complete once it was asked for elsewhere.
func (s *Server) answer(query *mdns.Msg) (reply *mdns.Msg, alias string) {
	reply = &mdns.Msg{}
	reply.SetReply(query)
	reply.RecursionAvailable = true
	reply.Compress = true
	if o := query.IsEdns0(); o != nil {
		reply.SetEdns0(maxUDP, o.Do())
		if o.Version() != 0 {
			reply.Rcode = mdns.RcodeBadVers
			return reply, ""
		}
	}
	switch {
	case query.Opcode != mdns.OpcodeQuery:
		reply.Rcode = mdns.RcodeNotImplemented
		return reply, ""
	case len(query.Question) != 1:
		reply.Rcode = mdns.RcodeFormatError
		return reply, ""
	}
	q := query.Question[0]
	switch {
	case q.Qclass != mdns.ClassINET:
		reply.Rcode = mdns.RcodeRefused
		return reply, ""
	case q.Qtype == mdns.TypeAXFR || q.Qtype == mdns.TypeIXFR || q.Qtype == mdns.TypeANY:
		reply.Rcode = mdns.RcodeNotImplemented
		return reply, ""
	}
	name := strings.ToLower(q.Name)
	if rest, ok := s.zone.below(name); ok {
		a := s.zone.lookup(rest, q.Name, q.Qtype)
		s.fill(reply, a)
		return reply, a.alias
	}
	if ip, ok := reversed(name); ok {
		if a, ok := s.zone.reverse(ip, q.Name, q.Qtype); ok {
			s.fill(reply, a)
			return reply, ""
		}
		if !s.forward.able() {
			reply.Rcode = mdns.RcodeNameError
			return reply, ""
		}
	}
	if !s.forward.able() {
		reply.Rcode = mdns.RcodeServerFailure
		return reply, ""
	}
	return reply, name
}

// fill writes the zone's answer into the reply.
func (s *Server) fill(reply *mdns.Msg, a answer) {
	reply.Authoritative = true
	reply.Rcode = a.rcode
	reply.Answer = a.records
	reply.Extra = append(a.extra, reply.Extra...)
	if len(a.records) == 0 && a.alias == "" && (a.rcode == mdns.RcodeSuccess || a.rcode == mdns.RcodeNameError) {
		reply.Ns = []mdns.RR{s.zone.soa()}
	}
	// An alias has to come before what it leads to.
	if n := len(reply.Answer); n > 1 && reply.Answer[0].Header().Rrtype != mdns.TypeCNAME {
		s.cfg.Shuffle(n, func(i, j int) { reply.Answer[i], reply.Answer[j] = reply.Answer[j], reply.Answer[i] })
	}
}
