package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"clipper/internal/nft/nettest"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

var (
	table    = Table{IPv4, "test"}
	services = &Set{Name: "services", Key: Concat(IPv4Addr, Protocol, Port), Data: Verdict}
	base     = Fragment{
		Sets: []*Set{services},
		Chains: []Chain{{
			Name: "prerouting", Hook: &Hook{"nat", unix.NF_INET_PRE_ROUTING, -100},
			Rules: []Rule{Dispatch(services, IPv4.Destination(), PacketProtocol(), DestinationPort())},
		}},
	}
)

func service(i, n int) Fragment {
	name := fmt.Sprintf("default/svc-%d/tcp/80", i)
	endpoints := &Set{Name: name, Key: Number, Data: Concat(IPv4Addr, Port)}
	f := Fragment{
		Sets:   []*Set{endpoints},
		Chains: []Chain{{Name: name, Rules: []Rule{IPv4.TranslateBy(endpoints, Random(uint32(n), 0))}}},
		Entries: []Entry{{services, Element{
			Key: Join(AddrValue(netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})),
				ProtocolValue(unix.IPPROTO_TCP), PortValue(80)),
			Data: GotoValue(name),
		}}},
	}
	for e := range n {
		f.Entries = append(f.Entries, Entry{endpoints, Element{
			Key:  NumberValue(uint32(e)),
			Data: Join(AddrValue(netip.AddrFrom4([4]byte{10, 244, byte(e >> 8), byte(e)})), PortValue(8080)),
		}})
	}
	return f
}

func list(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "table", "ip", table.Name).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

func connect(t testing.TB) *Conn {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func commit(t testing.TB, m *Model, c *Conn) {
	t.Helper()
	if err := m.Commit(c); err != nil {
		t.Fatal(err)
	}
}

func TestModelFollowsOwners(t *testing.T) {
	c := connect(t)
	m := NewModel(table, base)
	m.Set("a", service(1, 2))
	commit(t, m, c)
	for _, want := range []string{
		"10.96.0.1 . tcp . 80 : goto default/svc-1/tcp/80",
		"0x00000001 : 10.244.0.1 . 8080",
		"dnat ip to numgen random mod 2 map @default/svc-1/tcp/80",
	} {
		if got := list(t); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	m.Set("a", service(1, 3))
	m.Set("b", service(2, 1))
	commit(t, m, c)
	m.Set("a", Fragment{})
	commit(t, m, c)
	got := list(t)
	if strings.Contains(got, "svc-1") || !strings.Contains(got, "svc-2") {
		t.Errorf("the wrong service went:\n%s", got)
	}
	if err := m.Remove(c); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("nft", "list", "ruleset").Output(); len(out) > 0 {
		t.Errorf("left behind: %s", out)
	}
}

// TestModelDeltasEqualWhole makes random changes and compares what deltas lead
// to with the same table written at once.
func TestModelDeltasEqualWhole(t *testing.T) {
	c := connect(t)
	rapid.Check(t, func(t *rapid.T) {
		m := NewModel(table, base)
		defer m.Remove(c)
		if err := m.Commit(c); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				owner := rapid.IntRange(0, 4).Draw(t, "owner")
				var f Fragment
				if n := rapid.IntRange(0, 4).Draw(t, "endpoints"); n > 0 {
					f = service(owner, n)
					// One that others want too, each with data of its own.
					f.Entries = append(f.Entries, Entry{services, Element{
						Key:  Join(AddrValue(netip.MustParseAddr("10.96.9.9")), ProtocolValue(6), PortValue(80)),
						Data: GotoValue(f.Chains[0].Name),
					}})
				}
				m.Set(fmt.Sprint(owner), f)
			}
			before := m.inKernel
			if err := m.Commit(c); err != nil || !before {
				t.Fatalf("commit: %v, a delta: %v", err, before)
			}
		}
		deltas := sortedList(t)
		m.inKernel = false
		if err := m.Commit(c); err != nil {
			t.Fatal(err)
		}
		if whole := sortedList(t); whole != deltas {
			t.Fatalf("by deltas:\n%s\nat once:\n%s", deltas, whole)
		}
	})
}

// sortedList is the table with the elements and the blocks in order.
func sortedList(t interface{ Fatalf(string, ...any) }) string {
	out, err := exec.Command("nft", "list", "table", "ip", table.Name).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	blocks := strings.Split(string(out), "\n\n")
	for i, b := range blocks {
		parts := strings.FieldsFunc(b, func(r rune) bool { return r == ',' || r == '\n' || r == '{' || r == '}' })
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		slices.Sort(parts)
		blocks[i] = strings.Join(parts, "\n")
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "\n\n")
}

func TestErrorNamesTheChange(t *testing.T) {
	c := connect(t)
	for _, test := range []struct {
		want  string
		errno unix.Errno
		fill  func(*Batch)
	}{
		{"add rule test none", unix.ENOENT, func(b *Batch) {
			b.AddTable(table)
			b.AddRule(table, "none", Drop())
		}},
		{"delete elements test services", unix.ENOENT, func(b *Batch) {
			b.AddTable(table)
			b.AddSet(table, services)
			b.DeleteElements(table, services, Element{Key: Join(AddrValue(netip.MustParseAddr("10.96.9.9")), ProtocolValue(6), PortValue(80))})
		}},
		{"delete table test", unix.ENOENT, func(b *Batch) { b.DeleteTable(table) }},
	} {
		var b Batch
		test.fill(&b)
		err := c.Commit(&b)
		if !errors.Is(err, test.errno) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s: %v", err, test.want, test.errno)
		}
	}
	if out, err := exec.Command("nft", "list", "ruleset").Output(); err != nil || len(out) > 0 {
		t.Errorf("a refused batch left %s, %v", out, err)
	}
	// The connection is as good as before.
	var b Batch
	b.AddTable(table)
	b.DeleteTable(table)
	if err := c.Commit(&b); err != nil {
		t.Error(err)
	}
}

func BenchmarkEndpointChange(b *testing.B) {
	for _, size := range []struct{ services, endpoints int }{{10, 3}, {1000, 1}, {1000, 3}, {1000, 10}, {10, 1000}, {1000, 100}} {
		b.Run(fmt.Sprintf("services=%d/endpoints=%d", size.services, size.endpoints), func(b *testing.B) {
			c := connect(b)
			m := NewModel(table, base)
			for i := range size.services {
				m.Set(fmt.Sprint(i), service(i, size.endpoints))
			}
			commit(b, m, c)
			defer m.Remove(c)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				m.Set("5", service(5, size.endpoints+n%2))
				commit(b, m, c)
			}
		})
	}
}

func BenchmarkWhole(b *testing.B) {
	c := connect(b)
	m := NewModel(table, base)
	for i := range 1000 {
		m.Set(fmt.Sprint(i), service(i, 5))
	}
	defer m.Remove(c)
	for b.Loop() {
		m.inKernel = false
		commit(b, m, c)
	}
}
