package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/internal/informer/informertest"
	"clipper/internal/nft/nettest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

func config(t testing.TB) Config {
	return Config{
		NodeName: "node-1", StateDir: t.TempDir(),
		PodCIDR:        netip.MustParsePrefix("10.244.1.0/24"),
		ClusterPodCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR:    netip.MustParsePrefix("10.96.0.0/16"),
	}
}

// start runs a network until the test ends, or stop is called.
func start(t testing.TB, cfg Config) (n *Network, stop func()) {
	t.Helper()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		stop()
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
		checkNothingLeft(t)
	})
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return n, stop
}

// checkNothingLeft looks for links, routes and tables after a Remove.
func checkNothingLeft(t testing.TB) {
	t.Helper()
	for _, list := range [][]string{
		{"ip", "-o", "link"}, {"ip", "route"}, {"nft", "list", "ruleset"},
	} {
		out, err := exec.Command(list[0], list[1:]...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", list, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, " lo: ") && !strings.Contains(line, "uplink") && !strings.Contains(line, ": ifb") {
				t.Errorf("%v: left behind: %s", list, line)
			}
		}
	}
}

func setup(t testing.TB, n *Network, id string, ports ...PortMapping) (*nettest.Namespace, netip.Addr) {
	t.Helper()
	ns := nettest.New(t)
	ips, err := n.Setup(context.Background(), Sandbox{ID: id, Namespace: "default", Name: id, UID: "u-" + id, NetNS: ns.Path, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	if len(ips) != 1 {
		t.Fatalf("addresses %v", ips)
	}
	return ns, ips[0]
}

// serve answers every connection with the address of the client.
func serve(t testing.TB, ns *nettest.Namespace) {
	l := ns.Listen(t, "tcp4", ":8080")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
			_ = c.Close()
		}
	}()
}

type dialer interface {
	Dial(d net.Dialer, network, address string) (net.Conn, error)
}

type node struct{}

func (node) Dial(d net.Dialer, network, address string) (net.Conn, error) {
	return d.Dial(network, address)
}

func ask(from dialer, address string) (string, error) {
	c, err := from.Dial(net.Dialer{Timeout: 5 * time.Second}, "tcp4", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	answer, err := io.ReadAll(c)
	return string(answer), err
}

func TestPodsReachEachOther(t *testing.T) {
	n, _ := start(t, config(t))
	a, ipA := setup(t, n, "a")
	b, ipB := setup(t, n, "b")
	if ipA.String() != "10.244.1.2" || ipB.String() != "10.244.1.3" {
		t.Errorf("addresses %v, %v", ipA, ipB)
	}
	serve(t, b)
	to := ipB.String() + ":8080"
	if got, err := ask(a, to); err != nil || got != ipA.String() {
		t.Errorf("pod to pod: %q, %v", got, err)
	}
	if got, err := ask(b, to); err != nil || got != ipB.String() {
		t.Errorf("pod to itself: %q, %v", got, err)
	}
	if got, err := ask(b, "127.0.0.1:8080"); err != nil || got != "127.0.0.1" {
		t.Errorf("pod to localhost: %q, %v", got, err)
	}
	if got, err := ask(node{}, to); err != nil || got != "10.244.1.1" {
		t.Errorf("node to pod: %q, %v", got, err)
	}
	// Nobody is there, or nowhere to go; each is told so.
	if err := os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"10.244.2.9:80", "10.97.0.1:80"} {
		if _, err := ask(a, to); !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("pod to %s: %v", to, err)
		}
	}
}

