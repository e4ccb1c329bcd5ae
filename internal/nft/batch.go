package nft

import (
	"time"

	"golang.org/x/sys/unix"
)

// Family is the kind of packets a table sees.
type Family uint8

const (
	IPv4 Family = unix.NFPROTO_IPV4
	IPv6 Family = unix.NFPROTO_IPV6
)

// Table names a table.
type Table struct {
	Family Family
	Name   string
}

// Hook is where a base chain sees packets.
type Hook struct {
	// Type is "nat" or "filter".
	Type string
	// At is a netfilter hook, such as unix.NF_INET_PRE_ROUTING.
	At uint32
	// Priority among the chains of the hook, lowest first: -100 is
	// destination NAT's, 100 source NAT's, 0 the filters'.
	Priority int32
}

// Chain is a list of rules.
type Chain struct {
	Name string
	// Hook is set for a base chain, whose policy is to accept.
	Hook  *Hook
	Rules []Rule
}

// Set is a set or, with a type of data, a map.
type Set struct {
	Name string
	Key  Type
	// Data is the zero Type for a plain set.
	Data Type
	// Timeout, if positive, lets elements that rules add live so long after
	// their last use.
	Timeout time.Duration
	// Size is how many elements there may be; 0 is no bound.
	Size uint32
}

// Element is a member of a set, or an entry of a map.
type Element struct {
	Key Value
	// Data of a map's entry; a verdict map's is made by Goto, Drop and the like.
	Data Value
}

// Batch is a sequence of changes that the kernel makes together or not at all.
// Its zero value is empty and ready.
type Batch struct {
	buf []byte
	// starts holds where each message begins in buf.
	starts []int
}

// Empty tells whether nothing was added.
func (b *Batch) Empty() bool { return len(b.starts) == 0 }

const headerLen = unix.NLMSG_HDRLEN + 4 // netlink's and nfnetlink's headers

// begin appends the headers of a message; end fills in its length.
func (b *Batch) begin(family Family, typ, flags uint16) {
	b.starts = append(b.starts, len(b.buf))
	b.buf = host.AppendUint32(b.buf, 0)
	b.buf = host.AppendUint16(b.buf, unix.NFNL_SUBSYS_NFTABLES<<8|typ)
	b.buf = host.AppendUint16(b.buf, unix.NLM_F_REQUEST|flags)
	b.buf = host.AppendUint32(b.buf, 0) // sequence number: set by Commit
	b.buf = host.AppendUint32(b.buf, 0)
	b.buf = append(b.buf, byte(family), unix.NFNETLINK_V0, 0, 0)
}

func (b *Batch) end() {
	at := b.starts[len(b.starts)-1]
	host.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
}

