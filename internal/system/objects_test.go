package system

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"clipper/internal/apiserver"
	"clipper/internal/auth"
	"clipper/internal/client"
	"clipper/internal/scheme"
	"clipper/internal/store/pebble"
)

// lookups runs an API server in memory, without a socket, and returns what it
// would look things up in, and its administrator's client.
func lookups(t *testing.T) (*objects, kubernetes.Interface) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := pebble.Open(pebble.Config{Memory: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	table := scheme.New()
	watched := apiserver.NewCache(db, table, clock.RealClock{}, log)
	found := newObjects(watched, table)
	rules := auth.NewRules(found, found)
	s, err := apiserver.New(apiserver.Config{
		Store: db, Table: table, Cache: watched, Authorizer: rules,
		Authenticator: auth.NewAuthenticator(auth.AuthenticatorConfig{Authorizer: rules, Clock: clock.RealClock{}, Logger: log}),
		ServiceCIDR:   netip.MustParsePrefix("10.96.0.0/16"), Clock: clock.RealClock{}, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	k, err := client.New(client.InProcess(s.Handler(), &user.DefaultInfo{Name: "admin", Groups: []string{auth.Masters, auth.Authenticated}}, "test"))
	if err != nil {
		t.Fatal(err)
	}
	return found, k
}

var configMaps = schema.GroupResource{Resource: "configmaps"}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func TestObjects(t *testing.T) {
	found, k := lookups(t)
	create := func(namespace, name string) {
		t.Helper()
		if _, err := k.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("default", "a")
	create("default", "b")
	create("kube-system", "a")
	if o := found.Object(configMaps, "default", "a"); o == nil || o.GetNamespace() != "default" || o.GetName() != "a" {
		t.Errorf("%v", o)
	}
	if o := found.Object(configMaps, "default", "missing"); o != nil {
		t.Errorf("%v", o)
	}
	for namespace, want := range map[string]int{"default": 2, "kube-system": 1, "kube-public": 0, "": 3} {
		if got := found.Objects(configMaps, namespace); len(got) != want {
			t.Errorf("namespace %q: %d objects, want %d", namespace, len(got), want)
		}
	}
	if got := found.Objects(schema.GroupResource{Resource: "nonsense"}, ""); got != nil {
		t.Errorf("%v", got)
	}
	if pods := found.PodsOn("node"); len(pods) != 0 {
		t.Errorf("%v", pods)
	}
}

// TestAwait: who waits for an object gets it once it is there, gets that of the
// right namespace and name, and nothing when told to stop.
func TestAwait(t *testing.T) {
	found, k := lookups(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	await := func(namespace, name string) <-chan metav1.Object {
		got := make(chan metav1.Object, 1)
		go func() { got <- found.Await(ctx, configMaps, namespace, name) }()
		return got
	}
	wanted, never := await("default", "wanted"), await("default", "never")
	for _, c := range []struct{ namespace, name string }{{"default", "other"}, {"kube-system", "wanted"}, {"kube-system", "never"}, {"default", "wanted"}} {
		if _, err := k.CoreV1().ConfigMaps(c.namespace).Create(ctx, configMap(c.name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if o := <-wanted; o == nil || o.GetNamespace() != "default" || o.GetName() != "wanted" {
		t.Errorf("%v", o)
	}
	if o := <-await("default", "other"); o == nil || o.GetName() != "other" {
		t.Errorf("what is there already: %v", o)
	}
	cancel()
	if o := <-never; o != nil {
		t.Errorf("%v", o)
	}
	if o := found.Await(t.Context(), schema.GroupResource{Resource: "nonsense"}, "default", "a"); o != nil {
		t.Errorf("%v", o)
	}
}
