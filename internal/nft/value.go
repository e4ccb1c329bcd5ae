package nft

import (
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Type is the type of a set's keys or data: its size in registers, and the
// number by which the nft command knows how to print it.
type Type struct {
	magic, size uint32
}

// The types in use. A number is in the machine's byte order; the nft command
// has no name for such a type but that of marks, which it prints in hexadecimal.
var (
	Number    = Type{19, 4}
	IPv4Addr  = Type{7, 4}
	IPv6Addr  = Type{8, 16}
	Protocol  = Type{12, 1}
	Port      = Type{13, 2}
	Interface = Type{41, 16}
	// Verdict makes a map that decides where a packet goes.
	Verdict = Type{unix.NFT_DATA_VERDICT, 0}
)

func (t Type) isVerdict() bool { return t.magic == unix.NFT_DATA_VERDICT }

// Concat is the type of tuples; each part fills whole registers of four bytes.
func Concat(types ...Type) Type {
	var c Type
	for _, t := range types {
		c.magic = c.magic<<6 | t.magic
		c.size += (t.size + 3) &^ 3
	}
	return c
}

// Addr is the type of the family's addresses.
func (f Family) Addr() Type {
	if f == IPv6 {
		return IPv6Addr
	}
	return IPv4Addr
}

// Of tells whether an address belongs to the family.
func (f Family) Of(a netip.Addr) bool { return a.Is4() == (f == IPv4) && a.IsValid() }

// Value is a key or data, as the kernel compares it. Values concatenate with +
// once they are in a tuple's form, as those that Join returns are.
type Value string

// Join makes the value of a tuple.
func Join(parts ...Value) Value {
	var b []byte
	for _, p := range parts {
		b = pad(append(b, p...))
	}
	return Value(b)
}

// AddrValue returns an address as a value.
func AddrValue(a netip.Addr) Value { return Value(a.AsSlice()) }

// PortValue returns a port as a value.
func PortValue(p uint16) Value { return Value(network.AppendUint16(nil, p)) }

// ProtocolValue returns a protocol, such as unix.IPPROTO_TCP, as a value.
func ProtocolValue(p uint8) Value { return Value([]byte{p}) }

// NumberValue returns what rules hold as a number.
func NumberValue(n uint32) Value { return Value(host.AppendUint32(nil, n)) }

// InterfaceValue returns an interface's name as a value.
func InterfaceValue(name string) Value {
	var b [unix.IFNAMSIZ]byte
	copy(b[:unix.IFNAMSIZ-1], name)
	return Value(b[:])
}

// GotoValue is the entry of a verdict map that sends packets to a chain.
func GotoValue(chain string) Value { return verdict(expr.VerdictGoto, chain) }

// DropValue is the entry of a verdict map that drops packets.
func DropValue() Value { return verdict(expr.VerdictDrop, "") }

func verdict(kind expr.VerdictKind, chain string) Value {
	b := number(nil, unix.NFTA_VERDICT_CODE, uint32(kind))
	if chain != "" {
		b = text(b, unix.NFTA_VERDICT_CHAIN, chain)
	}
	return Value(b)
}
