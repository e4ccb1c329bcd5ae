package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"clipper/internal/informer/informertest"
	"clipper/internal/nft/nettest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

// cluster is a node with pods and a machine outside.
type cluster struct {
	pods    []*nettest.Namespace
	ips     []netip.Addr
	outside *nettest.Namespace
}

var gateway = netip.MustParseAddr("10.244.1.1")

// raise makes a node with n pods, each of which answers on TCP port 8080 with
// its own address and the client's, and on UDP port 5353 with its own.
func raise(t testing.TB, n int) *cluster {
	t.Helper()
	var c cluster
	device := nettest.Device(t, "clipper0", gateway, netip.MustParseAddr("192.168.77.2"))
	_, services, _ := net.ParseCIDR("10.96.0.0/16")
	if err := netlink.RouteAdd(&netlink.Route{
		LinkIndex: device, Dst: services, Scope: netlink.SCOPE_LINK, Src: net.IPv4(192, 168, 77, 2),
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"ip_forward"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+s, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 244, 1, byte(i + 2)})
		pod := nettest.New(t)
		pod.Attach(t, ip, gateway)
		serve(pod.Listen(t, "tcp4", ":8080"), ip)
		serveUDP(pod.ListenPacket(t, "udp4", ":5353"), ip)
		c.pods, c.ips = append(c.pods, pod), append(c.ips, ip)
	}
	c.outside = nettest.New(t)
	c.outside.Attach(t, netip.MustParseAddr("192.168.77.1"), netip.MustParseAddr("192.168.77.2"))
	return &c
}

func serve(l net.Listener, self netip.Addr) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, "%s<%s", self, conn.RemoteAddr().(*net.TCPAddr).IP)
			_ = conn.Close()
		}
	}()
}

func serveUDP(c net.PacketConn, self netip.Addr) {
	go func() {
		var buf [64]byte
		for {
			_, from, err := c.ReadFrom(buf[:])
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(self.String()), from)
		}
	}()
}

type dialer interface {
	Dial(d net.Dialer, network, address string) (net.Conn, error)
}

// onNode dials from the node itself.
type onNode struct{}

func (onNode) Dial(d net.Dialer, network, address string) (net.Conn, error) {
	return d.Dial(network, address)
}

func ask(from dialer, to string) (string, error) {
	c, err := from.Dial(net.Dialer{Timeout: 5 * time.Second}, "tcp4", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	answer, err := io.ReadAll(c)
	return string(answer), err
}

func service(name, ip string, change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		}},
	}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func slice(service string, ips ...netip.Addr) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)},
			{Name: ptr.To("dns"), Port: ptr.To[int32](5353), Protocol: ptr.To(corev1.ProtocolUDP)},
		},
	}
	for _, ip := range ips {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip.String()}, NodeName: ptr.To("node-1")})
	}
	return s
}

func commit(t testing.TB, p *Proxy) {
	t.Helper()
	if err := p.sync(); err != nil {
		t.Fatal(err)
	}
}

