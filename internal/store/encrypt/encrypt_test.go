package encrypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/store"
	"clipper/internal/store/encrypt"
	"clipper/internal/store/pebble"
	"clipper/internal/store/storetest"
)

func newKey(t testing.TB) []byte {
	key := make([]byte, encrypt.KeySize)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

func open(t testing.TB, c pebble.Config, key []byte, prefixes ...string) (*encrypt.Store, *pebble.Store) {
	inner, err := pebble.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := encrypt.New(inner, key, clock.RealClock{}, prefixes...)
	if err != nil {
		t.Fatal(err)
	}
	return s, inner
}

// TestSuite: with every key encrypted, a store is a store.
func TestSuite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Backend {
		now := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		c, key := pebble.Config{Dir: t.TempDir(), Clock: now}, newKey(t)
		return storetest.Backend{
			Open:     func(t testing.TB) store.Store { s, _ := open(t, c, key, "/"); return s },
			Outlives: true,
			Advance:  now.Step,
		}
	})
}

const secret = "/registry/secrets/default/s"

func TestNothingIsReadableOnDisk(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s, _ := open(t, pebble.Config{Dir: dir}, newKey(t), "/registry/secrets/")
	value := []byte("correct horse battery staple")
	plain := []byte("anybody may read this one")
	if _, err := s.Apply(ctx, store.Write{Key: secret, Value: value}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(ctx, store.Write{Key: "/registry/configmaps/default/c", Value: plain}); err != nil {
		t.Fatal(err)
	}
	if it, err := s.Get(ctx, secret); err != nil || !bytes.Equal(it.Value, value) {
		t.Errorf("got %q, %v", it.Value, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var disk bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		disk.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(disk.Bytes(), value[:12]) {
		t.Error("the secret stands readable on the disk")
	}
	if !bytes.Contains(disk.Bytes(), []byte("k8s:enc:aesgcm:v1:key1:")) || !bytes.Contains(disk.Bytes(), plain[:12]) {
		t.Error("the test looks in the wrong place")
	}
}

func TestWhatWasPlainIsRead(t *testing.T) {
	s, inner := open(t, pebble.Config{Memory: true}, newKey(t), "/registry/secrets/")
	defer s.Close()
	rev, err := inner.Apply(t.Context(), store.Write{Key: secret, Value: []byte("old")})
	if err != nil {
		t.Fatal(err)
	}
	if it, err := s.Get(t.Context(), secret); err != nil || string(it.Value) != "old" {
		t.Errorf("got %q, %v", it.Value, err)
	}
	if _, err := s.Apply(t.Context(), store.Write{Key: secret, Value: []byte("new"), Expect: rev}); err != nil {
		t.Fatal(err)
	}
	if it, _ := inner.Get(t.Context(), secret); strings.Contains(string(it.Value), "new") {
		t.Error("the next write did not encrypt it")
	}
}

func TestRefused(t *testing.T) {
	ctx := t.Context()
	s, inner := open(t, pebble.Config{Memory: true}, newKey(t), "/registry/secrets/")
	defer s.Close()
	if _, err := s.Apply(ctx, store.Write{Key: secret, Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	it, err := inner.Get(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(it.Value)
	damaged[len(damaged)-1] ^= 1
	for name, value := range map[string][]byte{"moved": it.Value, "damaged": damaged, "short": it.Value[:25]} {
		key := "/registry/secrets/other/" + name
		if _, err := inner.Apply(ctx, store.Write{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
		if it, err := s.Get(ctx, key); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %q, %v", name, it.Value, err)
		}
	}
	if _, err := s.List(ctx, store.Range{Prefix: "/registry/"}); err == nil {
		t.Error("a list passes over what cannot be decrypted")
	}
	if err := s.Watch(ctx, "/registry/", 1, nil, func([]store.Event) {}); err == nil {
		t.Error("a watch passes over what cannot be decrypted")
	}
	other, err := encrypt.New(inner, newKey(t), clock.RealClock{}, "/registry/secrets/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(ctx, secret); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with another key: %v", err)
	}
	if _, err := encrypt.New(inner, []byte("short"), clock.RealClock{}, "/"); err == nil {
		t.Error("a short key is taken")
	}
}

func BenchmarkApply(b *testing.B) {
	s, _ := open(b, pebble.Config{Memory: true}, newKey(b), "/registry/secrets/")
	defer s.Close()
	value := bytes.Repeat([]byte("x"), 1024)
	b.ReportAllocs()
	var rev int64
	for b.Loop() {
		var err error
		if rev, err = s.Apply(context.Background(), store.Write{Key: secret, Value: value, Expect: rev}); err != nil {
			b.Fatal(err)
		}
	}
}

// What is sealed and opened is counted by its resource, and what cannot be opened
// apart.
func TestTransformationsAreCounted(t *testing.T) {
	ctx := t.Context()
	s, inner := open(t, pebble.Config{Memory: true}, newKey(t), "/registry/secrets/")
	defer s.Close()
	for _, key := range []string{secret, "/registry/configmaps/default/m"} {
		if _, err := s.Apply(ctx, store.Write{Key: key, Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	it, err := inner.Get(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	it.Value[len(it.Value)-1] ^= 1
	if _, err := inner.Apply(ctx, store.Write{Key: secret, Value: it.Value, Expect: it.Revision}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, secret); err == nil {
		t.Fatal("a damaged value can be read")
	}
	if err := testutil.CollectAndCompare(s.Collector(), strings.NewReader(`
# HELP apiserver_storage_transformation_operations_total Total number of transformations. Successful transformation will have a status 'OK' and a varied status string when the transformation fails.
# TYPE apiserver_storage_transformation_operations_total counter
apiserver_storage_transformation_operations_total{resource="secrets",status="OK",transformation_type="from_storage",transformer_prefix="k8s:enc:aesgcm:v1:"} 1
apiserver_storage_transformation_operations_total{resource="secrets",status="OK",transformation_type="to_storage",transformer_prefix="k8s:enc:aesgcm:v1:"} 1
apiserver_storage_transformation_operations_total{resource="secrets",status="Unknown",transformation_type="from_storage",transformer_prefix="k8s:enc:aesgcm:v1:"} 1
`), "apiserver_storage_transformation_operations_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(s.Collector(), "apiserver_storage_transformation_duration_seconds"); n != 2 {
		t.Errorf("%d durations", n)
	}
}