// AddTable makes the table if it is not there.
func (b *Batch) AddTable(t Table) {
	b.begin(t.Family, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	b.buf = text(b.buf, unix.NFTA_TABLE_NAME, t.Name)
	b.end()
}

// DeleteTable deletes the table, which must be there, with all in it.
func (b *Batch) DeleteTable(t Table) {
	b.begin(t.Family, unix.NFT_MSG_DELTABLE, 0)
	b.buf = text(b.buf, unix.NFTA_TABLE_NAME, t.Name)
	b.end()
}

// AddChain makes a chain without its rules.
func (b *Batch) AddChain(t Table, c Chain) {
	b.begin(t.Family, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE)
	b.buf = text(b.buf, unix.NFTA_CHAIN_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_CHAIN_NAME, c.Name)
	if c.Hook != nil {
		var at int
		b.buf, at = open(b.buf, unix.NFTA_CHAIN_HOOK)
		b.buf = number(b.buf, unix.NFTA_HOOK_HOOKNUM, c.Hook.At)
		b.buf = number(b.buf, unix.NFTA_HOOK_PRIORITY, uint32(c.Hook.Priority))
		b.buf = shut(b.buf, at)
		b.buf = text(b.buf, unix.NFTA_CHAIN_TYPE, c.Hook.Type)
	}
	b.end()
}

// DeleteChain deletes a chain, its rules with it; nothing may go to it any more.
func (b *Batch) DeleteChain(t Table, name string) {
	b.begin(t.Family, unix.NFT_MSG_DELCHAIN, 0)
	b.buf = text(b.buf, unix.NFTA_CHAIN_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_CHAIN_NAME, name)
	b.end()
}

// FlushChain deletes a chain's rules.
func (b *Batch) FlushChain(t Table, name string) {
	b.begin(t.Family, unix.NFT_MSG_DELRULE, 0)
	b.buf = text(b.buf, unix.NFTA_RULE_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_RULE_CHAIN, name)
	b.end()
}

// AddRule appends a rule to a chain.
func (b *Batch) AddRule(t Table, chain string, r Rule) {
	b.begin(t.Family, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	b.buf = text(b.buf, unix.NFTA_RULE_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_RULE_CHAIN, chain)
	b.buf = attr(b.buf, unix.NFTA_RULE_EXPRESSIONS|nested, []byte(r))
	b.end()
}

// AddSet makes an empty set or map.
func (b *Batch) AddSet(t Table, s *Set) {
	var flags uint32
	if s.Data.size > 0 || s.Data.isVerdict() {
		flags |= unix.NFT_SET_MAP
	}
	if s.Timeout > 0 {
		flags |= unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL
	}
	b.begin(t.Family, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE)
	b.buf = text(b.buf, unix.NFTA_SET_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_SET_NAME, s.Name)
	// An id is asked for of every set, though by name alone these are found.
	b.buf = number(b.buf, unix.NFTA_SET_ID, uint32(len(b.starts)))
	b.buf = number(b.buf, unix.NFTA_SET_FLAGS, flags)
	b.buf = number(b.buf, unix.NFTA_SET_KEY_TYPE, s.Key.magic)
	b.buf = number(b.buf, unix.NFTA_SET_KEY_LEN, s.Key.size)
	if flags&unix.NFT_SET_MAP != 0 {
		b.buf = number(b.buf, unix.NFTA_SET_DATA_TYPE, s.Data.magic)
		b.buf = number(b.buf, unix.NFTA_SET_DATA_LEN, s.Data.size)
	}
	if s.Timeout > 0 {
		b.buf = number64(b.buf, unix.NFTA_SET_TIMEOUT, uint64(s.Timeout.Milliseconds()))
	}
	if s.Size > 0 {
		var desc int
		b.buf, desc = open(b.buf, unix.NFTA_SET_DESC)
		b.buf = number(b.buf, unix.NFTA_SET_DESC_SIZE, s.Size)
		b.buf = shut(b.buf, desc)
	}
	if s.Key == Number {
		// For the nft command, which would take the network's byte order.
		const keyByteOrder, machine = 0, 1
		b.buf = attr(b.buf, unix.NFTA_SET_USERDATA, host.AppendUint32([]byte{keyByteOrder, 4}, machine))
	}
	b.end()
}

// DeleteSet deletes a set that no rule looks into any more.
func (b *Batch) DeleteSet(t Table, name string) {
	b.begin(t.Family, unix.NFT_MSG_DELSET, 0)
	b.buf = text(b.buf, unix.NFTA_SET_TABLE, t.Name)
	b.buf = text(b.buf, unix.NFTA_SET_NAME, name)
	b.end()
}

// AddElements adds entries to a set. One that is there already is fine, unless
// it has other data.
func (b *Batch) AddElements(t Table, set *Set, elements ...Element) {
	b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, t, set, elements)
}

// DeleteElements deletes entries, which must be there, by their keys.
func (b *Batch) DeleteElements(t Table, set *Set, elements ...Element) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, t, set, elements)
}

// The length of an attribute, here the list of elements, has 16 bits.
const maxElementBytes = 60_000

func (b *Batch) elements(typ, flags uint16, t Table, set *Set, elements []Element) {
	for len(elements) > 0 {
		b.begin(t.Family, typ, flags)
		b.buf = text(b.buf, unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
		b.buf = text(b.buf, unix.NFTA_SET_ELEM_LIST_SET, set.Name)
		var list int
		b.buf, list = open(b.buf, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		n := 0
		for ; n < len(elements) && len(b.buf)-list < maxElementBytes; n++ {
			b.element(set, &elements[n], typ == unix.NFT_MSG_NEWSETELEM)
		}
		b.buf = shut(b.buf, list)
		b.end()
		elements = elements[n:]
	}
}

func (b *Batch) element(set *Set, e *Element, withData bool) {
	var elem, key int
	b.buf, elem = open(b.buf, unix.NFTA_LIST_ELEM)
	b.buf, key = open(b.buf, unix.NFTA_SET_ELEM_KEY)
	b.buf = attr(b.buf, unix.NFTA_DATA_VALUE, []byte(e.Key))
	b.buf = shut(b.buf, key)
	if withData && len(e.Data) > 0 {
		typ := uint16(unix.NFTA_DATA_VALUE)
		if set.Data.isVerdict() {
			typ = unix.NFTA_DATA_VERDICT | nested
		}
		var data int
		b.buf, data = open(b.buf, unix.NFTA_SET_ELEM_DATA)
		b.buf = attr(b.buf, typ, []byte(e.Data))
		b.buf = shut(b.buf, data)
	}
	b.buf = shut(b.buf, elem)
}
