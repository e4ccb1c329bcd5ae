package system

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/auth"
	"clipper/internal/join"
)

// heard passes on the messages that are logged.
type heard chan string

func (h heard) Enabled(context.Context, slog.Level) bool { return true }
func (h heard) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h heard) WithGroup(string) slog.Handler            { return h }
func (h heard) Handle(_ context.Context, r slog.Record) error {
	h <- r.Message
	return nil
}

// timed is a clock that is stepped by hand, once somebody waits for it.
type timed struct {
	*clocktesting.FakeClock
	waited chan struct{}
}

func (c timed) NewTimer(d time.Duration) clock.Timer {
	t := c.FakeClock.NewTimer(d)
	c.waited <- struct{}{}
	return t
}

// TestCertificates: a node gets its certificates, has them again after a
// restart without a token, and replaces each before it ends.
func TestCertificates(t *testing.T) {
	c := serverConfig(t)
	token := auth.JoinToken{}
	var err error
	if token.BootstrapToken, err = auth.NewBootstrapToken(rand.Reader); err != nil {
		t.Fatal(err)
	}
	c.Server.JoinToken = token.BootstrapToken.String()
	boot(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ca, err := os.ReadFile(filepath.Join(c.StateDir, "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if token.CA, err = auth.CAHash(ca); err != nil {
		t.Fatal(err)
	}
	clk, log := timed{clocktesting.NewFakeClock(time.Now()), make(chan struct{}, 16)}, make(heard, 16)
	config := join.Config{
		Server: "https://127.0.0.1:6443", Token: token.String(), Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.5")},
		Dir: t.TempDir(), Clock: clk, Logger: slog.New(log),
	}
	if _, err := join.Join(ctx, config); err != nil {
		t.Fatal(err)
	}

	config.Token = ""
	j, err := join.Join(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := j.Serving(ctx)
	if err != nil {
		t.Fatal(err)
	}
	serving := func() string {
		t.Helper()
		pair, err := tls.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := serving()
	asNode, err := kubernetes.NewForConfig(j.Kubelet())
	if err != nil {
		t.Fatal(err)
	}
	who := func() string {
		t.Helper()
		if _, err := asNode.CoreV1().Services("").List(ctx, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		pair, err := os.ReadFile(filepath.Join(config.Dir, "kubelet-client.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return string(pair)
	}
	before := who()

	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- j.Run(running) }()
	const quarter = 365 * 24 * time.Hour / 4
	// Nothing happens until a quarter of their lives is left.
	<-clk.waited
	clk.Step(3*quarter - 24*time.Hour)
	select {
	case message := <-log:
		t.Errorf("too early: %s", message)
	default:
	}
	clk.Step(24 * time.Hour)
	// The server's clock did not follow: what it gives has as little time left, and
	// is asked for again a while later, until the test has seen both replaced.
	for serving() == first || who() == before {
		select {
		case message := <-log:
			if !strings.HasPrefix(message, "certificate ") {
				t.Fatal(message)
			}
		case <-clk.waited:
			clk.Step(time.Hour)
		case <-ctx.Done():
			t.Fatal("not replaced")
		}
	}
	stop()
	for ended := false; !ended; {
		select {
		case <-log:
		case <-clk.waited:
		case err := <-done:
			if ended = true; err != nil {
				t.Error(err)
			}
		}
	}

	// Another name, another cluster's token, and a certificate that has ended.
	for _, try := range []struct {
		change func(*join.Config)
		want   string
	}{
		{func(c *join.Config) { c.Node = "n2" }, `joined as node "n1" and not as "n2"`},
		{func(c *join.Config) {
			c.Token = strings.Repeat("a", 6) + "." + strings.Repeat("a", 16) + "@sha256:" + strings.Repeat("0", 64)
		}, "another cluster than the token's"},
		{func(c *join.Config) { c.Clock = clocktesting.NewFakeClock(time.Now().Add(8 * quarter)) }, "certificate ended on"},
		{func(c *join.Config) { c.Dir = t.TempDir() }, "has not joined a cluster yet"},
	} {
		other := config
		try.change(&other)
		if _, err := join.Join(ctx, other); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%v, want %q", err, try.want)
		}
	}
	late := config
	late.Server = "https://127.0.0.1:1"
	cut, end := context.WithCancel(ctx)
	late.Dir, late.Token = t.TempDir(), token.String()
	late.Say = func(what string) {
		if !strings.Contains(what, "waiting for the server https://127.0.0.1:1") {
			t.Error(what)
		}
		end()
	}
	go func() {
		for {
			select {
			case <-clk.waited:
				clk.Step(time.Minute)
			case <-log:
			case <-cut.Done():
				return
			}
		}
	}()
	if _, err := join.Join(cut, late); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}
