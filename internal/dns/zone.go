package dns

import (
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
)

// specVersion is that of the Kubernetes DNS specification followed here.
const specVersion = "1.1.0"

// ttl of answers, in seconds, also of negative ones: short, for endpoints move.
const ttl = 5

// zone is the cluster's domain, and the names of its addresses.
type zone struct {
	index
	// domain is absolute, such as "cluster.local.".
	domain string
	// self is the address of the name server.
	self netip.Addr
}

func newZone(domain string, self netip.Addr) *zone {
	return &zone{index: newIndex(), domain: mdns.Fqdn(domain), self: self}
}

// answer is what a zone says about a name. One without records is "there is
// such a name, but not with this type".
type answer struct {
	rcode   int
	records []mdns.RR
	extra   []mdns.RR
	// alias, if not empty, is an absolute name outside the zone where the last
	// record leads; the answer is complete once that was resolved.
	alias string
}

var nameError = answer{rcode: mdns.RcodeNameError}

// below returns a name's part before the zone, and whether it is in the zone at
// all. The name is absolute and in lower case.
func (z *zone) below(name string) (string, bool) {
	rest, ok := strings.CutSuffix(name, z.domain)
	if !ok || rest != "" && !strings.HasSuffix(rest, ".") {
		return "", false
	}
	return strings.TrimSuffix(rest, "."), true
}

// maxAliases bounds how long a way of names to names is followed.
const maxAliases = 8

// lookup answers a name of the zone, given by its part before the zone; owner
// is the whole name as it was asked for.
func (z *zone) lookup(rest, owner string, qtype uint16) answer {
	var all answer
	for range maxAliases {
		a := z.find(rest, owner, qtype)
		if a.alias == "" {
			a.records = append(all.records, a.records...)
			if len(all.records) > 0 && a.rcode == mdns.RcodeNameError {
				a.rcode = mdns.RcodeSuccess // the alias itself does exist
			}
			return a
		}
		all.records = append(all.records, a.records...)
		if qtype == mdns.TypeCNAME {
			return all
		}
		inside, ok := z.below(a.alias)
		if !ok {
			all.alias = a.alias
			return all
		}
		rest, owner = inside, a.alias
	}
	return answer{rcode: mdns.RcodeServerFailure}
}

// find answers one name, aliases not followed.
func (z *zone) find(rest, owner string, qtype uint16) answer {
	if rest == "" {
		return z.apex(owner, qtype)
	}
	labels := strings.Split(rest, ".")
	last := len(labels) - 1
	kind, labels := labels[last], labels[:last]
	switch kind {
	case "svc":
		return z.service(labels, owner, qtype)
	case "pod":
		return z.pod(labels, owner, qtype)
	case "dns-version":
		if len(labels) > 0 {
			return nameError
		}
		var a answer
		if qtype == mdns.TypeTXT {
			a.records = []mdns.RR{&mdns.TXT{Hdr: header(owner, mdns.TypeTXT), Txt: []string{specVersion}}}
		}
		return a
	case "dns":
		switch {
		case len(labels) == 0:
			return answer{}
		case len(labels) == 1 && labels[0] == "ns" && z.self.IsValid():
			return answer{records: addresses(owner, qtype, []netip.Addr{z.self})}
		}
	}
	return nameError
}

func (z *zone) apex(owner string, qtype uint16) (a answer) {
	switch qtype {
	case mdns.TypeSOA:
		a.records = []mdns.RR{z.soa()}
	case mdns.TypeNS:
		a.records = []mdns.RR{&mdns.NS{Hdr: header(owner, mdns.TypeNS), Ns: "ns.dns." + z.domain}}
	}
	return a
}

