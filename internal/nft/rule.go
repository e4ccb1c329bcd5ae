package nft

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rule is a sequence of expressions as the kernel takes them. Rules
// concatenate: matches first, then what is to be done.
type Rule string

// firstRegister of those that hold four bytes each; there are sixteen.
const firstRegister = unix.NFT_REG32_00

func rule(exprs ...expr.Any) Rule {
	var b []byte
	for _, e := range exprs {
		// The family matters to xtables' expressions alone, which are not in use.
		data, err := expr.Marshal(0, e)
		if err != nil {
			panic(fmt.Sprintf("nft: encode %T: %v", e, err)) // our own constants are at fault
		}
		b = attr(b, unix.NFTA_LIST_ELEM|nested, data)
	}
	return Rule(b)
}

// Field is a part or a property of a packet that rules look at.
type Field struct {
	load func(register uint32) expr.Any
	size uint32
}

func (f Field) words() uint32 { return (f.size + 3) / 4 }

func payload(base expr.PayloadBase, offset, size uint32) Field {
	return Field{func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: base, Offset: offset, Len: size}
	}, size}
}

func meta(key expr.MetaKey, size uint32) Field {
	return Field{func(r uint32) expr.Any { return &expr.Meta{Key: key, Register: r} }, size}
}

// Source is the packet's source address.
func (f Family) Source() Field {
	if f == IPv6 {
		return payload(expr.PayloadBaseNetworkHeader, 8, 16)
	}
	return payload(expr.PayloadBaseNetworkHeader, 12, 4)
}

// Destination is the packet's destination address.
func (f Family) Destination() Field {
	if f == IPv6 {
		return payload(expr.PayloadBaseNetworkHeader, 24, 16)
	}
	return payload(expr.PayloadBaseNetworkHeader, 16, 4)
}

// PacketProtocol is the transport protocol, of type Protocol.
func PacketProtocol() Field { return meta(expr.MetaKeyL4PROTO, 1) }

// DestinationPort is the port of TCP, UDP and SCTP; match the protocol as well.
func DestinationPort() Field { return payload(expr.PayloadBaseTransportHeader, 2, 2) }

// Mark is the packet's mark, a Number.
func Mark() Field { return meta(expr.MetaKeyMARK, 4) }

// InInterface and OutInterface are names, of type Interface.
func InInterface() Field  { return meta(expr.MetaKeyIIFNAME, unix.IFNAMSIZ) }
func OutInterface() Field { return meta(expr.MetaKeyOIFNAME, unix.IFNAMSIZ) }

// OutIndex is the number of the interface the packet leaves by; 1 is lo.
func OutIndex() Field { return meta(expr.MetaKeyOIF, 4) }

// Random is a random number from offset up to, not including, offset+n.
func Random(n, offset uint32) Field {
	return Field{func(r uint32) expr.Any {
		return &expr.Numgen{Register: r, Modulus: n, Offset: offset, Type: unix.NFT_NG_RANDOM}
	}, 4}
}

// DestinationIsLocal and SourceIsLocal match addresses of this machine.
func DestinationIsLocal() Rule { return local(&expr.Fib{FlagDADDR: true}) }
func SourceIsLocal() Rule      { return local(&expr.Fib{FlagSADDR: true}) }

func local(e *expr.Fib) Rule {
	e.Register, e.ResultADDRTYPE = firstRegister, true
	return rule(e) + compare(expr.CmpOpEq, NumberValue(unix.RTN_LOCAL))
}

// ConnectionIsNew matches packets of connections with no answer yet.
func ConnectionIsNew() Rule {
	return rule(&expr.Ct{Register: firstRegister, Key: expr.CtKeySTATE}) + anyBit(expr.CtStateBitNEW)
}

// ConnectionIsTranslated matches connections whose destination was changed.
func ConnectionIsTranslated() Rule {
	const dstNAT = 1 << 5 // IPS_DST_NAT
	return rule(&expr.Ct{Register: firstRegister, Key: expr.CtKeySTATUS}) + anyBit(dstNAT)
}

// Is matches a field of one value.
func (f Field) Is(v Value) Rule { return rule(f.load(firstRegister)) + compare(expr.CmpOpEq, v) }

// IsNot matches any other value.
func (f Field) IsNot(v Value) Rule { return rule(f.load(firstRegister)) + compare(expr.CmpOpNeq, v) }

// HasBits matches a Number with any of the bits.
func (f Field) HasBits(bits uint32) Rule { return rule(f.load(firstRegister)) + anyBit(bits) }

// Masked compares the field's bits under mask, of the field's length, with v.
func (f Field) Masked(mask, v Value) Rule { return f.masked(expr.CmpOpEq, mask, v) }

// NotMasked matches what Masked does not.
func (f Field) NotMasked(mask, v Value) Rule { return f.masked(expr.CmpOpNeq, mask, v) }

