// Package metrics holds our /metrics to upstream's: after the same requests,
// every family of metrics that upstream has is there, of the same type, with the
// same labels and, if it is a histogram, the same bounds.
//
// testdata/families is what upstream had, a family a line: -server and -token name
// one to record it from. testdata/differences are those that we have not, or
// not so, below a line that says why; a name may end in "*".
package metrics

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clipper/internal/config"
	"clipper/internal/nft/nettest"
	"clipper/internal/system"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	server = flag.String("server", "", "record the metrics of this server instead of comparing ours")
	token  = flag.String("token", "", "a token that may do everything there")
)

// Ours is started in a network namespace of the test's own, where its ports are
// free; theirs is wherever it is.
func TestMain(m *testing.M) {
	flag.Parse()
	if *server != "" {
		os.Exit(m.Run())
	}
	os.Exit(nettest.Main(m))
}

// api is a server, and how it is asked.
type api struct {
	t      *testing.T
	base   string
	client *http.Client
}

// ours starts a control plane.
func ours(t *testing.T) *api {
	dir := t.TempDir()
	c := &config.Config{
		Cluster: "test", Node: "alone", StateDir: dir + "/state", RunDir: dir + "/run",
		Server: &config.Server{
			Address: netip.MustParseAddr("127.0.0.1"), Port: 6443, MemoryStore: true,
			ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), PodCIDR: netip.MustParsePrefix("10.42.0.0/16"),
		},
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- system.Run(ctx, c, "v1.36.3", system.NewTeller(w)) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var last struct {
		Error string
		Ready bool
	}
	for s := bufio.NewScanner(r); !last.Ready && s.Scan(); {
		if err := json.Unmarshal(s.Bytes(), &last); err != nil || last.Error != "" {
			t.Fatalf("%s: %v", s.Text(), err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.StateDir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	return reach(t, cfg)
}

func theirs(t *testing.T) *api {
	return reach(t, &rest.Config{Host: *server, BearerToken: *token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
}

func reach(t *testing.T, c *rest.Config) *api {
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return &api{t, c.Host, client}
}

// request is one of those that both servers are asked.
type request struct{ method, path, media, body string }

const (
	inDefault = "/api/v1/namespaces/default"
	jsonMedia = "application/json"
	aMap      = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"b"}}`
	aPod      = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	aReview   = `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}`
	aSchedule = `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c"},"spec":{"schedule":"0 0 1 1 *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}`
)

var requests = []request{
	{"POST", inDefault + "/serviceaccounts", jsonMedia, `{"metadata":{"name":"default"}}`},
	{"POST", inDefault + "/configmaps", jsonMedia, aMap},
	{"POST", inDefault + "/configmaps", jsonMedia, aMap},
	{"POST", inDefault + "/configmaps?dryRun=All", jsonMedia, strings.Replace(aMap, `"m"`, `"dry"`, 1)},
	{"POST", inDefault + "/configmaps?fieldValidation=Strict", jsonMedia, strings.Replace(aMap, `"data"`, `"dta"`, 1)},
	{"GET", inDefault + "/configmaps/m", "", ""},
	{"GET", inDefault + "/configmaps/none", "", ""},
	{"GET", inDefault + "/configmaps", "", ""},
	{"GET", "/api/v1/configmaps?limit=1", "", ""},
	{"GET", "/api/v1/configmaps?resourceVersion=0", "", ""},
	{"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnone", "", ""},
	{"PUT", inDefault + "/configmaps/m", jsonMedia, strings.Replace(aMap, `"b"`, `"c"`, 1)},
	{"PATCH", inDefault + "/configmaps/m", "application/merge-patch+json", `{"data":{"d":"e"}}`},
	{"PATCH", inDefault + "/configmaps/m?fieldManager=x&force=true", "application/apply-patch+yaml", aMap},
	{"GET", inDefault + "/configmaps?watch=1&timeoutSeconds=1", "", ""},
	{"GET", inDefault + "/configmaps?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "", ""},
	{"POST", inDefault + "/secrets", jsonMedia, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`},
	{"GET", inDefault + "/secrets/s", "", ""},
	{"POST", inDefault + "/services", jsonMedia, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"chosen"},"spec":{"type":"NodePort","ports":[{"port":80}]}}`},
	{"POST", inDefault + "/services", jsonMedia, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"stated"},"spec":{"type":"NodePort","clusterIP":"10.96.0.99","ports":[{"port":80,"nodePort":30999}]}}`},
	{"POST", inDefault + "/services", jsonMedia, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"taken"},"spec":{"type":"NodePort","clusterIP":"10.96.0.99","ports":[{"port":80}]}}`},
	{"POST", inDefault + "/services", jsonMedia, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"taken"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30999}]}}`},
	{"POST", inDefault + "/pods", jsonMedia, aPod},
	{"GET", inDefault + "/pods/p/log", "", ""},
	{"GET", inDefault + "/endpoints", "", ""}, // deprecated
	{"POST", "/apis/batch/v1/namespaces/default/cronjobs", jsonMedia, aSchedule},
	{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", jsonMedia, aReview},
	{"POST", "/api/v1/namespaces/none/configmaps", jsonMedia, aMap},
	{"DELETE", inDefault + "/configmaps/m", "", ""},
	{"DELETE", inDefault + "/configmaps", "", ""},
	{"GET", "/healthz", "", ""}, {"GET", "/version", "", ""}, {"GET", "/apis", "", ""}, {"GET", "/some/thing", "", ""},
}

