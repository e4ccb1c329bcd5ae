// Package server is the node's HTTPS API (port 10250): what the API server
// needs of a node for logs, exec, attach, port-forward, statistics and metrics.
//
// Every caller shows a certificate of the cluster's, and is then authorised by
// name and groups; there is no anonymous access. Paths are upstream's.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	"k8s.io/utils/clock"
)

// Node is what the server asks of the node agent.
type Node interface {
	// List returns the node's pods, with their newest status.
	List() []*v1.Pod
	// Log returns the path of a container's log, and a channel that is closed
	// once nothing more will be written to it. Errors are *Refused.
	Log(ctx context.Context, namespace, pod, container string, previous bool) (string, <-chan struct{}, error)
	// Container returns the ID of a running container. Errors are *Refused.
	Container(ctx context.Context, namespace, pod, uid, container string) (string, error)
	// Sandbox returns the ID of a pod's sandbox. Errors are *Refused.
	Sandbox(ctx context.Context, namespace, pod, uid string) (string, error)
	// Stats returns what the node and its pods use.
	Stats(ctx context.Context) (Summary, error)
	// Usage is Stats with what whole pods and their networks count, which costs
	// more to find out.
	Usage(ctx context.Context) (Summary, error)
	Machine() Machine
	// Probes returns what became of the probes of the pods on the node.
	Probes() []Probes
}

// Refused is an error with its HTTP code.
type Refused struct {
	Code int
	Text string
}

func (e *Refused) Error() string { return e.Text }

// Refuse returns a *Refused.
func Refuse(code int, format string, args ...any) error {
	return &Refused{code, fmt.Sprintf(format, args...)}
}

// Config of a Server.
type Config struct {
	Listener net.Listener
	TLS      *tls.Config
	ClientCA *x509.CertPool
	// Authorize decides on a caller; nil allows system:masters and the API server.
	Authorize func(ctx context.Context, user string, groups []string, verb, path string) error
	NodeName  string
	Node      Node
	Runtime   internalapi.RuntimeService
	// Streaming serves the runtime's stream URLs in this process, if set.
	Streaming http.Handler
	// Metrics are served with the node's own.
	Metrics []prometheus.Collector
	Clock   clock.PassiveClock
	Logger  *slog.Logger
}

// apiServers are the names that the API server's certificate may have.
var apiServers = []string{"kube-apiserver-kubelet-client", "system:kube-apiserver-kubelet-client", "kube-apiserver", "system:kube-apiserver"}

func allow(_ context.Context, user string, groups []string, _, _ string) error {
	if slices.Contains(groups, "system:masters") || slices.Contains(apiServers, user) {
		return nil
	}
	return errors.New("only the API server and system:masters may")
}

type server struct {
	Config
	metrics http.Handler
}

// Run serves until ctx ends.
func Run(ctx context.Context, c Config) error {
	s := &server{Config: c}
	s.metrics = newMetrics(c.NodeName, c.Node, c.Metrics)
	if s.Authorize == nil {
		s.Authorize = allow
	}
	config := c.TLS.Clone()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, c.ClientCA
	if config.MinVersion < tls.VersionTLS12 {
		config.MinVersion = tls.VersionTLS12
	}
	h := &http.Server{
		Handler:           s.guard(s.routes()),
		TLSConfig:         config,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { h.Close() })
	defer stop()
	if err := h.ServeTLS(c.Listener, "", ""); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *server) routes() http.Handler {
	m := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }
	m.HandleFunc("GET /healthz", ok)
	m.HandleFunc("GET /healthz/{check}", ok)
	m.HandleFunc("GET /pods", s.pods)
	m.HandleFunc("GET /pods/{$}", s.pods)
	m.HandleFunc("GET /runningpods/{$}", s.runningPods)
	m.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	for _, verb := range [...]string{"GET", "POST"} {
		m.HandleFunc(verb+" /exec/{namespace}/{pod}/{container}", s.exec)
		m.HandleFunc(verb+" /exec/{namespace}/{pod}/{uid}/{container}", s.exec)
		m.HandleFunc(verb+" /attach/{namespace}/{pod}/{container}", s.attach)
		m.HandleFunc(verb+" /attach/{namespace}/{pod}/{uid}/{container}", s.attach)
		m.HandleFunc(verb+" /portForward/{namespace}/{pod}", s.portForward)
		m.HandleFunc(verb+" /portForward/{namespace}/{pod}/{uid}", s.portForward)
	}
	m.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	m.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	m.HandleFunc("GET /stats/summary", s.summary)
	m.Handle("GET /metrics", s.metrics)
	m.HandleFunc("GET /metrics/resource", s.resource)
	m.HandleFunc("GET /metrics/cadvisor", s.cadvisor)
	m.Handle("GET /metrics/probes", newProbeMetrics(s.Node))
	return m
}

// guard lets in only who is allowed.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		subject := r.TLS.PeerCertificates[0].Subject
		if err := s.Authorize(r.Context(), subject.CommonName, subject.Organization, r.Method, r.URL.Path); err != nil {
			http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes)", subject.CommonName, r.Method), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) pods(w http.ResponseWriter, _ *http.Request) { writePods(w, s.Node.List()) }

func (s *server) runningPods(w http.ResponseWriter, _ *http.Request) {
	writePods(w, slices.DeleteFunc(s.Node.List(), func(p *v1.Pod) bool { return p.Status.Phase != v1.PodRunning }))
}

func writePods(w http.ResponseWriter, pods []*v1.Pod) {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: make([]v1.Pod, len(pods))}
	for i, p := range pods {
		list.Items[i] = *p
	}
	writeJSON(w, &list)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, err error) {
	var r *Refused
	if errors.As(err, &r) {
		http.Error(w, r.Text, r.Code)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
