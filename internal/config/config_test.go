package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteAndRead(t *testing.T) {
	c := &Config{
		Cluster: "a", Node: "a-1", StateDir: "/state", RunDir: "/run", CgroupParent: "clipper/a/a-1", Debug: true,
		Server: &Server{
			Address: netip.MustParseAddr("10.128.0.2"), Port: 6443, ListenFD: 4, LocalPort: 40001, Names: []string{"n"},
			ServiceCIDR: netip.MustParsePrefix("10.128.16.0/20"), PodCIDR: netip.MustParsePrefix("10.128.128.0/17"), NodeBits: 25, JoinToken: "a.b", MemoryStore: true,
		},
		Agent: &Agent{
			NodeIP: netip.MustParseAddr("10.128.0.2"),
			Uplink: true, Resolvers: []string{"192.0.2.1"}, Registries: map[string][]string{"docker.io": {"http://192.0.2.2"}},
			Server: "https://10.128.0.3:6443", Token: "a.b@sha256:c", MaxPods: 10,
		},
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	same := []cmp.Option{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if d := cmp.Diff(c, got, same...); d != "" {
		t.Error(d)
	}
}

func TestReadNonsense(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir + "/missing"); !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, content := range []string{"", "nonsense", `{"node": 5}`, `{"server": {"podCIDR": "10.0.0.0"}}`} {
		file := filepath.Join(dir, "config.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", content, err)
		}
	}
}
