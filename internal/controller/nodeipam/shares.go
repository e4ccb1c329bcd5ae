package nodeipam

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"net/netip"
)

// shares tells which parts of a network are whose. Parts are numbered from the
// network's beginning.
type shares struct {
	network netip.Prefix
	bits    int
	count   int
	used    []uint64 // a bit for each part
	holders map[string]map[int]bool
}

func newShares(network netip.Prefix, length int) *shares {
	network = network.Masked()
	count := 1 << max(0, length-network.Bits())
	return &shares{
		network: network, bits: length, count: count,
		used: make([]uint64, (count+63)/64), holders: map[string]map[int]bool{},
	}
}

// take notes what a holder has; what lies outside of the network is not ours.
func (s *shares) take(holder string, p netip.Prefix) {
	p = p.Masked()
	if !p.Addr().Is4() || !p.Overlaps(s.network) {
		return
	}
	first := max(0, int(number(p.Addr())-number(s.network.Addr()))>>(32-s.bits))
	n := 1
	if p.Bits() < s.network.Bits() {
		first, n = 0, s.count
	} else if p.Bits() < s.bits {
		n = 1 << (s.bits - p.Bits())
	}
	for i := first; i < first+n; i++ {
		s.hold(holder, i)
	}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func (s *shares) hold(holder string, i int) {
	if s.holders[holder] == nil {
		s.holders[holder] = map[int]bool{}
	}
	s.holders[holder][i] = true
	s.used[i/64] |= 1 << (i % 64)
}

// give returns a share for the holder: the one that it has been given before,
// or the first free one; ok is false if there is none.
func (s *shares) give(holder string) (p netip.Prefix, ok bool) {
	for i := range s.holders[holder] {
		return s.part(i), true
	}
	for w, word := range s.used {
		if word == ^uint64(0) {
			continue
		}
		i := w*64 + bits.TrailingZeros64(^word)
		if i >= s.count {
			break
		}
		s.hold(holder, i)
		return s.part(i), true
	}
	return p, false
}

func (s *shares) part(i int) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number(s.network.Addr())+uint32(i)<<(32-s.bits))
	return netip.PrefixFrom(netip.AddrFrom4(b), s.bits)
}

// release takes all back that a holder has and nobody else claims too.
func (s *shares) release(holder string) {
	mine := s.holders[holder]
	delete(s.holders, holder)
	for i := range mine {
		claimed := false
		for other := range maps.Values(s.holders) {
			claimed = claimed || other[i]
		}
		if !claimed {
			s.used[i/64] &^= 1 << (i % 64)
		}
	}
}
