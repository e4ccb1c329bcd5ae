package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	stream "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/clock"
	"k8s.io/utils/exec"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.cert = a.sign(pkix.Name{CommonName: "ca"}, true, nil)
	return a
}

func (a *authority) sign(name pkix.Name, ca bool, by *authority) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return key, c
}

func (a *authority) leaf(cn string, groups ...string) tls.Certificate {
	key, c := a.sign(pkix.Name{CommonName: cn, Organization: groups}, false, a)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// fakeNode is a node with one pod, web, of one container, app.
type fakeNode struct{ log string }

func (n *fakeNode) List() []*v1.Pod {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.Status.Phase = "web", "default", v1.PodRunning
	return []*v1.Pod{p}
}

func (n *fakeNode) Log(_ context.Context, _, pod, container string, previous bool) (string, <-chan struct{}, error) {
	done := make(chan struct{})
	close(done)
	if previous {
		return "", nil, Refuse(http.StatusBadRequest, "previous terminated container %q in pod %q not found", container, pod)
	}
	return n.log, done, nil
}

func (n *fakeNode) Container(_ context.Context, _, _, _, container string) (string, error) {
	if container != "app" {
		return "", Refuse(http.StatusNotFound, "container not found (%q)", container)
	}
	return "id-app", nil
}

func (n *fakeNode) Sandbox(context.Context, string, string, string) (string, error) {
	return "", Refuse(http.StatusNotFound, "pod not found")
}

func (n *fakeNode) Stats(context.Context) (Summary, error) {
	v := uint64(1_500_000_000)
	cpu := &CPU{Time: time.UnixMilli(5), UsageCoreNanoSeconds: &v}
	return Summary{Node: NodeStats{Name: "n", CPU: cpu}, Pods: []PodStats{{Ref: PodRef{Name: "web", Namespace: "default"}, CPU: cpu,
		Containers: []ContainerStats{{Name: "app", CPU: cpu}}}}}, nil
}

// Usage is Stats with all that can be known.
func (n *fakeNode) Usage(ctx context.Context) (Summary, error) {
	sum, err := n.Stats(ctx)
	v := func(n uint64) *uint64 { return &n }
	sum.Node.FS = &FS{CapacityBytes: v(1000), UsedBytes: v(10)}
	p := &sum.Pods[0]
	p.Cgroup, p.Processes = "/kubepods/pod1", v(3)
	p.Memory = &Memory{UsageBytes: v(70), WorkingSetBytes: v(60), RSSBytes: v(50), PageFaults: v(4), MajorPageFaults: v(2)}
	p.Network = &Network{Time: time.UnixMilli(6), Interface: Interface{Name: "eth0", RxBytes: v(11), TxBytes: v(12)}}
	p.Network.Interfaces = []Interface{p.Network.Interface, {Name: "eth1", RxErrors: v(13)}}
	c := &p.Containers[0]
	c.ID, c.Image, c.StartTime = "abc", "busybox", time.Unix(9, 0)
	c.Memory = &Memory{WorkingSetBytes: v(40)}
	c.RootFS = &FS{UsedBytes: v(20)}
	c.Limits = Limits{CPUPeriod: 100000, CPUShares: 2, Memory: 64}
	return sum, err
}

func (n *fakeNode) Machine() Machine {
	return Machine{Cores: 2, Memory: 1 << 30, MachineID: "m", SystemUUID: "s", BootID: "b"}
}

func (n *fakeNode) Probes() []Probes {
	took := measure.Seconds(ProbeBounds)
	took.Took(time.Second)
	return []Probes{{Ref: PodRef{Name: "web", Namespace: "default", UID: "1"}, Container: "app", Type: "Readiness", Successful: 7, Failed: 2, Took: took}}
}

// What dashboards ask of a node's containers is there, under cAdvisor's names.
func TestCadvisor(t *testing.T) {
	base, ca := start(t, true)
	c := client(ca, ca.leaf("admin", "system:masters"))
	_, body := get(t, c, base+"/metrics/cadvisor")
	const pod = `container="",id="/kubepods/pod1",image="",name="",namespace="default",pod="web"`
	const app = `container="app",id="/kubepods/pod1/abc",image="busybox",name="abc",namespace="default",pod="web"`
	for _, line := range []string{
		`container_cpu_usage_seconds_total{container="",id="/",image="",name="",namespace="",pod="",cpu="total"} 1.5 5`,
		`container_cpu_usage_seconds_total{` + pod + `,cpu="total"} 1.5 5`,
		`container_cpu_usage_seconds_total{` + app + `,cpu="total"} 1.5 5`,
		`container_memory_usage_bytes{` + pod + `} 70 5`,
		`container_memory_working_set_bytes{` + pod + `} 60 5`,
		`container_memory_working_set_bytes{` + app + `} 40 5`,
		`container_memory_rss{` + pod + `} 50 5`,
		`container_memory_failures_total{` + pod + `,failure_type="pgmajfault",scope="hierarchy"} 2 5`,
		`container_network_receive_bytes_total{` + pod + `,interface="eth0"} 11 6`,
		`container_network_transmit_bytes_total{` + pod + `,interface="eth0"} 12 6`,
		`container_network_receive_errors_total{` + pod + `,interface="eth1"} 13 6`,
		`container_fs_usage_bytes{` + app + `,device=""} 20 5`,
		`container_fs_limit_bytes{container="",id="/",image="",name="",namespace="",pod="",device=""} 1000 5`,
		`container_spec_cpu_period{` + app + `} 100000 5`,
		`container_spec_cpu_shares{` + app + `} 2 5`,
		`container_spec_memory_limit_bytes{` + app + `} 64 5`,
		`container_processes{` + pod + `} 3 5`,
		`container_last_seen{` + app + `} 0.005 5`,
		`container_start_time_seconds{` + app + `} 9 5`,
		`machine_cpu_cores{boot_id="b",machine_id="m",system_uuid="s"} 2`,
		`machine_memory_bytes{boot_id="b",machine_id="m",system_uuid="s"} 1.073741824e+09`,
		`container_scrape_error 0`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s in:\n%s", line, body)
		}
	}
	if strings.Contains(body, "container_spec_cpu_quota{") || strings.Contains(body, "pod_cpu_usage") {
		t.Error(body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
		t.Error(err)
	}
	if _, body := get(t, c, base+"/stats/summary"); !strings.Contains(body, `"network":{"time":"`) || !strings.Contains(body, `"name":"eth0","rxBytes":11,"txBytes":12,"interfaces":[{"name":"eth0"`) {
		t.Error(body)
	}
	_, body = get(t, c, base+"/metrics/probes")
	for _, line := range []string{
		`prober_probe_total{container="app",namespace="default",pod="web",pod_uid="1",probe_type="Readiness",result="successful"} 7`,
		`prober_probe_total{container="app",namespace="default",pod="web",pod_uid="1",probe_type="Readiness",result="failed"} 2`,
		`prober_probe_duration_seconds_sum{container="app",namespace="default",pod="web",probe_type="Readiness"} 1`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s in:\n%s", line, body)
		}
	}
}

