package nft

import (
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Conn is a socket to the nftables of the network namespace it was opened in.
// It is safe for concurrent use.
type Conn struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	// sendBuffer is the most bytes the socket takes at once.
	sendBuffer int
	scratch    []byte
}

// Open opens a connection in the calling thread's network namespace.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	// Neither is there on old kernels, and each only makes errors better.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &Conn{fd: fd}, nil
}

// Close releases the socket; what was committed stays.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return unix.Close(c.fd)
}

// Error is the kernel's refusal of a batch, none of which was then made.
type Error struct {
	// Change that failed, such as "add rule default/web", or "" if all of them
	// together did.
	Change string
	// Text is the kernel's explanation, often empty.
	Text  string
	Errno unix.Errno
}

func (e *Error) Error() string {
	s := "nftables: "
	if e.Change != "" {
		s += e.Change + ": "
	}
	if e.Text != "" {
		s += e.Text + ": "
	}
	return s + e.Errno.Error()
}

func (e *Error) Unwrap() error { return e.Errno }

// Commit makes all changes of the batch, or none and returns an *Error for the
// first that failed. An empty batch costs nothing.
func (c *Conn) Commit(b *Batch) error {
	if b.Empty() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.seq + 1
	last := first + uint32(len(b.starts)) - 1
	c.seq = last + 1

	msg := boundary(c.scratch[:0], unix.NFNL_MSG_BATCH_BEGIN, first-1)
	offset := len(msg)
	msg = append(msg, b.buf...)
	for i, start := range b.starts {
		host.PutUint32(msg[offset+start+8:], first+uint32(i))
	}
	// The last change alone is acknowledged; of the others only failures are told.
	flags := msg[offset+b.starts[len(b.starts)-1]+6:]
	host.PutUint16(flags, host.Uint16(flags)|unix.NLM_F_ACK)
	msg = boundary(msg, unix.NFNL_MSG_BATCH_END, last+1)
	if cap(msg) <= 64<<10 {
		c.scratch = msg
	}
	if err := c.send(msg); err != nil {
		return err
	}
	return c.answers(b, first, last)
}

func (c *Conn) send(msg []byte) error {
	if len(msg) > c.sendBuffer {
		// The kernel doubles what it is asked for, and keeps some for itself.
		want := max(len(msg), 128<<10)
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, want); err != nil {
			return fmt.Errorf("nftables: room to send %d bytes: %w", want, err)
		}
		c.sendBuffer = want
	}
	if err := unix.Sendto(c.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nftables: send %d bytes: %w", len(msg), err)
	}
	return nil
}

// answers reads what the kernel has said. It has said all of it by the time
// that the send returned.
func (c *Conn) answers(b *Batch, first, last uint32) error {
	var failed *Error
	acknowledged := false
	var buf [16 << 10]byte
	for {
		n, _, err := unix.Recvfrom(c.fd, buf[:], unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.ENOBUFS: // more failures than fit: the first ones were read
			continue
		case unix.EAGAIN:
			if failed != nil {
				return failed
			}
			if !acknowledged {
				return &Error{Errno: unix.EPROTO, Text: "not acknowledged"}
			}
			return nil
		default:
			return fmt.Errorf("nftables: receive: %w", err)
		}
		for m := buf[:n]; len(m) >= unix.NLMSG_HDRLEN+4; {
			size := int(host.Uint32(m))
			if size < unix.NLMSG_HDRLEN+4 || size > len(m) {
				break
			}
			seq := host.Uint32(m[8:])
			if host.Uint16(m[4:]) == unix.NLMSG_ERROR && seq-(first-1) <= last-first+2 {
				errno := unix.Errno(-int32(host.Uint32(m[16:])))
				if errno == 0 {
					acknowledged = acknowledged || seq == last
				} else if failed == nil {
					failed = &Error{Errno: errno, Text: explanation(m[:size])}
					if i := int(seq - first); seq >= first && i < len(b.starts) {
						failed.Change = b.describe(i)
					}
				}
			}
			m = m[min(len(m), (size+3)&^3):]
		}
	}
}

// explanation is the text the kernel adds to an error after its headers.
func explanation(m []byte) string {
	at := unix.NLMSG_HDRLEN + 4 + unix.NLMSG_HDRLEN
	if host.Uint16(m[6:])&unix.NLM_F_ACK_TLVS == 0 || len(m) < at {
		return ""
	}
	for m = m[at:]; len(m) >= 4; {
		size := int(host.Uint16(m))
		if size < 4 || size > len(m) {
			return ""
		}
		if host.Uint16(m[2:])&^nested == unix.NLMSGERR_ATTR_MSG {
			return strings.TrimRight(string(m[4:size]), "\x00")
		}
		m = m[min(len(m), (size+3)&^3):]
	}
	return ""
}

func boundary(b []byte, typ uint16, seq uint32) []byte {
	b = host.AppendUint32(b, headerLen)
	b = host.AppendUint16(b, typ)
	b = host.AppendUint16(b, unix.NLM_F_REQUEST)
	b = host.AppendUint32(b, seq)
	b = host.AppendUint32(b, 0)
	b = append(b, unix.AF_UNSPEC, unix.NFNETLINK_V0)
	return network.AppendUint16(b, unix.NFNL_SUBSYS_NFTABLES)
}

var verbs = map[uint16]string{
	unix.NFT_MSG_NEWTABLE: "add table", unix.NFT_MSG_DELTABLE: "delete table",
	unix.NFT_MSG_NEWCHAIN: "add chain", unix.NFT_MSG_DELCHAIN: "delete chain",
	unix.NFT_MSG_NEWRULE: "add rule", unix.NFT_MSG_DELRULE: "flush chain",
	unix.NFT_MSG_NEWSET: "add set", unix.NFT_MSG_DELSET: "delete set",
	unix.NFT_MSG_NEWSETELEM: "add elements", unix.NFT_MSG_DELSETELEM: "delete elements",
}

// describe names the i-th change by its verb and the texts it starts with.
func (b *Batch) describe(i int) string {
	m := b.buf[b.starts[i]:]
	s := verbs[host.Uint16(m[4:])&0xff]
	m = m[headerLen:host.Uint32(m)]
	for n := 0; n < 2 && len(m) >= 4; n++ {
		size := int(host.Uint16(m))
		if host.Uint16(m[2:])&nested != 0 || size < 5 {
			break
		}
		s += " " + strings.TrimRight(string(m[4:size]), "\x00")
		m = m[min(len(m), (size+3)&^3):]
	}
	return s
}