// soa is what negative answers carry, so that they can be remembered.
func (z *zone) soa() mdns.RR {
	return &mdns.SOA{
		Hdr: header(z.domain, mdns.TypeSOA), Ns: "ns.dns." + z.domain, Mbox: "hostmaster." + z.domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

// service answers NAMESPACE, SERVICE.NAMESPACE, HOST.SERVICE.NAMESPACE and
// _PORT._PROTOCOL.SERVICE.NAMESPACE.
func (z *zone) service(labels []string, owner string, qtype uint16) answer {
	n := len(labels)
	if n == 0 {
		return answer{}
	}
	namespace := labels[n-1]
	if n == 1 {
		return z.namespace(namespace)
	}
	r, ok := z.index.find(namespace, labels[n-2])
	if !ok {
		return nameError
	}
	if r.alias != "" {
		if n > 2 {
			return nameError
		}
		return answer{
			alias:   r.alias,
			records: []mdns.RR{&mdns.CNAME{Hdr: header(owner, mdns.TypeCNAME), Target: r.alias}},
		}
	}
	own := labels[n-2] + "." + namespace + ".svc." + z.domain
	switch {
	case n == 2 && qtype == mdns.TypeSRV:
		var a answer
		for _, targets := range r.ports {
			a.add(r, own, owner, targets)
		}
		return a
	case n == 2:
		return answer{records: addresses(owner, qtype, r.addrs)}
	case n == 3 && strings.HasPrefix(labels[0], "_"):
		for key := range r.ports {
			if strings.HasSuffix(key, "."+labels[0]) {
				return answer{}
			}
		}
	case n == 3:
		if addrs, ok := r.hosts[labels[0]]; ok {
			return answer{records: addresses(owner, qtype, addrs)}
		}
	case n == 4:
		if targets := r.ports[labels[0]+"."+labels[1]]; len(targets) > 0 {
			var a answer
			if qtype == mdns.TypeSRV {
				a.add(r, own, owner, targets)
			}
			return a
		}
	}
	return nameError
}

// add appends the targets of a port, and their addresses.
func (a *answer) add(r *record, own, owner string, targets []target) {
	for _, t := range targets {
		name, addrs := own, r.addrs
		if t.host != "" {
			name, addrs = t.host+"."+own, r.hosts[t.host]
		}
		a.records = append(a.records, &mdns.SRV{
			Hdr: header(owner, mdns.TypeSRV), Weight: uint16(100 / len(targets)), Port: t.port, Target: name,
		})
		a.extra = append(a.extra, addresses(name, mdns.TypeA, addrs)...)
		a.extra = append(a.extra, addresses(name, mdns.TypeAAAA, addrs)...)
	}
}

// pod answers ADDRESS.NAMESPACE, the address with dashes for its dots or
// colons, whether or not there is such a pod.
func (z *zone) pod(labels []string, owner string, qtype uint16) answer {
	switch len(labels) {
	case 0:
		return answer{}
	case 1:
		return z.namespace(labels[0])
	case 2:
		for _, sep := range []string{".", ":"} {
			ip, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", sep))
			if err == nil && ip.Zone() == "" && z.hasNamespace(labels[1]) {
				return answer{records: addresses(owner, qtype, []netip.Addr{ip})}
			}
		}
	}
	return nameError
}

// namespace answers a name that has nothing but names below it.
func (z *zone) namespace(name string) answer {
	if z.hasNamespace(name) {
		return answer{}
	}
	return nameError
}

// reverse answers the name of an address; ok is false if it has none here.
func (z *zone) reverse(ip netip.Addr, owner string, qtype uint16) (a answer, ok bool) {
	names := z.namesOf(ip)
	if qtype == mdns.TypePTR {
		for _, n := range names {
			a.records = append(a.records, &mdns.PTR{Hdr: header(owner, mdns.TypePTR), Ptr: n + "." + z.domain})
		}
	}
	return a, len(names) > 0
}

func header(name string, rrtype uint16) mdns.RR_Header {
	return mdns.RR_Header{Name: name, Rrtype: rrtype, Class: mdns.ClassINET, Ttl: ttl}
}

// addresses returns the records of those that have the type asked for.
func addresses(owner string, qtype uint16, ips []netip.Addr) []mdns.RR {
	var rrs []mdns.RR
	for _, ip := range ips {
		switch {
		case qtype == mdns.TypeA && ip.Is4():
			rrs = append(rrs, &mdns.A{Hdr: header(owner, mdns.TypeA), A: ip.AsSlice()})
		case qtype == mdns.TypeAAAA && ip.Is6():
			rrs = append(rrs, &mdns.AAAA{Hdr: header(owner, mdns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	return rrs
}

const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// reversed parses the name that an address has in the reverse tree.
func reversed(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, reverse4); ok {
		labels := strings.Split(rest, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		ip, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return ip, err == nil
	}
	if rest, ok := strings.CutSuffix(name, reverse6); ok {
		const digits = 32
		if len(rest) != 2*digits-1 {
			return netip.Addr{}, false
		}
		var text []byte
		for i := len(rest) - 1; i >= 0; i -= 2 {
			if text = append(text, rest[i]); len(text)%5 == 4 && i > 0 {
				text = append(text, ':')
			}
		}
		ip, err := netip.ParseAddr(string(text))
		return ip, err == nil
	}
	return netip.Addr{}, false
}