func TestSetupAgainAndTeardownAgain(t *testing.T) {
	n, _ := start(t, config(t))
	ctx := context.Background()
	ns, ip := setup(t, n, "a")
	s := Sandbox{ID: "a", Namespace: "default", Name: "a", UID: "u-a", NetNS: ns.Path}
	again, err := n.Setup(ctx, s)
	if err != nil || len(again) != 1 || again[0] != ip {
		t.Errorf("again: %v, %v", again, err)
	}
	// The pair has been deleted behind our back.
	if err := deleteLink("pod2"); err != nil {
		t.Fatal(err)
	}
	if again, err = n.Setup(ctx, s); err != nil || again[0] != ip {
		t.Errorf("repair: %v, %v", again, err)
	}
	serve(t, ns)
	if _, err := ask(node{}, ip.String()+":8080"); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	for range 2 {
		if err := n.Teardown(ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if links, err := podLinks(); err != nil || len(links) > 0 {
		t.Errorf("links %v, %v", links, err)
	}
	if _, next := setup(t, n, "b"); next == ip {
		t.Errorf("address %v was given out again at once", ip)
	}
	gone, ipGone := setup(t, n, "c")
	gone.Remove()
	if err := n.Teardown(ctx, "c"); err != nil {
		t.Errorf("namespace is gone, address %v: %v", ipGone, err)
	}
}

func TestSetupRefuses(t *testing.T) {
	n, _ := start(t, config(t))
	ns := nettest.New(t)
	for name, s := range map[string]Sandbox{
		"no ID":        {NetNS: ns.Path},
		"path as ID":   {ID: "../x", NetNS: ns.Path},
		"no namespace": {ID: "a", NetNS: filepath.Join(t.TempDir(), "none")},
		"bad protocol": {ID: "a", NetNS: ns.Path, Ports: []PortMapping{{Protocol: "ICMP", ContainerPort: 1, HostPort: 1}}},
		"bad port":     {ID: "a", NetNS: ns.Path, Ports: []PortMapping{{ContainerPort: 0, HostPort: 1}}},
		"bad address":  {ID: "a", NetNS: ns.Path, Ports: []PortMapping{{ContainerPort: 1, HostPort: 1, HostIP: "x"}}},
	} {
		if ips, err := n.Setup(context.Background(), s); err == nil {
			t.Errorf("%s: no error, addresses %v", name, ips)
		}
	}
	if all := n.leases.all(); len(all) > 0 {
		t.Errorf("leases left: %v", all)
	}
}

func TestRestartKeepsPodsAndReclaimsLeftovers(t *testing.T) {
	cfg := config(t)
	n, stop := start(t, cfg)
	a, ipA := setup(t, n, "a", PortMapping{ContainerPort: 8080, HostPort: 30080})
	gone, _ := setup(t, n, "gone")
	torn, _ := setup(t, n, "torn")
	serve(t, a)
	stop()
	gone.Remove() // as by a runtime that died before it could tell
	if err := os.WriteFile(filepath.Join(cfg.StateDir, "leases", "torn"), []byte(`{"id":"to`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(node{}, ipA.String()+":8080"); err != nil {
		t.Errorf("while it is away: %q, %v", got, err)
	}
	n, _ = start(t, cfg)
	if got, err := ask(node{}, ipA.String()+":8080"); err != nil {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	if links, err := podLinks(); err != nil || len(links) != 1 || !links["pod2"] {
		t.Errorf("links %v, %v", links, err)
	}
	if _, ip := setup(t, n, "b"); ip.String() != "10.244.1.5" {
		t.Errorf("the next address is %v", ip)
	}
	_ = torn
	if err := n.Teardown(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("nft", "list", "table", tableName).Output(); strings.Contains(string(out), "30080") {
		t.Errorf("host port left:\n%s", out)
	}
}

func TestAddressesRunOut(t *testing.T) {
	cfg := config(t)
	cfg.PodCIDR = netip.MustParsePrefix("10.244.1.0/29")
	l, err := openLeases(cfg.StateDir, cfg.PodCIDR, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var held []*lease
	for i := range 5 {
		le, _, err := l.take(Sandbox{ID: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, le)
	}
	if _, _, err := l.take(Sandbox{ID: "x"}); err == nil || !strings.Contains(err.Error(), "all 5 addresses") {
		t.Errorf("want them all in use: %v", err)
	}
	if err := l.release(held[3]); err != nil {
		t.Fatal(err)
	}
	if le, _, err := l.take(Sandbox{ID: "x"}); err != nil || le.IP != held[3].IP {
		t.Errorf("%v, %v", le, err)
	}
}

func TestHostPorts(t *testing.T) {
	cfg := config(t)
	host := connectHost(t)
	cfg.NodeIP = netip.MustParseAddr("192.168.77.2")
	n, _ := start(t, cfg)
	pod, ip := setup(t, n, "a", PortMapping{Protocol: "TCP", ContainerPort: 8080, HostPort: 80},
		PortMapping{Protocol: "TCP", ContainerPort: 8080, HostPort: 81, HostIP: "192.168.77.2"})
	other, otherIP := setup(t, n, "b")
	serve(t, pod)
	for _, c := range []struct {
		from     dialer
		to, want string
	}{
		{host, "192.168.77.2:80", "192.168.77.1"},
		{host, "192.168.77.2:81", "192.168.77.1"},
		{node{}, "192.168.77.2:80", "192.168.77.2"},
		{other, "192.168.77.2:80", otherIP.String()},
		{other, "10.244.1.1:80", otherIP.String()},
		{pod, "192.168.77.2:80", "192.168.77.2"},
	} {
		if got, err := ask(c.from, c.to); err != nil || got != c.want {
			t.Errorf("%s from %T: %q, want %q, %v", c.to, c.from, got, c.want, err)
		}
	}
	for _, to := range []string{"10.244.1.1:81", "127.0.0.1:80"} {
		if _, err := ask(node{}, to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v", to, err)
		}
	}
	_ = ip
}

// connectHost plays the machine outside: a namespace at 192.168.77.1, which the
// node, at 192.168.77.2, has as its neighbour.
func connectHost(t *testing.T) *nettest.Namespace {
	t.Helper()
	ns := nettest.New(t)
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "node")
	t.Cleanup(func() { _ = deleteLink("uplink") })
	run("nsenter", "--net="+ns.Path, "true")
	l, err := netlink.LinkByName("node")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := netlink.LinkSetNsFd(l, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	run("ip", "addr", "add", "192.168.77.2/24", "dev", "uplink")
	run("ip", "link", "set", "uplink", "up")
	in := []string{"nsenter", "--net=" + ns.Path}
	run(append(in, "ip", "addr", "add", "192.168.77.1/24", "dev", "node")...)
	run(append(in, "ip", "link", "set", "node", "up")...)
	return ns
}

func TestUplinkMasquerades(t *testing.T) {
	for _, uplink := range []bool{true, false} {
		t.Run(fmt.Sprint(uplink), func(t *testing.T) {
			cfg := config(t)
			host := connectHost(t)
			cfg.Uplink = uplink
			n, _ := start(t, cfg)
			pod, ip := setup(t, n, "a")
			serve(t, host)
			want := map[bool]string{true: "192.168.77.2"}[uplink]
			if !uplink { // the machine then needs a way back
				want = ip.String()
				out, err := exec.Command("nsenter", "--net="+host.Path, "ip", "route", "add", "10.244.0.0/16", "via", "192.168.77.2").CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			if got, err := ask(pod, "192.168.77.1:8080"); err != nil || got != want {
				t.Errorf("%q, want %q, %v", got, want, err)
			}
		})
	}
}

func nodeObject(name, podCIDR, ip string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}}},
	}
}

func TestRoutesFollowNodes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connectHost(t)
	client := fake.NewSimpleClientset(nodeObject("node-1", "10.244.1.0/24", "192.168.77.2"),
		nodeObject("node-2", "10.244.2.0/24", "192.168.77.3"),
		nodeObject("thief", "10.244.1.0/24", "192.168.77.4"))
	watched := informertest.Watch(client)
	factory := informers.NewSharedInformerFactory(client, 0)
	cfg := config(t)
	cfg.Nodes = factory.Core().V1().Nodes().Informer()
	updates := make(chan netlink.RouteUpdate, 100)
	if err := netlink.RouteSubscribe(updates, ctx.Done()); err != nil {
		t.Fatal(err)
	}
	// wait for a route to a node's pods to come or go.
	wait := func(typ uint16, dst string) netlink.RouteUpdate {
		t.Helper()
		for {
			select {
			case u := <-updates:
				if u.Gw != nil && u.Type == typ && u.Dst.String() == dst {
					return u
				}
			case <-time.After(60 * time.Second):
				t.Fatalf("no change of the route to %s", dst)
			}
		}
	}
	n, stop := start(t, cfg)
	factory.Start(ctx.Done())
	if u := wait(unix.RTM_NEWROUTE, "10.244.2.0/24"); u.Gw.String() != "192.168.77.3" {
		t.Errorf("by way of %v", u.Gw)
	}
	watched.Wait(t, "nodes", 0)
	nodes := client.CoreV1().Nodes()
	if _, err := nodes.Update(ctx, nodeObject("node-2", "10.244.2.0/24", "192.168.77.5"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if u := wait(unix.RTM_NEWROUTE, "10.244.2.0/24"); u.Gw.String() != "192.168.77.5" {
		t.Errorf("by way of %v", u.Gw)
	}
	stop()
	if err := nodes.Delete(ctx, "node-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_ = n
	start(t, cfg)
	wait(unix.RTM_DELROUTE, "10.244.2.0/24")
}

func BenchmarkSetup(b *testing.B) {
	n, _ := start(b, config(b))
	for b.Loop() {
		b.StopTimer()
		ns := nettest.New(b)
		b.StartTimer()
		if _, err := n.Setup(context.Background(), Sandbox{ID: "bench", NetNS: ns.Path}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := n.Teardown(context.Background(), "bench"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSetupTogether sets ten pods up side by side.
func BenchmarkSetupTogether(b *testing.B) {
	const pods = 10
	n, _ := start(b, config(b))
	for b.Loop() {
		b.StopTimer()
		var paths []string
		for range pods {
			paths = append(paths, nettest.New(b).Path)
		}
		b.StartTimer()
		each := func(f func(i int) error) {
			var g errgroup.Group
			for i := range pods {
				g.Go(func() error { return f(i) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		each(func(i int) error {
			_, err := n.Setup(context.Background(), Sandbox{ID: fmt.Sprint(i), NetNS: paths[i]})
			return err
		})
		b.StopTimer()
		each(func(i int) error { return n.Teardown(context.Background(), fmt.Sprint(i)) })
		b.StartTimer()
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		n, err := New(config(b))
		if err != nil {
			b.Fatal(err)
		}
		if err := n.start(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := errors.Join(n.nft.Close(), n.Remove()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkTeardown(b *testing.B) {
	n, _ := start(b, config(b))
	for b.Loop() {
		b.StopTimer()
		ns := nettest.New(b)
		if _, err := n.Setup(context.Background(), Sandbox{ID: "bench", NetNS: ns.Path}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := n.Teardown(context.Background(), "bench"); err != nil {
			b.Fatal(err)
		}
	}
}
