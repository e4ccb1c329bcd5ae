package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/internal/informer/informertest"
	"clipper/internal/nft/nettest"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

func object(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name}
}

func service(name, ip string, change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: object(name), Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func slice(service string, es ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: object(service + "-1"), AddressType: discoveryv1.AddressTypeIPv4, Endpoints: es,
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	return s
}

func endpoint(ip, hostname string, ready bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
	if hostname != "" {
		e.Hostname = &hostname
	}
	return e
}

// cluster is what the tests' names come from.
func cluster() []runtime.Object {
	http := corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}
	return []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
		service("web", "10.96.1.1", func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{http, {Port: 81}}
		}),
		service("dual", "10.96.1.2", func(s *corev1.ServiceSpec) { s.ClusterIPs = append(s.ClusterIPs, "fd00::2") }),
		service("db", corev1.ClusterIPNone, nil),
		slice("db", endpoint("10.244.1.5", "db-0", true), endpoint("10.244.1.6", "", true), endpoint("10.244.1.7", "db-2", false)),
		service("all", corev1.ClusterIPNone, func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true }),
		slice("all", endpoint("10.244.1.8", "", false)),
		service("empty", corev1.ClusterIPNone, nil),
		service("outside", "", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "www.example.org"
		}),
		service("inside", "", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "web.default.svc.cluster.local"
		}),
		service("loop", "", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "loop.default.svc.cluster.local"
		}),
		service("astray", "", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "none.default.svc.cluster.local"
		}),
	}
}

