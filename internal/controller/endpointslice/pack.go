package endpointslice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"
)

// Most is how many endpoints a slice holds at most.
const Most = 100

// Group is endpoints that share a family of addresses and their ports.
type Group struct {
	Family    discoveryv1.AddressType
	Ports     []discoveryv1.EndpointPort
	Endpoints []discoveryv1.Endpoint
}

// Changes are what it takes to turn some slices into those wanted.
type Changes struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Pack spreads the groups over slices with few writes: an endpoint that has a
// slice stays in it, slices that change anyway are filled up, and a slice whose
// content is no longer wanted gets another instead of being replaced. Of every
// family there is at least one slice, if an empty one. like bears the name
// prefix, namespace, labels, annotations and owner of all slices; annotations
// are set only along with something else.
func Pack(like *discoveryv1.EndpointSlice, families []discoveryv1.AddressType, groups []Group, have []*discoveryv1.EndpointSlice) Changes {
	p := packing{like: like, kept: map[types.UID]*slice{}}
	have = slices.SortedFunc(slices.Values(have), func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	by := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range have {
		by[key(s.AddressType, s.Ports)] = append(by[key(s.AddressType, s.Ports)], s)
	}
	for _, f := range families {
		if !slices.ContainsFunc(groups, func(g Group) bool { return g.Family == f }) {
			groups = append(groups, Group{Family: f})
		}
	}
	for _, g := range groups {
		p.group(g, by[key(g.Family, g.Ports)])
	}
	return p.changes(have)
}

func key(f discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	var b strings.Builder
	b.WriteString(string(f))
	for _, p := range ports {
		fmt.Fprintf(&b, "|%q/%v/%d/%q", deref(p.Name), deref(p.Protocol), deref(p.Port), deref(p.AppProtocol))
	}
	return b.String()
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// packing is what is known of the slices to be.
type packing struct {
	like  *discoveryv1.EndpointSlice
	kept  map[types.UID]*slice
	fresh []*slice
}

// slice is a slice to be; was is what it is now, nil for a new one.
type slice struct {
	was       *discoveryv1.EndpointSlice
	family    discoveryv1.AddressType
	ports     []discoveryv1.EndpointPort
	endpoints []discoveryv1.Endpoint
	changed   bool
}

func (s *slice) room() int { return Most - len(s.endpoints) }

func (s *slice) fill(from []discoveryv1.Endpoint) []discoveryv1.Endpoint {
	n := min(s.room(), len(from))
	if n > 0 {
		s.endpoints = append(s.endpoints, from[:n]...)
		s.changed = true
	}
	return from[max(n, 0):]
}

func identity(e *discoveryv1.Endpoint) string {
	id := ""
	if len(e.Addresses) > 0 {
		id = e.Addresses[0]
	}
	if e.TargetRef != nil {
		id += "/" + string(e.TargetRef.UID) + "/" + e.TargetRef.Name
	}
	return id
}

func (p *packing) group(g Group, have []*discoveryv1.EndpointSlice) {
	left := make(map[string]int, len(g.Endpoints))
	for i := range g.Endpoints {
		left[identity(&g.Endpoints[i])] = i
	}
	var mine []*slice
	for _, was := range have {
		s := &slice{was: was, family: g.Family, ports: g.Ports}
		s.endpoints = make([]discoveryv1.Endpoint, 0, len(was.Endpoints))
		for i := range was.Endpoints {
			id := identity(&was.Endpoints[i])
			j, ok := left[id]
			if !ok || s.room() == 0 {
				s.changed = true
				continue
			}
			delete(left, id)
			s.endpoints = append(s.endpoints, g.Endpoints[j])
			s.changed = s.changed || !sameEndpoint(&was.Endpoints[i], &g.Endpoints[j])
		}
		mine = append(mine, s)
	}
	var rest []discoveryv1.Endpoint
	for i := range g.Endpoints {
		if j, ok := left[identity(&g.Endpoints[i])]; ok && j == i {
			rest = append(rest, g.Endpoints[i])
		}
	}
	for _, s := range mine {
		if s.changed {
			rest = s.fill(rest)
		}
	}
	for len(rest) >= Most {
		rest = p.add(g, rest)
	}
	if len(rest) > 0 {
		// One more slice has to change: that with just enough room, or a new one.
		var best *slice
		for _, s := range mine {
			if !s.changed && s.room() >= len(rest) && (best == nil || s.room() < best.room()) {
				best = s
			}
		}
		if best != nil {
			best.fill(rest)
		} else {
			p.add(g, rest)
		}
	}
	empty := len(g.Endpoints) == 0
	for _, s := range mine {
		if len(s.endpoints) > 0 || empty {
			p.kept[s.was.UID] = s
			empty = false
		}
	}
	if empty {
		p.fresh = append(p.fresh, &slice{family: g.Family, ports: g.Ports, changed: true})
	}
}

func (p *packing) add(g Group, from []discoveryv1.Endpoint) (rest []discoveryv1.Endpoint) {
	s := &slice{family: g.Family, ports: g.Ports}
	rest = s.fill(from)
	p.fresh = append(p.fresh, s)
	return rest
}

func (p *packing) changes(have []*discoveryv1.EndpointSlice) (c Changes) {
	for _, was := range have {
		s := p.kept[was.UID]
		if s == nil {
			i := slices.IndexFunc(p.fresh, func(f *slice) bool { return f.family == was.AddressType })
			if i < 0 {
				c.Delete = append(c.Delete, was)
				continue
			}
			s = p.fresh[i]
			s.was = was
			p.fresh = slices.Delete(p.fresh, i, i+1)
		}
		if s.changed || !p.labelled(was) {
			c.Update = append(c.Update, p.object(s))
		}
	}
	for _, s := range p.fresh {
		c.Create = append(c.Create, p.object(s))
	}
	return c
}

func (p *packing) labelled(s *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(s.Labels, p.like.Labels) && equality.Semantic.DeepEqual(s.OwnerReferences, p.like.OwnerReferences)
}

func (p *packing) object(s *slice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: p.like.ObjectMeta, AddressType: s.family, Ports: s.ports, Endpoints: s.endpoints}
	if s.was != nil {
		out.ObjectMeta = s.was.ObjectMeta
		out.Labels, out.Annotations, out.OwnerReferences = p.like.Labels, p.like.Annotations, p.like.OwnerReferences
	}
	return out
}

func sameEndpoint(a, b *discoveryv1.Endpoint) bool {
	return slices.Equal(a.Addresses, b.Addresses) &&
		same(a.Conditions.Ready, b.Conditions.Ready) && same(a.Conditions.Serving, b.Conditions.Serving) &&
		same(a.Conditions.Terminating, b.Conditions.Terminating) &&
		same(a.NodeName, b.NodeName) && same(a.Zone, b.Zone) && same(a.Hostname, b.Hostname) &&
		sameRef(a.TargetRef, b.TargetRef) &&
		(a.Hints == nil && b.Hints == nil || a.Hints != nil && b.Hints != nil &&
			slices.Equal(a.Hints.ForZones, b.Hints.ForZones) && slices.Equal(a.Hints.ForNodes, b.Hints.ForNodes)) &&
		len(a.DeprecatedTopology) == 0
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameRef(a, b *corev1.ObjectReference) bool { return same(a, b) }
