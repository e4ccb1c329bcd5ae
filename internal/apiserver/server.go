// Package apiserver is the API: HTTP, and one generic path that every kind
// takes to the store and back.
//
// A request is routed, authenticated, authorised, decoded, defaulted, admitted,
// validated and stored; the store's event fills the watch cache before the
// write is acknowledged, so whoever wrote reads what it wrote. Reads come from
// the watch cache alone. What kinds do differently is in package strategy, and
// in one file here for each kind whose paths need more than its own object.
//
// Objects of the watch cache are shared and read-only; the bytes that answer a
// request are made at most once for an object and media type.
//
// The package is larger than others because the verbs, the forms of answers and
// the few subresources all work on the one request and the one write; what does
// not is in packages of its own (cache, strategy, allocate, wire, connect, table,
// discovery, openapi).
package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/admission"
	"clipper/internal/apiserver/cache"
	"clipper/internal/apiserver/connect"
	"clipper/internal/apiserver/fairness"
	"clipper/internal/apiserver/http2"
	"clipper/internal/apiserver/strategy"
	"clipper/internal/apiserver/wire"
	"clipper/internal/auth"
	"clipper/internal/measure"
	"clipper/internal/scheme"
	"clipper/internal/scheme/ownership"
	"clipper/internal/store"
	"clipper/internal/trace"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// Authenticator finds out who a request is from. Errors are StatusErrors.
type Authenticator interface {
	Authenticate(r *http.Request) (user.Info, error)
}

// Authorizer decides whether something may be done.
type Authorizer interface {
	Authorize(ctx context.Context, a auth.Attributes) (allowed bool, reason string, err error)
}

// Admission decides whether a write may pass, and completes it.
type Admission interface {
	Admit(ctx context.Context, a *admission.Attributes) error
	Validate(ctx context.Context, a *admission.Attributes) error
}

// Validator holds each kind's rules. Objects are of the stored version. The
// texts it returns beside the errors are warnings.
type Validator interface {
	Create(r *scheme.Resource, obj runtime.Object) (field.ErrorList, []string)
	Update(r *scheme.Resource, obj, old runtime.Object) (field.ErrorList, []string)
	// UpdateSubresource judges a write through a subresource that reads and
	// writes the object ("status", "ephemeralcontainers", "finalize", ...).
	UpdateSubresource(r *scheme.Resource, subresource string, obj, old runtime.Object) (field.ErrorList, []string)
}

// Connector serves the subresources that are connections to something else:
// exec, attach, portforward, log, proxy. The request is authorised; errors that
// it returns before it wrote anything are answered as a Status.
type Connector interface {
	Connect(w http.ResponseWriter, r *http.Request, c connect.Request) error
}

// TokenSigner makes ServiceAccount tokens.
type TokenSigner interface {
	Sign(sa *corev1.ServiceAccount, b auth.Binding, audiences []string, life time.Duration) (token string, ends time.Time, err error)
}

// TokenVerifier says whom a token stands for.
type TokenVerifier interface {
	Verify(token string, audiences []string) (user.Info, []string, error)
}

// Tabler makes the tables that kubectl prints.
type Tabler interface {
	// Table returns the objects, of one row, as a table. headers tells whether
	// the columns are to be described.
	Table(row *scheme.Resource, objs []runtime.Object, o metav1.TableOptions, headers bool) (*metav1.Table, error)
}

// Config is what a Server is made of. Store, Table, Authenticator and
// Authorizer must be set.
type Config struct {
	Store store.Store
	Table *scheme.Table
	// Cache is NewCache's; New makes it if it is nil.
	Cache *cache.Cache

	Authenticator Authenticator
	Authorizer    Authorizer
	Admission     Admission // nil admits all
	Validator     Validator // nil accepts all
	Signer        TokenSigner
	Verifier      TokenVerifier
	Connector     Connector
	Tabler        Tabler

	// Handlers serve paths that are no resource's, by exact path or, with a
	// closing slash, by prefix: discovery ("/api", "/api/v1", "/apis/", ...),
	// "/openapi/", "/.well-known/openid-configuration", "/debug/pprof/", ...
	// The longest match wins.
	Handlers map[string]http.Handler
	// Discovery serves /api, /apis and the groups' documents.
	Discovery http.Handler

	// ServiceCIDR is where Services get their addresses from.
	ServiceCIDR netip.Prefix
	// NodePortFirst and NodePortLast bound node ports; zero is 30000 and 32767.
	NodePortFirst, NodePortLast int32
	// Advertise is where the `kubernetes` Service sends clients to; one that is
	// not valid, or only good within this machine, leaves the Service without
	// endpoints.
	Advertise netip.AddrPort

	Version version.Info
	// Checks are more health checks by name; nil is healthy.
	Checks map[string]func() error

	// MaxInflight is how many requests from outside may be under way at once;
	// zero is 600, which upstream's defaults for reads and writes are together.
	MaxInflight int
	// RequestLog is from which duration on requests are logged. Zero logs those
	// that take a second, watches and other streams apart; below zero is none.
	RequestLog time.Duration
	// Tracer, if set, is told of requests.
	Tracer *trace.Tracer

	Clock clock.WithTicker
	// Rand must be safe for concurrent use; nil is math/rand/v2's own.
	Rand   rand.Source
	Logger *slog.Logger
}