// start runs a server on 127.0.0.1 until the test ends.
func start(t testing.TB, change func(*Config), objects ...runtime.Object) (addr string, client kubernetes.Interface) {
	t.Helper()
	set := fake.NewSimpleClientset(objects...)
	watched := informertest.Watch(set)
	client = set
	cfg := Config{
		Informers: informers.NewSharedInformerFactory(client, 0), ClusterIP: netip.MustParseAddr("10.96.0.10"),
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, Shuffle: func(int, func(i, j int)) {},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	cfg.Informers.Start(ctx.Done())
	ready := make(chan error, 1)
	go func() { ready <- s.Ready(ctx) }()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	for _, resource := range []string{"services", "endpointslices"} {
		watched.Wait(t, resource, 0)
	}
	return s.cfg.Listen[0].String(), client
}

func ask(t testing.TB, network, server, name string, qtype uint16) *mdns.Msg {
	t.Helper()
	q := (&mdns.Msg{}).SetQuestion(mdns.Fqdn(name), qtype)
	c := mdns.Client{Net: network, Timeout: 10 * time.Second}
	reply, _, err := c.Exchange(q, server)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return reply
}

// summary is a reply's code and records, without owners, classes and TTLs.
func summary(m *mdns.Msg) string {
	all := []string{mdns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		all = append(all, mdns.TypeToString[rr.Header().Rrtype]+" "+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(all[1:])
	return strings.Join(all, "; ")
}

func TestNames(t *testing.T) {
	server, _ := start(t, nil, cluster()...)
	for _, c := range []struct {
		name string
		qt   uint16
		want string
	}{
		{"web.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.96.1.1"},
		{"WEB.Default.svc.CLUSTER.local", mdns.TypeA, "NOERROR; A 10.96.1.1"},
		{"web.default.svc.cluster.local", mdns.TypeAAAA, "NOERROR"},
		{"web.default.svc.cluster.local", mdns.TypeMX, "NOERROR"},
		{"dual.default.svc.cluster.local", mdns.TypeAAAA, "NOERROR; AAAA fd00::2"},
		{"none.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"web.other.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"x.web.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"a.b.c.web.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"default.svc.cluster.local", mdns.TypeA, "NOERROR"},
		{"other.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"svc.cluster.local", mdns.TypeA, "NOERROR"},
		{"cluster.local", mdns.TypeA, "NOERROR"},
		{"cluster.local", mdns.TypeNS, "NOERROR; NS ns.dns.cluster.local."},
		{"ns.dns.cluster.local", mdns.TypeA, "NOERROR; A 10.96.0.10"},
		{"cluster.local", mdns.TypeSOA, "NOERROR; SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"},
		{"web.default.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"dns-version.cluster.local", mdns.TypeTXT, `NOERROR; TXT "1.1.0"`},

		{"_http._tcp.web.default.svc.cluster.local", mdns.TypeSRV, "NOERROR; SRV 0 100 80 web.default.svc.cluster.local."},
		{"_tcp.web.default.svc.cluster.local", mdns.TypeSRV, "NOERROR"},
		{"_udp.web.default.svc.cluster.local", mdns.TypeSRV, "NXDOMAIN"},
		{"_http._udp.web.default.svc.cluster.local", mdns.TypeSRV, "NXDOMAIN"},

		{"db.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.244.1.5; A 10.244.1.6"},
		{"db-0.db.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.244.1.5"},
		{"10-244-1-6.db.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.244.1.6"},
		{"10-244-1-5.db.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"db-2.db.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"_http._tcp.db.default.svc.cluster.local", mdns.TypeSRV,
			"NOERROR; SRV 0 50 8080 10-244-1-6.db.default.svc.cluster.local.; SRV 0 50 8080 db-0.db.default.svc.cluster.local."},
		{"all.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.244.1.8"},
		{"empty.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},

		{"outside.default.svc.cluster.local", mdns.TypeA, "NOERROR; CNAME www.example.org."},
		{"outside.default.svc.cluster.local", mdns.TypeCNAME, "NOERROR; CNAME www.example.org."},
		{"inside.default.svc.cluster.local", mdns.TypeA, "NOERROR; A 10.96.1.1; CNAME web.default.svc.cluster.local."},
		{"astray.default.svc.cluster.local", mdns.TypeA, "NOERROR; CNAME none.default.svc.cluster.local."},
		{"loop.default.svc.cluster.local", mdns.TypeA, "SERVFAIL"},

		{"10-244-1-9.default.pod.cluster.local", mdns.TypeA, "NOERROR; A 10.244.1.9"},
		{"fd00--1.default.pod.cluster.local", mdns.TypeAAAA, "NOERROR; AAAA fd00::1"},
		{"10-244-1-9.other.pod.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"web.default.pod.cluster.local", mdns.TypeA, "NXDOMAIN"},
		{"default.pod.cluster.local", mdns.TypeA, "NOERROR"},

		{"1.1.96.10.in-addr.arpa", mdns.TypePTR, "NOERROR; PTR web.default.svc.cluster.local."},
		{"5.1.244.10.in-addr.arpa", mdns.TypePTR, "NOERROR; PTR db-0.db.default.svc.cluster.local."},
		{"6.1.244.10.in-addr.arpa", mdns.TypePTR, "NOERROR; PTR 10-244-1-6.db.default.svc.cluster.local."},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", mdns.TypePTR, "NOERROR; PTR dual.default.svc.cluster.local."},
		{"9.9.9.9.in-addr.arpa", mdns.TypePTR, "NXDOMAIN"},

		{"www.example.org", mdns.TypeA, "SERVFAIL"},
		{"xcluster.local", mdns.TypeA, "SERVFAIL"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			reply := ask(t, network, server, c.name, c.qt)
			if got := summary(reply); got != c.want {
				t.Errorf("%s %s by %s: %s, want %s", c.name, mdns.TypeToString[c.qt], network, got, c.want)
			}
			inZone := strings.HasSuffix(strings.ToLower(c.name), ".cluster.local")
			if inZone && reply.Rcode != mdns.RcodeServerFailure && !reply.Authoritative {
				t.Errorf("%s: not authoritative", c.name)
			}
			if inZone && len(reply.Answer) == 0 && reply.Rcode != mdns.RcodeServerFailure && (len(reply.Ns) != 1 || reply.Ns[0].Header().Rrtype != mdns.TypeSOA) {
				t.Errorf("%s: a negative answer without SOA: %v", c.name, reply.Ns)
			}
			for _, rr := range reply.Answer[:min(1, len(reply.Answer))] {
				if rr.Header().Name != mdns.Fqdn(c.name) {
					t.Errorf("%s: answered as %s", c.name, rr.Header().Name)
				}
			}
		}
	}
}

func TestOddQueries(t *testing.T) {
	server, _ := start(t, nil, cluster()...)
	for name, c := range map[string]struct {
		change func(*mdns.Msg)
		want   int
	}{
		"opcode":        {func(m *mdns.Msg) { m.Opcode = mdns.OpcodeNotify }, mdns.RcodeNotImplemented},
		"no question":   {func(m *mdns.Msg) { m.Question = nil }, mdns.RcodeFormatError},
		"two questions": {func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) }, mdns.RcodeFormatError},
		"class":         {func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }, mdns.RcodeRefused},
		"any":           {func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeANY }, mdns.RcodeNotImplemented},
		"EDNS version": {func(m *mdns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().SetVersion(1)
		}, mdns.RcodeBadVers},
	} {
		for _, network := range []string{"udp", "tcp"} {
			q := (&mdns.Msg{}).SetQuestion("web.default.svc.cluster.local.", mdns.TypeA)
			c.change(q)
			client := mdns.Client{Net: network, Timeout: 10 * time.Second}
			reply, _, err := client.Exchange(q, server)
			if err != nil || reply.Rcode != c.want {
				t.Errorf("%s by %s: %v, want %s: %v", name, network, reply, mdns.RcodeToString[c.want], err)
			}
		}
	}
	// Noise gets no answer, and stops nobody.
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, noise := range []string{"", "x", strings.Repeat("\xff", 12), strings.Repeat("\xff", 4000)} {
		if _, err := conn.Write([]byte(noise)); err != nil {
			t.Fatal(err)
		}
	}
	if got := summary(ask(t, "udp", server, "web.default.svc.cluster.local", mdns.TypeA)); got != "NOERROR; A 10.96.1.1" {
		t.Error(got)
	}
}

func TestManyEndpointsAreTruncated(t *testing.T) {
	var es []discoveryv1.Endpoint
	for i := range 200 {
		es = append(es, endpoint(fmt.Sprintf("10.244.2.%d", i+1), "", true))
	}
	server, _ := start(t, nil, service("big", corev1.ClusterIPNone, nil), slice("big", es...))
	const name = "big.default.svc.cluster.local"
	for size, most := range map[uint16]int{0: mdns.MinMsgSize, 4096: maxUDP} {
		q := (&mdns.Msg{}).SetQuestion(mdns.Fqdn(name), mdns.TypeA)
		if size > 0 {
			q.SetEdns0(size, false)
		}
		reply, _, err := (&mdns.Client{Timeout: 10 * time.Second}).Exchange(q, server)
		if err != nil {
			t.Fatal(err)
		}
		reply.Compress = true
		if !reply.Truncated || reply.Len() > most || len(reply.Answer) == 0 || (reply.IsEdns0() == nil) != (size == 0) {
			t.Errorf("offered %d: %d bytes, %d answers, truncated %v", size, reply.Len(), len(reply.Answer), reply.Truncated)
		}
	}
	if reply := ask(t, "tcp", server, name, mdns.TypeA); len(reply.Answer) != 200 || reply.Truncated {
		t.Errorf("by TCP: %d answers", len(reply.Answer))
	}
}

// TestFollowsTheAPI waits for changes as a client does, by asking.
func TestFollowsTheAPI(t *testing.T) {
	server, client := start(t, nil, cluster()...)
	ctx := context.Background()
	await := func(name string, qtype uint16, want string) {
		t.Helper()
		deadline := time.Now().Add(60 * time.Second)
		for {
			got := summary(ask(t, "udp", server, name, qtype))
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s, want %s", name, got, want)
			}
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const db0 = "db-0.db.default.svc.cluster.local"
	slices := client.DiscoveryV1().EndpointSlices("default")
	_, err := slices.Update(ctx, slice("db", endpoint("10.244.2.9", "db-0", true)), metav1.UpdateOptions{})
	check(err)
	await(db0, mdns.TypeA, "NOERROR; A 10.244.2.9")
	await("9.2.244.10.in-addr.arpa", mdns.TypePTR, "NOERROR; PTR "+db0+".")
	await("5.1.244.10.in-addr.arpa", mdns.TypePTR, "NXDOMAIN")
	check(slices.Delete(ctx, "db-1", metav1.DeleteOptions{}))
	await(db0, mdns.TypeA, "NXDOMAIN")
	check(client.CoreV1().Services("default").Delete(ctx, "web", metav1.DeleteOptions{}))
	await("web.default.svc.cluster.local", mdns.TypeA, "NXDOMAIN")
	await("1.1.96.10.in-addr.arpa", mdns.TypePTR, "NXDOMAIN")
	check(client.CoreV1().Namespaces().Delete(ctx, "default", metav1.DeleteOptions{}))
	await("default.svc.cluster.local", mdns.TypeA, "NXDOMAIN")
}

// upstream plays a name server of the world outside.
func upstream(t testing.TB, addr string, answer mdns.HandlerFunc) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		srv := &mdns.Server{Addr: addr, Net: network, Handler: answer, NotifyStartedFunc: func() { close(started) }}
		done := make(chan error, 1)
		go func() { done <- srv.ListenAndServe() }()
		t.Cleanup(func() {
			_ = srv.Shutdown()
			<-done
		})
		select {
		case <-started:
		case err := <-done:
			done <- err
			t.Fatal(err)
		}
	}
}

func TestForward(t *testing.T) {
	asked := make(chan string, 100)
	upstream(t, "127.0.0.3:5300", func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := (&mdns.Msg{}).SetReply(q)
		name := q.Question[0].Name
		_, tcp := w.RemoteAddr().(*net.TCPAddr)
		asked <- name
		switch {
		case name == "big.example.org." && !tcp:
			m.Truncated = true
		case name == "none.example.org.":
			m.Rcode = mdns.RcodeNameError
			soa, _ := mdns.NewRR("example.org. 60 IN SOA ns. host. 1 2 3 4 60")
			m.Ns = append(m.Ns, soa)
		case q.Question[0].Qtype == mdns.TypeA:
			rr, _ := mdns.NewRR(name + " 60 IN A 192.0.2.1")
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m)
	})
	upstream(t, "127.0.0.2:5300", func(w mdns.ResponseWriter, q *mdns.Msg) {
		_ = w.WriteMsg((&mdns.Msg{}).SetRcode(q, mdns.RcodeRefused))
	})
	now := testingclock.NewFakeClock(time.Unix(1e9, 0))
	server, _ := start(t, func(c *Config) {
		c.Upstreams, c.Clock = []string{"127.0.0.2:5300", "127.0.0.3:5300"}, now
	}, cluster()...)
	for _, c := range []struct{ name, want string }{
		{"www.example.org", "NOERROR; A 192.0.2.1"},
		{"WWW.example.org", "NOERROR; A 192.0.2.1"},
		{"big.example.org", "NOERROR; A 192.0.2.1"},
		{"none.example.org", "NXDOMAIN"},
		{"outside.default.svc.cluster.local", "NOERROR; A 192.0.2.1; CNAME www.example.org."},
		{"none.default.svc.cluster.local", "NXDOMAIN"},
	} {
		for range 2 {
			reply := ask(t, "udp", server, c.name, mdns.TypeA)
			if got := summary(reply); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			if len(reply.Answer) > 0 && reply.Answer[0].Header().Name != c.name+"." {
				t.Errorf("%s: answered as %s", c.name, reply.Answer[0].Header().Name)
			}
		}
	}
	var names []string
	for len(asked) > 0 {
		names = append(names, <-asked)
	}
	if diff := cmp.Diff([]string{"www.example.org.", "big.example.org.", "big.example.org.", "none.example.org."}, names); diff != "" {
		t.Errorf("asked upstream: %s", diff)
	}
	now.Step(50 * time.Second)
	if reply := ask(t, "udp", server, "www.example.org", mdns.TypeA); reply.Answer[0].Header().Ttl != 10 {
		t.Errorf("later: %v", reply.Answer)
	}
	now.Step(10 * time.Second)
	if reply := ask(t, "udp", server, "www.example.org", mdns.TypeA); reply.Answer[0].Header().Ttl != 60 || len(asked) != 1 {
		t.Errorf("after its life: %v, asked %d times", reply.Answer, len(asked))
	}
}

func TestRepliesAreBounded(t *testing.T) {
	var c replies
	at := time.Unix(1e9, 0)
	for i := range 2 * maxReplies {
		name := fmt.Sprintf("n%d.example.org.", i)
		rr, _ := mdns.NewRR(name + " 60 IN A 192.0.2.1")
		c.put(mdns.Question{Name: name}, &mdns.Msg{Answer: []mdns.RR{rr}}, at)
	}
	if len(c.byKey) != maxReplies || c.used.Len() != maxReplies {
		t.Errorf("%d, %d replies", len(c.byKey), c.used.Len())
	}
	if _, ok := c.get(mdns.Question{Name: "n0.example.org."}, at); ok {
		t.Error("the oldest is still there")
	}
}

func TestListensOnItsClusterIP(t *testing.T) {
	ip := netip.MustParseAddr("10.96.0.10")
	nettest.Device(t, "clipper0", ip)
	server, _ := start(t, func(c *Config) { c.Listen = nil }, cluster()...)
	if server != "10.96.0.10:53" {
		t.Errorf("listens on %s", server)
	}
	if got := summary(ask(t, "udp", server, "web.default.svc.cluster.local", mdns.TypeA)); got != "NOERROR; A 10.96.1.1" {
		t.Error(got)
	}
	pod := nettest.New(t)
	pod.Attach(t, netip.MustParseAddr("10.244.1.2"), ip)
	conn, err := pod.Dial(net.Dialer{}, "udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := mdns.Client{Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeWithConn((&mdns.Msg{}).SetQuestion("web.default.svc.cluster.local.", mdns.TypeA), &mdns.Conn{Conn: conn})
	if err != nil || summary(reply) != "NOERROR; A 10.96.1.1" {
		t.Errorf("from a pod: %v, %v", reply, err)
	}
}

// Whatever is asked, the answer can be packed, and is for the question.
func TestAnyQuery(t *testing.T) {
	z := newZone("cluster.local", netip.MustParseAddr("10.96.0.10"))
	for _, o := range cluster() {
		z.noteNamespace(o, true)
		z.noteService(o, true)
		z.noteSlice(o, true)
	}
	s := &Server{cfg: Config{Shuffle: func(int, func(i, j int)) {}}, zone: z, forward: &forwarder{}}
	label := rapid.SampledFrom([]string{"web", "db", "db-0", "default", "svc", "pod", "_http", "_tcp", "outside", "dns-version", "10-244-1-1", "x", "-", "1"})
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(label, 0, 6).Draw(t, "labels")
		suffix := rapid.SampledFrom([]string{"cluster.local.", "in-addr.arpa.", "ip6.arpa.", ""}).Draw(t, "suffix")
		name := mdns.Fqdn(strings.Join(append(labels, suffix), "."))
		if _, ok := mdns.IsDomainName(name); !ok {
			t.Skip()
		}
		q := (&mdns.Msg{}).SetQuestion(name, rapid.Uint16().Draw(t, "type"))
		reply, _ := s.answer(q)
		if _, err := reply.Pack(); err != nil {
			t.Fatal(err)
		}
		if reply.Id != q.Id || len(reply.Question) != 1 || reply.Question[0] != q.Question[0] {
			t.Fatalf("answers %v", reply)
		}
	})
}

