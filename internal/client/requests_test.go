package client

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
)

// What clients ask, in this process and over the network, is counted with its
// code, how long it took and how much was sent and received.
func TestRequestsAreCounted(t *testing.T) {
	clock := testingclock.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clock.SetTime(clock.Now().Add(2 * time.Second))
		io.Copy(io.Discard, r.Body)
		switch {
		case r.Method == "POST":
			w.WriteHeader(http.StatusCreated)
		case r.URL.Path == "/abort":
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/long": // its size is not known when it begins
			w.Write(bytes.Repeat([]byte("x"), 200))
			w.(http.Flusher).Flush()
			w.Write(bytes.Repeat([]byte("x"), 100))
		default:
			io.WriteString(w, "hello")
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	for _, c := range []*rest.Config{InProcess(handler, tester, "test"), {Host: server.URL}} {
		counts := NewRequests(clock)
		rt, err := rest.TransportFor(counts.Count(c))
		if err != nil {
			t.Fatal(err)
		}
		host := strings.TrimPrefix(c.Host, "http://")
		do := func(method, path, body string) {
			r, err := http.NewRequestWithContext(t.Context(), method, c.Host+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := rt.RoundTrip(r)
			if (err != nil) != (path == "/abort") {
				t.Fatal(method, path, err)
			}
			if err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
		do("GET", "/", "")
		do("GET", "/long", "")
		do("GET", "/abort", "")
		do("GET", "/x?watch=true", "")
		if create := Creator(c); create != nil {
			if err := create(t.Context(), "/maps", &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}); err != nil {
				t.Fatal(err)
			}
		} else {
			do("POST", "/maps", strings.Repeat("x", 20))
		}
		if err := testutil.CollectAndCompare(counts.Collector(), strings.NewReader(strings.ReplaceAll(`
# HELP rest_client_requests_total Number of HTTP requests, partitioned by status code, method, and host.
# TYPE rest_client_requests_total counter
rest_client_requests_total{code="200",host="HOST",method="GET"} 3
rest_client_requests_total{code="201",host="HOST",method="POST"} 1
rest_client_requests_total{code="<error>",host="HOST",method="GET"} 1
# HELP rest_client_response_size_bytes Response size in bytes. Broken down by verb and host.
# TYPE rest_client_response_size_bytes histogram
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="64"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="256"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="512"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="1024"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="4096"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="16384"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="65536"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="262144"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="1.048576e+06"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="4.194304e+06"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="1.6777216e+07"} 2
rest_client_response_size_bytes_bucket{host="HOST",verb="GET",le="+Inf"} 2
rest_client_response_size_bytes_sum{host="HOST",verb="GET"} 305
rest_client_response_size_bytes_count{host="HOST",verb="GET"} 2
`+emptyAnswer, "HOST", host)), "rest_client_requests_total", "rest_client_response_size_bytes"); err != nil {
			t.Error(host, err)
		}
		made := counts.manners.Get(manner{"POST", host}, newTook)
		if made.time.Count() != 1 || made.sent.Count() != 1 {
			t.Error(host, made.time.Count(), made.sent.Count())
		}
		if got := counts.manners.Get(manner{"GET", host}, newTook); got.time.Count() != 4 || got.sent.Count() != 4 {
			t.Error(host, got.time.Count(), got.sent.Count())
		}
	}
}

// emptyAnswer is that of the POST.
const emptyAnswer = `rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="64"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="256"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="512"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="1024"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="4096"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="16384"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="65536"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="262144"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="1.048576e+06"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="4.194304e+06"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="1.6777216e+07"} 1
rest_client_response_size_bytes_bucket{host="HOST",verb="POST",le="+Inf"} 1
rest_client_response_size_bytes_sum{host="HOST",verb="POST"} 0
rest_client_response_size_bytes_count{host="HOST",verb="POST"} 1
`

// To count a request allocates nothing.
func TestCountingRequestsAllocates(t *testing.T) {
	q := NewRequests(testingclock.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://in-process/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { q.answered(r, q.clock.Now(), 200, 5) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