// Server is the API server of one process.
type Server struct {
	Config
	cache     *cache.Cache
	kinds     map[*scheme.Resource]*kind
	byName    map[schema.GroupResource]*kind
	kept      cache.Encodings
	ownership *ownership.Tracker
	services  *serviceAllocator
	inflight  inflight
	fairness  *fairness.Dispatcher
	metrics   *metrics
	paths     stats // of requests that are of no kind
	handler   http.Handler

	steps   [][]*step
	failed  atomic.Bool // the cache no longer follows the store
	ready   chan struct{}
	readied sync.Once
	// ending is closed when the server stops taking requests: watches end.
	ending chan struct{}
	ended  sync.Once
}

// kind is one row of the table as it is served.
type kind struct {
	row      *scheme.Resource
	cache    *cache.Resource // nil if nothing is stored
	strategy *strategy.Strategy
	// deprecated is what every answer warns of, if anything.
	deprecated string
	encoders   [3]*cache.Encoder // by scheme.MediaType
	partial    [3]*cache.Encoder // of PartialObjectMetadata
	stats      stats
	// begin, if set, takes what a write needs beyond the object itself (a
	// Service's addresses) and completes obj; finish is told the write's fate.
	begin func(obj, old runtime.Object, dryRun bool) (finish func(error), err error)
	// stamp states who wrote an object, and when, where that is part of it; old
	// is nil for a new object.
	stamp func(obj, old runtime.Object, u user.Info, now metav1.Time)
	// allowed, if set, says what a namespace does not allow a new object, or a status,
	// before all else that may be wrong with it.
	allowed func(obj, old runtime.Object, namespace metav1.Object) field.ErrorList
	// release gives it back when the object is gone.
	release func(last runtime.Object)
}

// NewCache returns the watch cache of a store, with the index that kubelets'
// watches need. The Server that it is given to runs it.
func NewCache(s store.Store, t *scheme.Table, c clock.Clock, log *slog.Logger) *cache.Cache {
	return cache.New(cache.Config{
		Store: s, Resources: t.Resources(), Clock: c, Logger: log,
		Indexed: map[schema.GroupResource]string{{Resource: "pods"}: "spec.nodeName"},
	})
}

// sharedSource is math/rand/v2's own source, which is safe for concurrent use.
type sharedSource struct{}

func (sharedSource) Uint64() uint64 { return rand.Uint64() }