func FuzzQuery(f *testing.F) {
	s := &Server{cfg: Config{Shuffle: func(int, func(i, j int)) {}}, zone: newZone("cluster.local", netip.Addr{}), forward: &forwarder{}}
	q, _ := (&mdns.Msg{}).SetQuestion("web.default.svc.cluster.local.", mdns.TypeA).Pack()
	f.Add(q)
	f.Fuzz(func(t *testing.T, data []byte) {
		query := &mdns.Msg{}
		if !parse(query, data) {
			return
		}
		reply, _ := s.answer(query)
		reply.Truncate(mdns.MinMsgSize)
		if _, err := reply.Pack(); err != nil {
			t.Errorf("%v: %v", reply, err)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	z := newZone("cluster.local", netip.Addr{})
	for _, o := range cluster() {
		z.noteNamespace(o, true)
		z.noteService(o, true)
		z.noteSlice(o, true)
	}
	s := &Server{cfg: Config{Shuffle: func(int, func(i, j int)) {}}, zone: z, forward: &forwarder{}}
	data, _ := (&mdns.Msg{}).SetQuestion("web.default.svc.cluster.local.", mdns.TypeA).Pack()
	buf := make([]byte, maxUDP)
	b.ReportAllocs()
	for b.Loop() {
		q := &mdns.Msg{}
		if !parse(q, data) {
			b.Fatal("not parsed")
		}
		reply, _ := s.answer(q)
		reply.Truncate(mdns.MinMsgSize)
		if _, err := reply.PackBuffer(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	server, _ := start(b, nil, cluster()...)
	conn, err := net.Dial("udp", server)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	data, _ := (&mdns.Msg{}).SetQuestion("web.default.svc.cluster.local.", mdns.TypeA).Pack()
	var buf [512]byte
	for b.Loop() {
		if _, err := conn.Write(data); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf[:]); err != nil {
			b.Fatal(err)
		}
	}
}