// fakeRuntime echoes, in the way of a real one.
type fakeRuntime struct {
	internalapi.RuntimeService
	streams streaming.Server
}

func (f *fakeRuntime) Exec(_ context.Context, r *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return f.streams.GetExec(r)
}

func (f *fakeRuntime) ExecSync(_ context.Context, id string, cmd []string, _ time.Duration) ([]byte, []byte, error) {
	return []byte(id + " " + strings.Join(cmd, ",")), nil, nil
}

type echo struct{ streaming.Runtime }

func (echo) Exec(_ context.Context, id string, cmd []string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan stream.TerminalSize) error {
	fmt.Fprintf(out, "%s %v ", id, cmd)
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return exec.CodeExitError{Err: errors.New("command terminated with exit code 3"), Code: 3}
}

// start serves; inProcess says how the runtime's streams are reached.
func start(t *testing.T, inProcess bool) (base string, ca *authority) {
	t.Helper()
	ca = newAuthority(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "0.log")
	if err := os.WriteFile(log, []byte("2026-01-01T00:00:00Z stdout F hello\n2026-01-01T00:00:01Z stderr F world\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	streams := streaming.DefaultConfig
	sl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams.BaseURL = &url.URL{Scheme: "http", Host: sl.Addr().String(), Path: "/"}
	ss, err := streaming.NewServer(streams, echo{})
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: ss}
	go hs.Serve(sl)
	t.Cleanup(func() { hs.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{ca.leaf("system:node:n", "system:nodes")}}, ClientCA: ca.pool(),
		NodeName: "n", Node: &fakeNode{log: log}, Runtime: &fakeRuntime{streams: ss}, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler)}
	if inProcess {
		c.Streaming = ss
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "https://" + l.Addr().String(), ca
}

func client(ca *authority, certs ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.pool(), Certificates: certs}}}
}

