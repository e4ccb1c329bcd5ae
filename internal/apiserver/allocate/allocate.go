// Package allocate hands out numbers of a range, none twice: addresses of a
// CIDR, ports. It is not safe for concurrent use.
//
// What is chosen comes from the upper part of the range first, so that numbers
// people write down, which they take from the beginning, stay free for them
// (KEP-3070, KEP-3668).
package allocate

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// Range is a set of taken numbers from 0 to a size.
type Range struct {
	rand     rand.Source
	from, to int // the numbers that anybody may have
	band     int // numbers below are chosen last
	taken    []uint64
	count    int
	// base is what number 0 stands for.
	base netip.Addr
	port int32
}

// most bounds the addresses of a range, and with it the memory: of a larger
// CIDR the beginning is used.
const most = 1 << 20

func newRange(size, band int, r rand.Source) *Range {
	return &Range{rand: r, to: size, band: band, taken: make([]uint64, (size+63)/64)}
}

// Addresses returns the range of a CIDR's addresses without the network's own
// and its broadcast address.
func Addresses(cidr netip.Prefix, r rand.Source) (*Range, error) {
	cidr = cidr.Masked()
	host := cidr.Addr().BitLen() - cidr.Bits()
	if host < 2 {
		return nil, fmt.Errorf("the range %s is too small: it must hold at least 4 addresses", cidr)
	}
	size := most
	if host < 20 {
		size = 1 << host
	}
	// A sixteenth of the range, but 16 at least and 256 at most, is static.
	band := min(max(16, size/16), 256)
	if size <= 2*band {
		band = 0
	}
	a := newRange(size, band, r)
	a.base = cidr.Addr()
	a.from = 1
	if cidr.Addr().Is4() && host < 20 {
		a.to--
	}
	return a, nil
}

// Ports returns the range of ports from first to last.
func Ports(first, last int32, r rand.Source) (*Range, error) {
	if first < 1 || last > 65535 || last < first {
		return nil, fmt.Errorf("%d-%d is no range of ports", first, last)
	}
	size := int(last-first) + 1
	band := min(max(16, size/32), 128)
	if size <= 2*band {
		band = 0
	}
	p := newRange(size, band, r)
	p.port = first
	return p, nil
}

// Take takes a number, or returns false if it is taken.
func (a *Range) Take(n int) bool {
	word, bit := &a.taken[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	a.count++
	return true
}

// Taken tells whether a number is taken.
func (a *Range) Taken(n int) bool { return a.taken[n/64]&(1<<(n%64)) != 0 }

// Free gives a number back.
func (a *Range) Free(n int) {
	word, bit := &a.taken[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		*word &^= bit
		a.count--
	}
}

// Counts returns how many numbers were taken, and how many are free.
func (a *Range) Counts() (taken, free int) { return a.count, a.to - a.from - a.count }

// Any takes a number by chance, or returns false if all are taken.
func (a *Range) Any() (int, bool) {
	if a.count == a.to-a.from {
		return 0, false
	}
	if n := a.free(max(a.from, a.band), a.to); n >= 0 {
		return n, a.Take(n)
	}
	n := a.free(a.from, a.band)
	return n, n >= 0 && a.Take(n)
}

// free returns the first free number from a random place in [from, to) on,
// around the end, or -1.
func (a *Range) free(from, to int) int {
	if from >= to {
		return -1
	}
	start := from + int(a.rand.Uint64()%uint64(to-from))
	if n := a.next(start, to); n >= 0 {
		return n
	}
	return a.next(from, start)
}

func (a *Range) next(from, to int) int {
	for n := from; n < to; {
		open := ^a.taken[n/64] >> (n % 64)
		if open != 0 {
			if n += bits.TrailingZeros64(open); n < to {
				return n
			}
			return -1
		}
		n += 64 - n%64
	}
	return -1
}

// Address returns the number of an address, or -1 if it is not in the range.
func (a *Range) Address(ip netip.Addr) int {
	ip = ip.Unmap()
	if ip.Is4() != a.base.Is4() || ip.Less(a.base) {
		return -1
	}
	x, y := ip.As16(), a.base.As16()
	if ip.Is6() && binary.BigEndian.Uint64(x[:8]) != binary.BigEndian.Uint64(y[:8]) {
		return -1
	}
	n := binary.BigEndian.Uint64(x[8:]) - binary.BigEndian.Uint64(y[8:])
	if n < uint64(a.from) || n >= uint64(a.to) {
		return -1
	}
	return int(n)
}

// AddressAt returns the address of a number.
func (a *Range) AddressAt(n int) netip.Addr {
	b := a.base.As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+uint64(n))
	ip := netip.AddrFrom16(b)
	if a.base.Is4() {
		return ip.Unmap()
	}
	return ip
}

// Port returns the number of a port, or -1 if it is not in the range.
func (a *Range) Port(port int32) int {
	if n := int(port - a.port); n >= 0 && n < a.to {
		return n
	}
	return -1
}

// PortAt returns the port of a number.
func (a *Range) PortAt(n int) int32 { return a.port + int32(n) }

// Bounds returns the first and the last port.
func (a *Range) Bounds() (first, last int32) { return a.port, a.port + int32(a.to) - 1 }