func TestTraffic(t *testing.T) {
	c := raise(t, 3)
	p := open(t, config())
	node := netip.MustParseAddr("192.168.77.2")
	nodePort := func(port int32, policy corev1.ServiceExternalTrafficPolicy) func(*corev1.ServiceSpec) {
		return func(s *corev1.ServiceSpec) {
			s.Type, s.Ports[0].NodePort, s.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, port, policy
		}
	}
	p.note(service("one", "10.96.1.1", nodePort(30001, corev1.ServiceExternalTrafficPolicyCluster)), true)
	p.note(slice("one", c.ips[0]), true)
	p.note(service("local", "10.96.1.2", nodePort(30002, corev1.ServiceExternalTrafficPolicyLocal)), true)
	p.note(slice("local", c.ips[0]), true)
	p.note(service("elsewhere", "10.96.1.3", nodePort(30003, corev1.ServiceExternalTrafficPolicyLocal)), true)
	there := slice("elsewhere", c.ips[0])
	there.Endpoints[0].NodeName = ptr.To("node-2")
	p.note(there, true)
	p.note(service("empty", "10.96.1.4", nodePort(30004, corev1.ServiceExternalTrafficPolicyCluster)), true)
	p.note(service("ip", "10.96.1.5", func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"203.0.113.7"} }), true)
	p.note(slice("ip", c.ips[0]), true)
	p.note(service("api", "10.96.0.1", nil), true)
	p.note(slice("api", node), true)
	l, err := net.Listen("tcp4", node.String()+":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	serve(l, node)
	commit(t, p)

	pod, self := c.ips[1].String(), c.ips[0].String()
	for _, q := range []struct {
		name     string
		from     dialer
		to, want string
	}{
		{"pod to cluster IP", c.pods[1], "10.96.1.1:80", self + "<" + pod},
		{"pod to itself by a cluster IP", c.pods[0], "10.96.1.1:80", self + "<" + gateway.String()},
		{"node to cluster IP", onNode{}, "10.96.1.1:80", self + "<" + gateway.String()},
		{"outside to cluster IP", c.outside, "10.96.1.1:80", self + "<" + gateway.String()},
		{"outside to node port", c.outside, "192.168.77.2:30001", self + "<" + gateway.String()},
		{"node to node port", onNode{}, "192.168.77.2:30001", self + "<" + gateway.String()},
		{"pod to node port", c.pods[1], "192.168.77.2:30001", self + "<" + gateway.String()},
		{"outside to local node port", c.outside, "192.168.77.2:30002", self + "<192.168.77.1"},
		{"pod to local node port", c.pods[1], "192.168.77.2:30002", self + "<" + pod},
		{"pod to node port without local endpoint", c.pods[1], "192.168.77.2:30003", self + "<" + pod},
		{"pod to external IP", c.pods[1], "203.0.113.7:80", self + "<" + gateway.String()},
		{"outside to external IP", c.outside, "203.0.113.7:80", self + "<" + gateway.String()},
		{"pod to endpoint on the node", c.pods[1], "10.96.0.1:80", node.String() + "<" + pod},
	} {
		if got, err := ask(q.from, q.to); err != nil || got != q.want {
			t.Errorf("%s: %q, want %q, %v", q.name, got, q.want, err)
		}
	}
	if got, err := ask(onNode{}, "10.96.0.1:80"); err != nil || !strings.HasPrefix(got, node.String()+"<") {
		t.Errorf("node to itself: %q, %v", got, err)
	}
	for _, q := range []struct {
		name string
		from dialer
		to   string
	}{
		{"pod to a Service without endpoints", c.pods[1], "10.96.1.4:80"},
		{"node to a Service without endpoints", onNode{}, "10.96.1.4:80"},
		{"outside to a Service without endpoints", c.outside, "10.96.1.4:80"},
		{"outside to a node port without endpoints", c.outside, "192.168.77.2:30004"},
		{"node to a node port without endpoints", onNode{}, "192.168.77.2:30004"},
		{"pod to another port", c.pods[1], "10.96.1.1:81"},
		{"pod to no Service", c.pods[1], "10.96.77.77:80"},
		{"node to no Service", onNode{}, "10.96.77.77:80"},
	} {
		if got, err := ask(q.from, q.to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %q, %v", q.name, got, err)
		}
	}
	for range 20 { // each time at once
		if got, err := ask(c.pods[1], "10.96.1.4:80"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("pod to a Service without endpoints: %q, %v", got, err)
		}
	}
	// Dropped, so that a balancer takes its traffic elsewhere: no answer at all.
	conn, err := c.outside.Dial(net.Dialer{Timeout: 50 * time.Millisecond}, "tcp4", "192.168.77.2:30003")
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("outside to a node port without local endpoint: %v, %v", conn, err)
	}
}

func TestSourceRanges(t *testing.T) {
	c := raise(t, 1)
	p := open(t, config())
	for i, cidr := range []string{"192.168.77.0/24", "198.51.100.0/24"} {
		svc := service(fmt.Sprint("lb-", i), fmt.Sprint("10.96.1.", i+1), func(s *corev1.ServiceSpec) {
			s.Type, s.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{cidr}
		})
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprint("203.0.113.", i+1)}}
		p.note(svc, true)
		p.note(slice(svc.Name, c.ips[0]), true)
	}
	commit(t, p)
	if got, err := ask(c.outside, "203.0.113.1:80"); err != nil {
		t.Errorf("allowed: %q, %v", got, err)
	}
	if got, err := c.outside.Dial(net.Dialer{Timeout: 50 * time.Millisecond}, "tcp4", "203.0.113.2:80"); err == nil {
		t.Errorf("not allowed, but connected: %v", got.RemoteAddr())
	}
}