// New returns a server that is not running yet.
func New(c Config) (*Server, error) {
	switch {
	case c.Store == nil, c.Table == nil:
		return nil, errors.New("apiserver: a store and a table of kinds are needed")
	case c.Authenticator == nil, c.Authorizer == nil:
		return nil, errors.New("apiserver: an authenticator and an authorizer are needed")
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Rand == nil {
		c.Rand = sharedSource{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Cache == nil {
		c.Cache = NewCache(c.Store, c.Table, c.Clock, c.Logger)
	}
	if c.MaxInflight == 0 {
		c.MaxInflight = maxInflight
	}
	if c.NodePortFirst == 0 {
		c.NodePortFirst, c.NodePortLast = 30000, 32767
	}
	s := &Server{
		Config: c, cache: c.Cache,
		kinds:     make(map[*scheme.Resource]*kind, len(c.Table.Resources())),
		byName:    make(map[schema.GroupResource]*kind, len(c.Table.Resources())),
		ownership: ownership.New(c.Table),
		metrics:   newMetrics(),
		fairness:  fairness.New(fairness.Config{Seats: c.MaxInflight, Wait: queueWithin, Clock: c.Clock}),
		ready:     make(chan struct{}),
		ending:    make(chan struct{}),
	}
	s.steps = s.startSteps()
	strategies := strategy.New()
	for _, row := range c.Table.Resources() {
		k := &kind{row: row, cache: s.cache.Resource(row), strategy: strategies[row.Stored.GroupResource()]}
		if k.strategy == nil {
			k.strategy = &strategy.Strategy{}
		}
		k.deprecated = deprecation(row.New())
		k.encoders = encoders(row, &s.kept)
		if row.HasVerb("watch") {
			k.stats.events = measure.Sizes(eventBounds)
		}
		k.partial = partialEncoders(&s.kept)
		s.kinds[row] = k
		if row.Stored == row {
			s.byName[row.GroupResource()] = k
		}
	}
	if k := s.byName[schema.GroupResource{Resource: "services"}]; k != nil {
		a, err := newServiceAllocator(c.ServiceCIDR, c.NodePortFirst, c.NodePortLast, c.Rand)
		if err != nil {
			return nil, fmt.Errorf("apiserver: %w", err)
		}
		s.services, k.begin, k.release = a, a.begin, a.release
		s.metrics.registry.MustRegister(a.Collector())
		s.wireAddresses()
	}
	if k := s.byName[schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}]; k != nil {
		k.stamp = stampRequest
	}
	if k := s.byName[schema.GroupResource{Resource: "persistentvolumes"}]; k != nil {
		k.stamp = stampVolume
	}
	for _, name := range []string{"resourceclaims", "resourceclaimtemplates"} {
		if k := s.byName[schema.GroupResource{Group: resourcev1.GroupName, Resource: name}]; k != nil {
			k.allowed = adminAccess
		}
	}
	s.metrics.registry.MustRegister(s.collector(), s.cache.Collector(), s.fairness.Collector())
	// What others count comes along with what they do.
	for _, part := range []any{c.Admission, c.Authorizer, c.Verifier, c.Store} {
		if m, ok := part.(interface{ Collector() prometheus.Collector }); ok {
			s.metrics.registry.MustRegister(m.Collector())
		}
	}
	s.handler = s.chain()
	return s, nil
}

// Handler returns the API as a handler, for a listener or for callers in this
// process (auth.WithUser).
func (s *Server) Handler() http.Handler { return s.handler }

// Cache returns the watch cache.
func (s *Server) Cache() *cache.Cache { return s.cache }

// Trim lets go of what is quickly made again, for times when there is little to
// do.
func (s *Server) Trim() { s.kept.Drop() }

// Run loads the watch cache, creates what every cluster has, and follows the
// store until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	defer s.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := s.cache.Run(ctx)
		s.failed.Store(true)
		done <- err
	}()
	loaded := make(chan error, 1)
	go func() {
		err := s.cache.Ready(ctx)
		if err == nil {
			err = s.bootstrap(ctx)
		}
		loaded <- err
	}()
	select {
	case err := <-done:
		return err
	case err := <-loaded:
		if err != nil && ctx.Err() == nil {
			cancel()
			return errors.Join(err, <-done)
		}
	}
	s.readied.Do(func() { close(s.ready) })
	var guarding sync.WaitGroup
	guarding.Go(func() { s.guard(ctx) })
	guarding.Go(func() { s.flowcontrol(ctx) })
	err := <-done
	cancel()
	guarding.Wait()
	return err
}

// Ready returns once requests are answered.
func (s *Server) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) end() { s.ended.Do(func() { close(s.ending) }) }

const (
	// stopWithin bounds how long requests may finish after Serve's ctx ended.
	stopWithin = 5 * time.Second
	// maxHeader bounds a request's headers; a token is the largest of them.
	maxHeader = 128 << 10
)

// Serve answers on the listeners, over TLS, until ctx ends: then listeners
// close, watches end, and requests in flight finish.
func (s *Server) Serve(ctx context.Context, config *tls.Config, listeners ...net.Listener) error {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"h2", "http/1.1"}
	// Many small records at first would help a slow line, and cost all others.
	config.DynamicRecordSizingDisabled = true
	h := &http.Server{
		Handler:           s.handler,
		TLSConfig:         config,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		ErrorLog:          slog.NewLogLogger(handshakes{s.Logger.Handler(), &s.metrics.handshakes}, slog.LevelDebug),
	}
	http2.Configure(h, http2.Config{
		MaxStreams: 1000,
		MaxHeader:  maxHeader,
		Idle:       h.IdleTimeout,
		// A peer that is gone without a word is found out.
		PingAfter:   30 * time.Second,
		PingWithin:  15 * time.Second,
		WriteWithin: time.Minute,
		Clock:       clock.RealClock{},
		Logger:      s.Logger,
	})
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { errs <- h.ServeTLS(wire.Listen(l), "", "") }()
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-errs:
	}
	s.end()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := h.Shutdown(sctx); err != nil {
		h.Close()
	}
	if failed != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the API: %w", failed)
	}
	return nil
}
