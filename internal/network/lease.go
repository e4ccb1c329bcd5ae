package network

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
)

// lease is an address that a sandbox holds, and all that is needed to undo its
// Setup. One file a lease; it is not synced, for no namespace survives a crash
// of the machine either.
type lease struct {
	ID        string        `json:"id"`
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	UID       string        `json:"uid"`
	NetNS     string        `json:"netns"`
	IP        netip.Addr    `json:"ip"`
	Link      string        `json:"link"`
	Ports     []PortMapping `json:"ports,omitempty"`
}

// leases gives out the addresses of the pod CIDR in turn, so that one that
// comes back is the last to be given out again.
type leases struct {
	dir    string
	cidr   netip.Prefix
	first  uint32 // the network's address
	size   uint32 // how many addresses the network has
	cursor *os.File

	mu    sync.Mutex
	byID  map[string]*lease
	taken map[uint32]*lease // by offset from first
	next  uint32
}

// The network's address, the bridge's and the broadcast address are no pod's.
const firstOffset = 2

func openLeases(dir string, cidr netip.Prefix, log *slog.Logger) (*leases, error) {
	l := &leases{
		dir: filepath.Join(dir, "leases"), cidr: cidr,
		first: number(cidr.Addr()), size: 1 << (32 - cidr.Bits()),
		byID: map[string]*lease{}, taken: map[uint32]*lease{},
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if l.cursor, err = os.OpenFile(filepath.Join(dir, "last-address"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	var last [4]byte
	if n, _ := l.cursor.ReadAt(last[:], 0); n == len(last) {
		l.next = binary.BigEndian.Uint32(last[:]) - l.first + 1
	}
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(l.dir, f.Name())
		var le lease
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &le)
		}
		if err == nil {
			err = checkPorts(le.Ports)
		}
		offset := number(le.IP) - l.first
		if err == nil && (!cidr.Contains(le.IP) || l.taken[offset] != nil || le.ID != f.Name()) {
			err = fmt.Errorf("address %v is not to be had", le.IP)
		}
		if err != nil {
			log.Warn("lease dropped", "file", path, "err", err)
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		l.byID[le.ID], l.taken[offset] = &le, &le
	}
	return l, nil
}

func number(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

var errBadID = errors.New("bad sandbox ID: want letters, digits, '-', '_' and '.', at most 128")

// checkID makes sure that the ID can be the name of a file.
func checkID(id string) error {
	if len(id) == 0 || len(id) > 128 || id[0] == '.' {
		return errBadID
	}
	for _, c := range []byte(id) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return errBadID
		}
	}
	return nil
}

// take returns the sandbox's lease, and whether it is new.
func (l *leases) take(s Sandbox) (*lease, bool, error) {
	if err := checkID(s.ID); err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.byID[s.ID]; old != nil {
		return old, false, nil
	}
	offset, ok := l.free()
	if !ok {
		return nil, false, fmt.Errorf("all %d addresses of the node's pod CIDR %v are in use", l.size-3, l.cidr)
	}
	ip := l.first + offset
	le := &lease{
		ID: s.ID, Namespace: s.Namespace, Name: s.Name, UID: s.UID, NetNS: s.NetNS, Ports: s.Ports,
		IP:   netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, ip))),
		Link: fmt.Sprintf("%s%d", linkPrefix, offset),
	}
	if err := l.write(le); err != nil {
		return nil, false, err
	}
	if _, err := l.cursor.WriteAt(binary.BigEndian.AppendUint32(nil, ip), 0); err != nil {
		return nil, false, errors.Join(err, os.Remove(l.path(le.ID)))
	}
	l.byID[s.ID], l.taken[offset], l.next = le, le, offset+1
	return le, true, nil
}

func (l *leases) free() (uint32, bool) {
	for range l.size {
		if l.next < firstOffset || l.next >= l.size-1 {
			l.next = firstOffset
		}
		if l.taken[l.next] == nil {
			return l.next, true
		}
		l.next++
	}
	return 0, false
}

func (l *leases) path(id string) string { return filepath.Join(l.dir, id) }

// write is not torn by a crash of the process: a lease is there or is not.
func (l *leases) write(le *lease) error {
	data, err := json.Marshal(le)
	if err != nil {
		return err
	}
	tmp := filepath.Join(l.dir, "..", "lease.tmp")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, l.path(le.ID))
}

func (l *leases) find(id string) (*lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	le, ok := l.byID[id]
	return le, ok
}

func (l *leases) all() []*lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*lease, 0, len(l.byID))
	for _, le := range l.byID {
		all = append(all, le)
	}
	return all
}

func (l *leases) release(le *lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := os.Remove(l.path(le.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(l.byID, le.ID)
	delete(l.taken, number(le.IP)-l.first)
	return nil
}

func (l *leases) close() error { return l.cursor.Close() }
