package nodeipam

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestShares: no two holders are given shares that overlap, none that somebody
// took, none outside of the network; all of it can be given, and comes back.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(16, 28).Draw(t, "network")
		bits := length + rapid.IntRange(0, 6).Draw(t, "bits")
		network := netip.PrefixFrom(netip.MustParseAddr("10.128.0.0"), length)
		s := newShares(network, min(bits, 30))
		held := map[string]netip.Prefix{} // by holder
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			holder := fmt.Sprint("n", rapid.IntRange(0, 40).Draw(t, "holder"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				s.release(holder)
				delete(held, holder)
			case 1: // comes with one, as after a restart
				if _, ok := held[holder]; ok {
					continue
				}
				p := s.part(rapid.IntRange(0, s.count-1).Draw(t, "part"))
				free := true
				for _, other := range held {
					free = free && !other.Overlaps(p)
				}
				if free {
					s.take(holder, p)
					held[holder] = p
				}
			default:
				p, ok := s.give(holder)
				if !ok {
					if len(held) < s.count {
						t.Fatalf("none of %d left while %d are held", s.count, len(held))
					}
					continue
				}
				if had, again := held[holder]; again && had != p {
					t.Fatalf("%s has %s and is given %s", holder, had, p)
				}
				if !network.Contains(p.Addr()) || p.Bits() != s.bits || p != p.Masked() {
					t.Fatalf("%s of %s", p, network)
				}
				for other, theirs := range held {
					if other != holder && theirs.Overlaps(p) {
						t.Fatalf("%s is %s's, and is given to %s", theirs, other, holder)
					}
				}
				held[holder] = p
			}
		}
	})
}

// TestTaken: what was given by other hands, of whatever size, is not given again.
func TestTaken(t *testing.T) {
	for _, c := range []struct{ taken, want string }{
		{"10.0.0.0/24", "10.0.1.0/24"},
		{"10.0.0.0/23", "10.0.2.0/24"},
		{"10.0.0.17/28", "10.0.1.0/24"},
		{"10.0.1.0/24", "10.0.0.0/24"},
		{"192.0.2.0/24", "10.0.0.0/24"},
		{"fd00::/64", "10.0.0.0/24"},
		{"10.0.0.0/8", ""},
	} {
		s := newShares(netip.MustParsePrefix("10.0.0.0/22"), 24)
		s.take("a", netip.MustParsePrefix(c.taken))
		p, ok := s.give("b")
		if ok != (c.want != "") || ok && p.String() != c.want {
			t.Errorf("%s is taken: %s, %v", c.taken, p, ok)
		}
		s.release("a")
		if p, ok := s.give("c"); !ok {
			t.Errorf("%s came back: %s, %v", c.taken, p, ok)
		}
	}
	// Two that claim one: it is free when both are gone.
	s := newShares(netip.MustParsePrefix("10.0.0.0/24"), 24)
	s.take("a", s.network)
	s.take("b", s.network)
	s.release("a")
	if p, ok := s.give("c"); ok {
		t.Errorf("given %s, which is b's", p)
	}
	s.release("b")
	if _, ok := s.give("c"); !ok {
		t.Error("nobody has it, and it is not given")
	}
}
