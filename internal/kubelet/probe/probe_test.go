package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func port(t *testing.T, address string) int32 {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func TestHTTP(t *testing.T) {
	var elsewhere int
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	other.Listener.Close()
	other.Listener = l
	other.Start()
	defer other.Close()
	m := http.NewServeMux()
	m.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", r.Host, r.UserAgent(), r.Header.Get("X-Test"), r.URL.RawQuery)
	})
	m.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	m.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", 302) })
	m.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", 302) })
	m.HandleFunc("/there", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, 302) })
	plain, secure := httptest.NewServer(m), httptest.NewTLSServer(m)
	defer plain.Close()
	defer secure.Close()
	target := Target{IP: "127.0.0.1", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: port(t, plain.Listener.Addr().String())}}}
	get := func(path string, change func(*v1.HTTPGetAction)) Outcome {
		a := &v1.HTTPGetAction{Path: path, Port: intstr.FromString("web")}
		if change != nil {
			change(a)
		}
		return Run(context.Background(), target, &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: a}, TimeoutSeconds: 5})
	}
	if o := get("/ok?a=b", func(a *v1.HTTPGetAction) {
		a.HTTPHeaders = []v1.HTTPHeader{{Name: "Host", Value: "example.org"}, {Name: "X-Test", Value: "yes"}}
	}); !o.OK || o.Text != "example.org kube-probe/1.36 yes a=b" {
		t.Errorf("ok: %+v", o)
	}
	if o := get("/sick", nil); o.OK || o.Text != "HTTP probe failed with statuscode: 503" {
		t.Errorf("sick: %+v", o)
	}
	if o := get("/here", nil); !o.OK || o.Warning {
		t.Errorf("redirect to the same host: %+v", o)
	}
	if o := get("/loop", nil); o.OK || !strings.Contains(o.Text, "stopped after 10 redirects") {
		t.Errorf("loop: %+v", o)
	}
	if o := get("/there", nil); !o.OK || !o.Warning || elsewhere != 0 {
		t.Errorf("redirect to another host: %+v, asked %d times", o, elsewhere)
	}
	if o := get("/ok", func(a *v1.HTTPGetAction) {
		a.Scheme, a.Port = v1.URISchemeHTTPS, intstr.FromInt32(port(t, secure.Listener.Addr().String()))
	}); !o.OK {
		t.Errorf("https: %+v", o)
	}
	if o := get("/ok", func(a *v1.HTTPGetAction) { a.Port = intstr.FromString("absent") }); o.Err == nil {
		t.Errorf("unknown port: %+v", o)
	}
	if err := Call(context.Background(), target, &v1.HTTPGetAction{Path: "sick", Port: intstr.FromString("web")}); err == nil {
		t.Error("a hook that fails is no error")
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(port(t, l.Addr().String()))}}}
	if o := Run(context.Background(), Target{IP: "127.0.0.1"}, p); !o.OK {
		t.Errorf("open: %+v", o)
	}
	l.Close()
	if o := Run(context.Background(), Target{IP: "127.0.0.1"}, p); o.OK || !o.Refused || o.Err != nil || !strings.Contains(o.Text, "connection refused") {
		t.Errorf("closed: %+v", o)
	}
}

func TestExec(t *testing.T) {
	for _, c := range []struct {
		output string
		exit   int
		err    error
		ok     bool
		text   string
	}{
		{"fine", 0, nil, true, "fine"},
		{"broken", 2, nil, false, "broken"},
		{"", 0, context.DeadlineExceeded, false, `command timed out: "check now" timed out after 1s`},
		{"", 0, status.Error(codes.DeadlineExceeded, "late"), false, `command timed out: "check now" timed out after 1s`},
		{"", 0, errors.New("gone"), false, ""},
		{strings.Repeat("x", 20000), 0, nil, true, strings.Repeat("x", maxOutput)},
	} {
		target := Target{Exec: func(context.Context, []string, time.Duration) (string, int, error) { return c.output, c.exit, c.err }}
		o := Run(context.Background(), target, &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"check", "now"}}}})
		asked := c.err == nil || c.text != ""
		if o.OK != c.ok || o.Text != c.text || (o.Err == nil) != asked {
			t.Errorf("%+v; want %v %q", o, c.ok, c.text)
		}
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	state := health.NewServer()
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, state)
	go s.Serve(l)
	defer s.Stop()
	state.SetServingStatus("db", healthpb.HealthCheckResponse_NOT_SERVING)
	ask := func(service string) Outcome {
		return Run(context.Background(), Target{IP: "127.0.0.1"}, &v1.Probe{TimeoutSeconds: 5, ProbeHandler: v1.ProbeHandler{
			GRPC: &v1.GRPCAction{Port: port(t, l.Addr().String()), Service: &service}}})
	}
	if o := ask(""); !o.OK {
		t.Errorf("serving: %+v", o)
	}
	if o := ask("db"); o.OK || o.Text != `service unhealthy (responded with "NOT_SERVING")` {
		t.Errorf("not serving: %+v", o)
	}
	if o := ask("absent"); o.OK || o.Err != nil {
		t.Errorf("unknown service: %+v", o)
	}
}
