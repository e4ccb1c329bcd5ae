package allocate_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"clipper/internal/apiserver/allocate"

	"pgregory.net/rapid"
)

// TestRange compares a range with a plain set.
func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 30).Draw(t, "bits")
		cidr := netip.PrefixFrom(netip.MustParseAddr("10.1.2.0"), bits)
		a, err := allocate.Addresses(cidr, rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		if err != nil {
			t.Fatal(err)
		}
		size := 1 << (32 - bits)
		taken := map[int]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"any": func(t *rapid.T) {
				n, ok := a.Any()
				if ok == (len(taken) == size-2) {
					t.Fatalf("any: %v with %d of %d taken", ok, len(taken), size-2)
				}
				if !ok {
					return
				}
				ip := a.AddressAt(n)
				if taken[n] || !cidr.Contains(ip) || a.Address(ip) != n {
					t.Fatalf("any: %d, %s", n, ip)
				}
				taken[n] = true
			},
			"take": func(t *rapid.T) {
				n := rapid.IntRange(1, size-2).Draw(t, "n")
				if a.Take(n) == taken[n] {
					t.Fatalf("take %d: taken already: %v", n, taken[n])
				}
				taken[n] = true
			},
			"free": func(t *rapid.T) {
				n := rapid.IntRange(1, size-2).Draw(t, "n")
				a.Free(n)
				delete(taken, n)
			},
		})
	})
}

func TestBounds(t *testing.T) {
	r := rand.NewPCG(1, 2)
	a, err := allocate.Addresses(netip.MustParsePrefix("fd00::/108"), r)
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]int{"fd00::1": 1, "fd00::f:ffff": 1<<20 - 1, "fd00::10:0": -1, "fd01::1": -1, "10.0.0.1": -1} {
		if got := a.Address(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %d, want %d", ip, got, want)
		}
	}
	if _, err := allocate.Addresses(netip.MustParsePrefix("10.0.0.0/31"), r); err == nil {
		t.Error("a range of two addresses was accepted")
	}
	p, err := allocate.Ports(30000, 32767, r)
	if err != nil {
		t.Fatal(err)
	}
	if p.Port(29999) != -1 || p.Port(32768) != -1 || p.PortAt(p.Port(32767)) != 32767 {
		t.Error("ports are out of bounds")
	}
	for _, bad := range [][2]int32{{0, 1}, {2, 1}, {1, 65536}} {
		if _, err := allocate.Ports(bad[0], bad[1], r); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