// ask makes a request and reads its whole answer.
func (a *api) ask(q request, headers ...string) (int, []byte) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), q.method, a.base+q.path, strings.NewReader(q.body))
	if err != nil {
		a.t.Fatal(err)
	}
	if q.media != "" {
		r.Header.Set("Content-Type", q.media)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, body
}

// as asks as somebody else, over a connection of its own without a certificate.
func (a *api) as(token string, q request) int {
	other := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer other.CloseIdleConnections()
	code, _ := (&api{a.t, a.base, other}).ask(q, "Authorization", "Bearer "+token)
	return code
}

// families asks all that there is to ask and returns what metrics a server has
// then: their types, labels and bounds, by name.
func (a *api) families() map[string]string {
	for _, q := range requests {
		if code, body := a.ask(q); code >= 500 {
			a.t.Errorf("%s %s: %d %s", q.method, q.path, code, body)
		}
	}
	// A ServiceAccount asks, twice, and somebody with a token that is no good.
	var t authenticationv1.TokenRequest
	_, body := a.ask(request{"POST", inDefault + "/serviceaccounts/default/token", jsonMedia, "{}"})
	if err := json.Unmarshal(body, &t); err != nil || t.Status.Token == "" {
		a.t.Fatalf("no token: %s", body)
	}
	list := request{"GET", inDefault + "/configmaps", "", ""}
	for _, code := range []int{a.as(t.Status.Token, list), a.as(t.Status.Token, list)} {
		if code != http.StatusForbidden {
			a.t.Errorf("a ServiceAccount lists: %d", code)
		}
	}
	if code := a.as(t.Status.Token, request{"GET", "/api", "", ""}); code != http.StatusOK {
		a.t.Errorf("a ServiceAccount looks: %d", code)
	}
	if code := a.as("no.good.token", list); code != http.StatusUnauthorized {
		a.t.Errorf("nobody lists: %d", code)
	}
	code, page := a.ask(request{"GET", "/metrics", "", ""})
	if code != http.StatusOK {
		a.t.Fatalf("%d %s", code, page)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	if err != nil {
		a.t.Fatal(err)
	}
	all := make(map[string]string, len(parsed))
	for name, f := range parsed {
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
		all[name] = strings.ToLower(f.GetType().String()) + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ",") + bounds(f)
	}
	return all
}

// bounds are those of a histogram, if it is not one of Go's runtime, which changes
// them with its version.
func bounds(f *dto.MetricFamily) string {
	if f.GetType() != dto.MetricType_HISTOGRAM || strings.HasPrefix(f.GetName(), "go_") {
		return ""
	}
	var all []string
	for _, b := range f.Metric[0].Histogram.Bucket {
		if !math.IsInf(b.GetUpperBound(), 1) {
			all = append(all, strconv.FormatFloat(b.GetUpperBound(), 'g', 6, 64))
		}
	}
	return " le " + strings.Join(all, ",")
}

const recorded = "testdata/families"

func TestFamilies(t *testing.T) {
	if *server != "" {
		var out strings.Builder
		all := theirs(t).families()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintln(&out, strings.TrimSpace(name+" "+all[name]))
		}
		if err := os.WriteFile(recorded, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	got, known := ours(t).families(), differences(t)
	used := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		line = strings.TrimSpace(line)
		name, _, _ := strings.Cut(line, " ")
		has, ok := got[name]
		if ok && strings.TrimSpace(name+" "+has) == line {
			if slices.Contains(known, name) {
				t.Errorf("%s agrees, but is among the known differences", name)
			}
			continue
		}
		if i := slices.IndexFunc(known, func(k string) bool {
			prefix, many := strings.CutSuffix(k, "*")
			return k == name || many && strings.HasPrefix(name, prefix)
		}); i >= 0 {
			used[known[i]] = true
			continue
		}
		if !ok {
			has = "none"
		}
		t.Errorf("upstream's %s, ours: %s", line, has)
	}
	for _, k := range known {
		if !used[k] {
			t.Errorf("%s is among the known differences, and is none", k)
		}
	}
}

// differences are the names, or beginnings of names, of what differs.
func differences(t *testing.T) (known []string) {
	b, err := os.ReadFile("testdata/differences")
	if err != nil {
		t.Fatal(err)
	}
	reason := false
	for line := range strings.Lines(string(b)) {
		switch line = strings.TrimSpace(line); {
		case line == "":
			reason = false
		case line[0] == '#':
			reason = true
		case !reason:
			t.Errorf("%s differs without a reason", line)
		default:
			known = append(known, line)
		}
	}
	return known
}