func get(t *testing.T, c *http.Client, u string) (int, string) {
	t.Helper()
	res, err := c.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestWhoGetsIn(t *testing.T) {
	base, ca := start(t, true)
	stranger := newAuthority(t)
	for name, c := range map[string]struct {
		certs []tls.Certificate
		code  int // 0: no handshake
	}{
		"API server":          {[]tls.Certificate{ca.leaf("kube-apiserver-kubelet-client")}, 200},
		"masters":             {[]tls.Certificate{ca.leaf("admin", "system:masters")}, 200},
		"a user":              {[]tls.Certificate{ca.leaf("alice", "dev")}, 403},
		"another node":        {[]tls.Certificate{ca.leaf("system:node:m", "system:nodes")}, 403},
		"nobody":              {nil, 0},
		"another CA's master": {[]tls.Certificate{stranger.leaf("admin", "system:masters")}, 0},
	} {
		res, err := client(ca, c.certs...).Get(base + "/pods")
		code := 0
		if err == nil {
			code = res.StatusCode
			res.Body.Close()
		}
		if code != c.code {
			t.Errorf("%s: %d, want %d (%v)", name, code, c.code, err)
		}
	}
}

func TestLogsAndStats(t *testing.T) {
	base, ca := start(t, true)
	c := client(ca, ca.leaf("admin", "system:masters"))
	for path, want := range map[string]string{
		"/containerLogs/default/web/app":                                                "200 hello\nworld\n",
		"/containerLogs/default/web/app?tailLines=1":                                    "200 world\n",
		"/containerLogs/default/web/app?follow=true&tailLines=1":                        "200 world\n",
		"/containerLogs/default/web/app?stream=Stdout":                                  "200 hello\n",
		"/containerLogs/default/web/app?limitBytes=3":                                   "200 hel",
		"/containerLogs/default/web/app?sinceTime=2026-01-01T00:00:01Z&timestamps=true": "200 2026-01-01T00:00:01Z world\n",
		"/containerLogs/default/web/app?previous=true":                                  "400 previous terminated container \"app\" in pod \"web\" not found\n",
		"/containerLogs/default/web/app?tailLines=-1":                                   "400 unable to decode the request as container log options: tailLines=\"-1\" must be an integer of at least 0\n",
		"/healthz": "200 ok",
	} {
		if code, body := get(t, c, base+path); fmt.Sprint(code, " ", body) != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	_, body := get(t, c, base+"/stats/summary")
	var sum struct {
		Node struct{ NodeName string }
		Pods []struct{ PodRef PodRef }
	}
	if err := json.Unmarshal([]byte(body), &sum); err != nil || sum.Node.NodeName != "n" || len(sum.Pods) != 1 || sum.Pods[0].PodRef.Name != "web" {
		t.Errorf("summary: %v %s", err, body)
	}
	if _, body = get(t, c, base+"/metrics"); !strings.Contains(body, "\nkubelet_running_pods ") || !strings.Contains(body, `kubelet_node_name{node="n"} 1`) || !strings.Contains(body, "\nprocess_cpu_seconds_total ") || !strings.Contains(body, `kubelet_running_containers{container_state="running"}`) {
		t.Error(body)
	}
	_, body = get(t, c, base+"/metrics/resource")
	if want := `container_cpu_usage_seconds_total{container="app",namespace="default",pod="web"} 1.5 5`; !strings.Contains(body, want) {
		t.Errorf("no %s in:\n%s", want, body)
	}
	res, err := c.Post(base+"/run/default/web/app?cmd=ls+-l", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "id-app ls,-l" {
		t.Errorf("run: %s", b)
	}
}

func TestExec(t *testing.T) {
	for _, inProcess := range []bool{true, false} {
		base, ca := start(t, inProcess)
		leaf := ca.leaf("kube-apiserver-kubelet-client")
		key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
		config := &rest.Config{Host: base, TLSClientConfig: rest.TLSClientConfig{
			CAData: block("CERTIFICATE", ca.cert.Raw), CertData: block("CERTIFICATE", leaf.Certificate[0]), KeyData: block("PRIVATE KEY", key)}}
		run := func(container string) (string, error) {
			u, _ := url.Parse(base + "/exec/default/web/" + container + "?command=a&command=b+c&input=1&output=1")
			ex, err := remotecommand.NewSPDYExecutor(config, "POST", u)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = ex.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdin: strings.NewReader("input"), Stdout: &out})
			return out.String(), err
		}
		out, err := run("app")
		var code exec.ExitError
		if out != "id-app [a b c] input" || !errors.As(err, &code) || code.ExitStatus() != 3 {
			t.Errorf("in process %v: %q, %v", inProcess, out, err)
		}
		if _, err := run("absent"); err == nil || !strings.Contains(err.Error(), `container not found ("absent")`) {
			t.Errorf("absent: %v", err)
		}
	}
}
