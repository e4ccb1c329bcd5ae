package nft

import "encoding/binary"

// Netlink's own integers are in the byte order of the machine, nftables' in
// network order.
var (
	host    = binary.NativeEndian
	network = binary.BigEndian
)

const nested = 0x8000

// attr appends one attribute, padded to four bytes.
func attr(b []byte, typ uint16, value []byte) []byte {
	b = host.AppendUint16(b, uint16(4+len(value)))
	b = host.AppendUint16(b, typ)
	b = append(b, value...)
	return pad(b)
}

// text appends a string attribute with its closing zero byte.
func text(b []byte, typ uint16, value string) []byte {
	b = host.AppendUint16(b, uint16(5+len(value)))
	b = host.AppendUint16(b, typ)
	b = append(b, value...)
	return pad(append(b, 0))
}

func number(b []byte, typ uint16, value uint32) []byte {
	b = host.AppendUint16(b, 8)
	b = host.AppendUint16(b, typ)
	return network.AppendUint32(b, value)
}

func number64(b []byte, typ uint16, value uint64) []byte {
	b = host.AppendUint16(b, 12)
	b = host.AppendUint16(b, typ)
	return network.AppendUint64(b, value)
}

// open begins a nested attribute and returns where; shut closes it there.
func open(b []byte, typ uint16) ([]byte, int) {
	at := len(b)
	b = host.AppendUint16(b, 0)
	return host.AppendUint16(b, typ|nested), at
}

func shut(b []byte, at int) []byte {
	host.PutUint16(b[at:], uint16(len(b)-at))
	return b
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