func (f Field) masked(op expr.CmpOp, mask, v Value) Rule {
	return rule(f.load(firstRegister), &expr.Bitwise{
		SourceRegister: firstRegister, DestRegister: firstRegister, Len: f.size,
		Mask: []byte(mask), Xor: make([]byte, f.size),
	}) + compare(op, v)
}

func compare(op expr.CmpOp, v Value) Rule {
	return rule(&expr.Cmp{Op: op, Register: firstRegister, Data: []byte(v)})
}

func anyBit(bits uint32) Rule {
	return rule(&expr.Bitwise{
		SourceRegister: firstRegister, DestRegister: firstRegister, Len: 4,
		Mask: []byte(NumberValue(bits)), Xor: []byte(NumberValue(0)),
	}) + compare(expr.CmpOpNeq, NumberValue(0))
}

// load puts fields side by side, from the first register on.
func load(fields []Field) []expr.Any {
	var exprs []expr.Any
	at := uint32(firstRegister)
	for _, f := range fields {
		exprs = append(exprs, f.load(at))
		at += f.words()
	}
	return exprs
}

// In matches packets whose fields are an element of the set.
func In(set *Set, fields ...Field) Rule {
	return rule(append(load(fields), &expr.Lookup{SourceRegister: firstRegister, SetName: set.Name})...)
}

// NotIn matches packets whose fields are not.
func NotIn(set *Set, fields ...Field) Rule {
	return rule(append(load(fields), &expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, Invert: true})...)
}

// Dispatch sends packets where the verdict map says; those it does not know go on.
func Dispatch(set *Set, fields ...Field) Rule {
	return rule(append(load(fields), &expr.Lookup{
		SourceRegister: firstRegister, SetName: set.Name,
		DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true,
	})...)
}

// TranslateBy changes the destination to the address and port that the map,
// whose data is Concat(Addr(), Port), has for the fields.
func (f Family) TranslateBy(set *Set, fields ...Field) Rule {
	return rule(append(load(fields), &expr.Lookup{
		SourceRegister: firstRegister, SetName: set.Name,
		DestRegister: firstRegister, IsDestRegSet: true,
	})...) + f.translate()
}

// TranslateTo changes the destination to a tuple of address and port.
func (f Family) TranslateTo(to Value) Rule {
	words := f.Addr().size
	return rule(
		&expr.Immediate{Register: firstRegister, Data: []byte(to[:words])},
		&expr.Immediate{Register: firstRegister + words/4, Data: []byte(to[words : words+2])},
	) + f.translate()
}

func (f Family) translate() Rule {
	return rule(&expr.NAT{
		Type: expr.NATTypeDestNAT, Family: uint32(f), Specified: true,
		RegAddrMin: firstRegister, RegProtoMin: firstRegister + f.Addr().size/4,
	})
}

// Remember adds the field to a set with a timeout, or starts its time anew.
func Remember(set *Set, field Field) Rule {
	return rule(field.load(firstRegister), &expr.Dynset{
		SrcRegKey: firstRegister, SetName: set.Name, Operation: unix.NFT_DYNSET_OP_UPDATE,
	})
}

// SetBits sets bits of the packet's mark; ClearBits clears them.
func SetBits(bits uint32) Rule   { return mark(^bits, bits) }
func ClearBits(bits uint32) Rule { return mark(^bits, 0) }

func mark(mask, xor uint32) Rule {
	return rule(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: firstRegister},
		&expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: 4,
			Mask: []byte(NumberValue(mask)), Xor: []byte(NumberValue(xor)),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: firstRegister, SourceRegister: true},
	)
}

// Masquerade gives the packet the address of the interface it leaves by.
func Masquerade() Rule { return rule(&expr.Masq{FullyRandom: true, ToPorts: false}) }

// Reject answers that the port is unreachable: to a client, connection refused.
// The kernel sends only so many of these answers to one address.
func (f Family) Reject() Rule {
	const portUnreachable, portUnreachable6 = 3, 4
	if f == IPv6 {
		return rule(&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: portUnreachable6})
	}
	return rule(&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: portUnreachable})
}

// Reset resets a TCP connection; match the protocol before.
func Reset() Rule { return rule(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}) }

// Goto continues in another chain and does not come back.
func Goto(chain string) Rule { return rule(&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}) }

// Jump continues in another chain and comes back at its end.
func Jump(chain string) Rule { return rule(&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}) }

// Drop, Accept and Return end the packet's way, the hook's, or the chain's.
func Drop() Rule   { return rule(&expr.Verdict{Kind: expr.VerdictDrop}) }
func Accept() Rule { return rule(&expr.Verdict{Kind: expr.VerdictAccept}) }
func Return() Rule { return rule(&expr.Verdict{Kind: expr.VerdictReturn}) }