func TestRequestsSpread(t *testing.T) {
	c := raise(t, 3)
	p := open(t, config())
	p.note(service("web", "10.96.1.1", nil), true)
	p.note(slice("web", c.ips...), true)
	commit(t, p)
	const requests = 300
	seen := map[string]int{}
	for range requests {
		got, err := ask(c.outside, "10.96.1.1:80")
		if err != nil {
			t.Fatal(err)
		}
		seen[strings.Split(got, "<")[0]]++
	}
	for _, ip := range c.ips {
		// Fewer than half the fair share happens about once in 10^11 runs.
		if n := seen[ip.String()]; n < requests/6 {
			t.Errorf("%v got %d of %d requests: %v", ip, n, requests, seen)
		}
	}
	// One goes: none of the requests may be lost on it.
	p.note(slice("web", c.ips[1], c.ips[2]), true)
	commit(t, p)
	for range 50 {
		if got, err := ask(c.outside, "10.96.1.1:80"); err != nil || strings.HasPrefix(got, c.ips[0].String()+"<") {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestClientStaysWithEndpoint(t *testing.T) {
	c := raise(t, 3)
	p := open(t, config())
	p.note(service("web", "10.96.1.1", func(s *corev1.ServiceSpec) {
		s.SessionAffinity = corev1.ServiceAffinityClientIP
		s.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](600)}}
	}), true)
	p.note(slice("web", c.ips...), true)
	commit(t, p)
	where := func() string {
		t.Helper()
		got, err := ask(c.pods[0], "10.96.1.1:80")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(got, "<")[0]
	}
	first := where()
	for range 30 {
		if got := where(); got != first {
			t.Fatalf("went to %s after %s", got, first)
		}
	}
	var rest []netip.Addr
	for _, ip := range c.ips {
		if ip.String() != first {
			rest = append(rest, ip)
		}
	}
	p.note(slice("web", rest...), true)
	commit(t, p)
	second := where()
	if second == first {
		t.Fatalf("went to %s, which is gone", first)
	}
	p.note(slice("web", c.ips...), true)
	commit(t, p)
	for range 30 {
		if got := where(); got != second {
			t.Fatalf("went to %s after %s", got, second)
		}
	}
}

func TestRunFollowsTheAPI(t *testing.T) {
	c := raise(t, 2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := fake.NewSimpleClientset(service("web", "10.96.1.1", nil), slice("web", c.ips[0]))
	watched := informertest.Watch(client)
	cfg := config()
	cfg.Informers = informers.NewSharedInformerFactory(client, 0)
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	cfg.Informers.Start(ctx.Done())
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	watched.Wait(t, "services", 0)
	watched.Wait(t, "endpointslices", 0)
	if got, err := ask(c.pods[1], "10.96.1.1:80"); err != nil {
		t.Errorf("%q, %v", got, err)
	}

	// A client that keeps sending from one port is tracked: it must be moved.
	udp, err := c.pods[1].Dial(net.Dialer{}, "udp4", "10.96.1.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	exchange := func() (string, error) {
		if _, err := udp.Write([]byte("?")); err != nil {
			return "", err
		}
		_ = udp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var buf [64]byte
		n, err := udp.Read(buf[:])
		return string(buf[:n]), err
	}
	if got, err := exchange(); err != nil || got != c.ips[0].String() {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, slice("web", c.ips[1]), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(60 * time.Second)
	for {
		got, err := exchange()
		if err == nil && got == c.ips[1].String() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still at %q, %v", got, err)
		}
	}

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, err := ask(onNode{}, "10.96.1.1:80"); err != nil {
		t.Errorf("after the end: %q, %v", got, err)
	}
	if err := p.Remove(); err != nil {
		t.Error(err)
	}
}

// TestTableComesBack has somebody else delete the table.
func TestTableComesBack(t *testing.T) {
	c := raise(t, 2)
	p := open(t, config())
	p.note(service("web", "10.96.1.1", nil), true)
	p.note(slice("web", c.ips[0]), true)
	commit(t, p)
	if err := p.Remove(); err != nil {
		t.Fatal(err)
	}
	p.note(slice("web", c.ips[1]), true)
	commit(t, p)
	if got, err := ask(c.outside, "10.96.1.1:80"); err != nil || !strings.HasPrefix(got, c.ips[1].String()) {
		t.Errorf("%q, %v", got, err)
	}
}

func BenchmarkEndpointChange(b *testing.B) {
	for _, services := range []int{10, 1000} {
		b.Run(fmt.Sprint("services=", services), func(b *testing.B) {
			p := open(b, config())
			ips := []netip.Addr{gateway, gateway.Next(), gateway.Next().Next()}
			for i := range services {
				name := fmt.Sprint("svc-", i)
				p.note(service(name, fmt.Sprintf("10.96.%d.%d", 1+i/250, 1+i%250), nil), true)
				p.note(slice(name, ips...), true)
			}
			commit(b, p)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				p.note(slice("svc-3", ips[:2+n%2]...), true)
				commit(b, p)
			}
		})
	}
}
