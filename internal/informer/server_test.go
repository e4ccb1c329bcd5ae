package informer_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"testing"

	"clipper/internal/apiserver"
	"clipper/internal/auth"
	"clipper/internal/client"
	"clipper/internal/informer"
	"clipper/internal/scheme"
	"clipper/internal/store/pebble"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

type server struct {
	*apiserver.Server
	table *scheme.Table
	t     testing.TB
}

// start runs an API server in memory, without a socket.
func start(t testing.TB) *server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := pebble.Open(pebble.Config{Memory: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &server{table: scheme.New(), t: t}
	watched := apiserver.NewCache(db, s.table, clock.RealClock{}, log)
	rules := auth.NewRules(none{}, watched)
	s.Server, err = apiserver.New(apiserver.Config{
		Store: db, Table: s.table, Cache: watched,
		Authenticator: auth.NewAuthenticator(auth.AuthenticatorConfig{Authorizer: rules, Clock: clock.RealClock{}, Logger: log}),
		Authorizer:    rules,
		ServiceCIDR:   netip.MustParsePrefix("10.96.0.0/16"),
		Clock:         clock.RealClock{}, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

type none struct{}

func (none) PodsOn(string) []*corev1.Pod { return nil }

func (s *server) as(name string, groups ...string) kubernetes.Interface {
	k, err := client.New(client.InProcess(s.Handler(), &user.DefaultInfo{Name: name, Groups: append(groups, auth.Authenticated)}, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func TestInformersShareTheServersObjects(t *testing.T) {
	s := start(t)
	admin := s.as("admin", auth.Masters)
	ctx, cancel := context.WithCancel(t.Context())
	factory := informer.New(s.table, informer.FromCache(s.Cache()), admin)
	defer factory.Shutdown()
	defer cancel()
	maps := factory.Core().V1().ConfigMaps()
	seen := make(chan *corev1.ConfigMap, 100)
	if _, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- o.(*corev1.ConfigMap) },
		UpdateFunc: func(_, o any) { seen <- o.(*corev1.ConfigMap) },
		DeleteFunc: func(o any) { seen <- nil },
	}); err != nil {
		t.Fatal(err)
	}
	first := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "first"}}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(ctx, first, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		t.Fatal(err)
	}
	same := func(name string) {
		t.Helper()
		got := <-seen
		if own := s.Cache().Object(schema.GroupResource{Resource: "configmaps"}, "default", name); got == nil || metav1.Object(got) != own {
			t.Errorf("informer holds %p, the server %p", got, own)
		}
	}
	same("first")
	second := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "second"}}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(ctx, second, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	same("second")
	patch := []byte(`{"data":{"a":"b"}}`)
	if _, err := admin.CoreV1().ConfigMaps("default").Patch(ctx, "second", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	same("second")
	if err := admin.CoreV1().ConfigMaps("default").Delete(ctx, "second", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != nil {
		t.Errorf("%v instead of a deletion", got)
	}
	// Whoever may not, may not in-process either.
	_, err := s.as("jane").CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || err.Error() != `configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default"` {
		t.Errorf("error is %v", err)
	}
}

// The other way to the same informers, through HTTP and encodings.
func TestRemoteInformers(t *testing.T) {
	s := start(t)
	admin := s.as("admin", auth.Masters)
	ctx, cancel := context.WithCancel(t.Context())
	factory := informer.Remote(admin)
	defer factory.Shutdown()
	defer cancel()
	maps := factory.Core().V1().ConfigMaps()
	seen := make(chan string, 100)
	maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) { seen <- o.(*corev1.ConfigMap).Name }})
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name := range seen {
		if name == "one" {
			return
		}
	}
}

func BenchmarkCreateInProcess(b *testing.B) {
	s := start(b)
	k := s.as("admin", auth.Masters)
	b.ReportAllocs()
	for b.Loop() {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "m-"}, Data: map[string]string{"a": "b"}}
		if _, err := k.CoreV1().ConfigMaps("default").Create(b.Context(), m, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetInProcess(b *testing.B) {
	s := start(b)
	k := s.as("admin", auth.Masters)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.CoreV1().Namespaces().Get(b.Context(), "default", metav1.GetOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
