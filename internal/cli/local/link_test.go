package local

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"clipper/internal/nft/nettest"
)

func testBlock(second, nodes int) *Cluster {
	return &Cluster{
		Name: "c", Nodes: nodeNames("c", nodes),
		Block: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 0}), 16),
	}
}

// TestPickBlock: a new cluster never overlaps with a route of the machine or
// with another cluster, and is refused only when nothing is free.
func TestPickBlock(t *testing.T) {
	index := nettest.Device(t, "routes", netip.MustParseAddr("192.0.2.1"))
	rapid.Check(t, func(rt *rapid.T) {
		d := Dirs{State: t.TempDir(), Run: t.TempDir()}
		var taken []netip.Prefix
		for range rapid.IntRange(0, 6).Draw(rt, "routes") {
			// Mostly where clusters go, of any size; /8 and /9 leave little or nothing.
			b := [4]byte{10, byte(rapid.IntRange(120, 230).Draw(rt, "second")), byte(rapid.IntRange(0, 255).Draw(rt, "third")), 1}
			p := netip.PrefixFrom(netip.AddrFrom4(b), rapid.IntRange(10, 32).Draw(rt, "bits")).Masked()
			r := &netlink.Route{LinkIndex: index, Dst: ipNet(p), Scope: netlink.SCOPE_LINK}
			if err := netlink.RouteReplace(r); err != nil {
				rt.Fatal(err)
			}
			defer netlink.RouteDel(r)
			taken = append(taken, p)
		}
		// More on the table of local addresses and a default route do not matter.
		for i := range rapid.IntRange(1, 5).Draw(rt, "clusters") {
			c, err := create(d, Options{Name: fmt.Sprintf("c%d", i)})
			if err != nil {
				for second := 128; second < 224; second++ {
					block := testBlock(second, 1).Block
					if !slices.ContainsFunc(taken, block.Overlaps) {
						rt.Fatalf("%s is free: %v", block, err)
					}
				}
				return
			}
			for _, p := range taken {
				if p.Overlaps(c.Block) {
					rt.Fatalf("block %s overlaps with %s", c.Block, p)
				}
			}
			taken = append(taken, c.Block)
		}
	})
}

func TestBridge(t *testing.T) {
	c := testCluster(t)
	if err := c.dropBridge(); err != nil {
		t.Errorf("dropping what is not there: %v", err)
	}
	for range 2 { // raising it again changes nothing
		if err := c.raiseBridge(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = c.dropBridge() })
	link, err := netlink.LinkByName(c.bridge())
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != "10.199.0.1/24" {
		t.Errorf("addresses %v, %v", addrs, err)
	}
	if err := errors.Join(c.dropBridge(), c.dropBridge()); err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName(c.bridge()); !errors.As(err, &netlink.LinkNotFoundError{}) {
		t.Errorf("the bridge is still there: %v", err)
	}
}

// join makes a network namespace a node of the cluster.
func join(t *testing.T, c *Cluster) *nettest.Namespace {
	t.Helper()
	if err := errors.Join(c.raiseBridge(), c.raiseFirewall()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.dropBridge(), c.dropFirewall()); err != nil {
			t.Error(err)
		}
	})
	ns := nettest.New(t)
	f, err := os.Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := c.Nodes[0]
	for range 2 { // the second takes the place of what a dead node left
		if err := c.attach(node, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := ns.Do(func() error { return c.raiseNode(node) }); err != nil {
		t.Fatal(err)
	}
	if err := c.raiseRoutes(map[string]netip.Prefix{c.Nodes[0]: c.part(128, 24)}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// world is a host beyond the machine, at worldIP.
var worldIP, machineIP = netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1")

func world(t *testing.T) net.Listener {
	nettest.Device(t, "uplink", machineIP)
	ns := nettest.New(t)
	ns.Attach(t, worldIP, machineIP)
	l := ns.Listen(t, "tcp", netip.AddrPortFrom(worldIP, 80).String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, conn.RemoteAddr())
			conn.Close()
		}
	}()
	return l
}

func ask(ns *nettest.Namespace, to net.Addr, within time.Duration) (string, error) {
	conn, err := ns.Dial(net.Dialer{Timeout: within}, "tcp", to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func TestUplink(t *testing.T) {
	out := world(t)
	c := testCluster(t)
	c.Uplink = true
	node := join(t, c)
	from, err := ask(node, out.Addr(), 30*time.Second)
	if err != nil || !strings.HasPrefix(from, machineIP.String()+":") {
		t.Errorf("the world sees %q, %v; want the machine's address", from, err)
	}
	// The machine reaches the node by the node's own address, unhidden.
	l := node.Listen(t, "tcp", netip.AddrPortFrom(c.NodeIP(c.Nodes[0]), 80).String())
	conn, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestNoUplink(t *testing.T) {
	out := world(t)
	// The machine forwards, for reasons of its own.
	if err := writeSysctl("net/ipv4/ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	c := testCluster(t)
	node := join(t, c)
	if _, err := ask(node, out.Addr(), time.Second); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("the node has a way out: %v", err)
	}
	// Nor has it one when it makes itself a route.
	err := node.Do(func() error {
		eth, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: c.gateway().AsSlice()})
	})
	if err != nil {
		t.Fatal(err)
	}
	if from, err := ask(node, out.Addr(), 300*time.Millisecond); err == nil {
		t.Errorf("the node gets out, as %q", from)
	}
}

func TestFirewall(t *testing.T) {
	c := testCluster(t)
	tables := func() (mine int) {
		t.Helper()
		conn, err := nftables.New()
		if err != nil {
			t.Fatal(err)
		}
		all, err := conn.ListTables()
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range all {
			if table.Name == c.table() {
				mine++
				for _, chain := range [2]string{"forward", "postrouting"} {
					rules, err := conn.GetRules(table, &nftables.Chain{Name: chain, Table: table})
					if want := map[bool]string{true: "postrouting", false: "forward"}[c.Uplink]; err == nil && (len(rules) == 1) != (chain == want) {
						t.Errorf("uplink %v: chain %s has %d rules", c.Uplink, chain, len(rules))
					}
				}
			}
		}
		return mine
	}
	if err := c.dropFirewall(); err != nil {
		t.Errorf("dropping what is not there: %v", err)
	}
	for _, c.Uplink = range []bool{true, true, false, false, true} { // each replaces the one before
		if err := c.raiseFirewall(); err != nil {
			t.Fatal(err)
		}
		if n := tables(); n != 1 {
			t.Errorf("%d tables", n)
		}
	}
	if err := c.dropFirewall(); err != nil {
		t.Error(err)
	}
	if n := tables(); n != 0 {
		t.Errorf("%d tables are left", n)
	}
}

func TestRoutes(t *testing.T) {
	c := testCluster(t)
	join(t, c)
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	via := map[string]string{}
	for _, r := range routes {
		if r.Dst != nil && r.Gw != nil {
			via[r.Dst.String()] = r.Gw.String()
		}
	}
	if via["10.199.128.0/24"] != "10.199.0.2" || via["10.199.16.0/20"] != "10.199.0.2" {
		t.Errorf("%v", via)
	}
}
