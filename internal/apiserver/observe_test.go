package apiserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/internal/apiserver"
	"clipper/internal/trace"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

// What dashboards ask for is there, with upstream's names and labels.
func TestMetrics(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	const maps = "/api/v1/namespaces/default/configmaps"
	a.do("POST", maps, aMap)
	a.do("POST", maps+"?dryRun=All", strings.Replace(aMap, `"m"`, `"dry"`, 1))
	a.do("GET", maps, "")
	a.do("GET", "/api/v1/configmaps", "")
	a.do("PATCH", maps+"/m?fieldManager=x", aMap, "Content-Type", "application/apply-patch+yaml")
	a.do("DELETE", maps+"?fieldSelector=metadata.name%3Dnone", "")
	a.do("GET", "/healthz", "")
	a.do("GET", "/some/thing/made/up", "")
	a.do("GET", "/version", "")
	a.do("GET", "/metrics", "")
	a.do("GET", maps, "", "Accept", "application/*")
	c.raw(t, "nobody").do("GET", maps, "")
	w, err := c.admin("").CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-w.ResultChan()
	res, body := a.do("GET", "/metrics", "")
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Error(res.Header)
	}
	for _, line := range []string{
		`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="APPLY",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="DELETE",version="v1"} 1`,
		`apiserver_request_total{code="200",component="",dry_run="",group="",resource="",scope="",subresource="/healthz",verb="GET",version=""} 1`,
		`apiserver_request_duration_seconds_bucket{component="apiserver",dry_run="",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1",le="60"} 1`,
		`apiserver_request_sli_duration_seconds_count{component="apiserver",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_response_sizes_bucket{component="apiserver",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1",le="1000"} 1`,
		`apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="cluster",subresource="",verb="WATCH",version="v1"} 1`,
		`apiserver_watch_events_total{group="",resource="configmaps",version="v1"} 1`,
		`apiserver_watch_events_sizes_bucket{group="",resource="configmaps",version="v1",le="1024"} 1`,
		`apiserver_resource_objects{group="",resource="configmaps"} 1`,
		`apiserver_storage_objects{resource="leases.coordination.k8s.io"} 0`,
		`apiserver_current_inflight_requests{request_kind="mutating"} 0`,
		`apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	// What leads nowhere, is turned away, or tells of the server itself, is not counted.
	for _, label := range []string{`code="401"`, `code="403"`, `code="404"`, `code="406"`, `subresource="/version"`, `subresource="/metrics"`} {
		if strings.Contains(body, label) {
			t.Errorf("%s is counted", label)
		}
	}
	for _, name := range []string{"kubernetes_build_info", "authentication_attempts", "authorization_attempts_total", "apiserver_client_certificate_expiration_seconds_bucket", "process_cpu_seconds_total", "go_goroutines"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	if _, slis := a.do("GET", "/metrics/slis", ""); !strings.Contains(slis, `kubernetes_healthcheck{name="etcd",type="readyz"} 1`) || !strings.Contains(slis, `kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 1`) {
		t.Error(slis)
	}
	// A parser is content, too.
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
		t.Error(err)
	}
}

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Requests are logged when they shall be, without what may be secret.
func TestRequestLog(t *testing.T) {
	var all, slow lines
	for log, least := range map[*lines]time.Duration{&all: 1, &slow: 0} {
		c := start(t, func(c *apiserver.Config) {
			c.Logger, c.RequestLog = slog.New(slog.NewTextHandler(log, nil)), least
			if least == 0 { // none is slow, however slow the machine
				c.Clock = testclock.NewFakeClock(time.Now())
			}
		})
		res, _ := c.raw(t, "admin", "system:masters").do("GET", "/api/v1/namespaces/default/configmaps/none?pretty=1&command=secret", "", "Audit-Id", "mine", "User-Agent", "test/1")
		if res.Header.Get("Audit-Id") != "mine" {
			t.Error(res.Header)
		}
	}
	for _, want := range []string{`verb=get`, `uri="/api/v1/namespaces/default/configmaps/none?pretty=1&command=..."`, "code=404", "user=admin", "agent=test/1", "id=mine"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in %s", want, all.String())
		}
	}
	if strings.Contains(all.String(), "secret") {
		t.Error(all.String())
	}
	if strings.Contains(slow.String(), "configmaps/none") {
		t.Error(slow.String())
	}
}

// A collector hears of requests, as parts of their callers' traces.
func TestTraces(t *testing.T) {
	got := make(chan string, 16)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || !json.Valid(b) {
			t.Error(r.URL, err)
		}
		got <- string(b)
	}))
	defer collector.Close()
	tracer, err := trace.New(trace.Config{Endpoint: collector.URL, Service: "apiserver", Clock: clock.RealClock{}, Rand: source{}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tracer.Run(ctx) }()
	c := start(t, func(c *apiserver.Config) { c.Tracer = tracer })
	a := c.raw(t, "admin", "system:masters")
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	a.do("GET", "/api/v1/namespaces/default/configmaps/none", "", "Traceparent", "00-"+id+"-"+parent+"-01")
	a.do("GET", "/api/v1/namespaces/default/secrets", "", "Traceparent", "00-"+id+"-"+parent+"-00")
	a.do("GET", "/api/v1/namespaces/default/pods", "") // none of the traces that begin here are kept
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	body := <-got
	for _, want := range []string{`"traceId":"` + id + `"`, `"parentSpanId":"` + parent + `"`, `"name":"get configmaps"`, `{"key":"http.response.status_code","value":{"intValue":"404"}}`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "secrets") || strings.Contains(body, "pods") {
		t.Error(body)
	}
}

type source struct{}

func (source) Uint64() uint64 { return rand.Uint64() }
