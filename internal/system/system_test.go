package system

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"clipper/internal/config"
	"clipper/internal/nft/nettest"
)

// All in a network namespace of the tests' own, where every port is free.
func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

func serverConfig(t *testing.T) *config.Config {
	dir := t.TempDir()
	return &config.Config{
		Cluster: "test", Node: "alone", StateDir: dir + "/state", RunDir: dir + "/run",
		Server: &config.Server{
			Address: netip.MustParseAddr("127.0.0.1"), Port: 6443,
			ServiceCIDR: netip.MustParsePrefix("10.43.0.0/16"), PodCIDR: netip.MustParsePrefix("10.42.0.0/16"),
		},
	}
}

// boot runs a server until stop is called, and returns once it is ready.
func boot(t *testing.T, c *config.Config) (client kubernetes.Interface, stop func() error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c, "v1.36.3", &Teller{w}) }()
	var last message
	for s := bufio.NewScanner(r); !last.Ready && s.Scan(); {
		if err := json.Unmarshal(s.Bytes(), &last); err != nil || last.Error != "" {
			t.Fatalf("%s: %v", s.Text(), err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.StateDir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if client, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return client, stop
}

// TestServerAlone: a control plane without a node starts, serves, ends in order,
// and has everything when it starts again.
func TestServerAlone(t *testing.T) {
	c := serverConfig(t)
	client, stop := boot(t, c)
	ctx := t.Context()
	version, err := client.Discovery().ServerVersion()
	if err != nil || version.GitVersion != "v1.36.3+clipper" || version.Major != "1" || version.Minor != "36" {
		t.Errorf("%+v, %v", version, err)
	}
	made, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"k": "v"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:6443"); err == nil {
		conn.Close()
		t.Error("the API's port is still open")
	}
	client, stop = boot(t, c)
	got, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
	if err != nil || got.UID != made.UID || got.ResourceVersion != made.ResourceVersion || got.Data["k"] != "v" {
		t.Errorf("%+v, %v", got, err)
	}
	if svc, err := client.CoreV1().Services("kube-system").Get(ctx, "kube-dns", metav1.GetOptions{}); err != nil || svc.Spec.ClusterIP != "10.43.0.10" {
		t.Errorf("%+v, %v", svc, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), serverConfig(t), "v1.36.3", nil)
	if err == nil || !strings.Contains(err.Error(), "the API's port") || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}

func TestNothingToRun(t *testing.T) {
	dir := t.TempDir()
	for _, agent := range []*config.Agent{nil, {}} {
		err := Run(t.Context(), &config.Config{Node: "n", StateDir: dir, RunDir: dir, Agent: agent}, "v1.36.3", nil)
		if err == nil || !strings.Contains(err.Error(), "neither a server nor the address of one") {
			t.Error(err)
		}
	}
}
