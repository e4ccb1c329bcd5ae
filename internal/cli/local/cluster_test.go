package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"clipper/internal/config"
)

func TestNames(t *testing.T) {
	want := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[-a-z0-9A_./ ]{0,45}`), rapid.String()).Draw(t, "name")
		if got := checkName(name) == nil; got != want.MatchString(name) && name != config.Standalone {
			t.Errorf("%q: accepted is %v", name, got)
		}
	})
}

// TestReservedName: a cluster's end never touches what a service manager runs.
func TestReservedName(t *testing.T) {
	d := Dirs{State: t.TempDir(), Run: t.TempDir()}
	if err := os.Mkdir(filepath.Join(d.State, config.Standalone), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Delete(d, config.Standalone); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(d.State, config.Standalone)); err != nil {
		t.Error(err)
	}
}

func TestBridgeNames(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		c := &Cluster{Name: rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?`).Draw(t, "name")}
		b := c.bridge()
		if len(b) > 15 || !strings.HasPrefix(b, "clp-") {
			t.Errorf("%s: bridge %q", c.Name, b)
		}
		if other, taken := seen[b]; taken && other != c.Name {
			t.Errorf("%s and %s share the bridge %q", c.Name, other, b)
		}
		seen[b] = c.Name
	})
}

func TestContext(t *testing.T) {
	if Context("clipper") != "clipper" || Context("ci") != "clipper-ci" {
		t.Error(Context("clipper"), Context("ci"))
	}
}

// TestAddresses: whatever the block and the number of nodes, no two parts of a
// cluster share an address.
func TestAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := testBlock(rapid.IntRange(128, 223).Draw(t, "second"), rapid.IntRange(1, MaxNodes).Draw(t, "nodes"))
		seen := map[string]bool{c.gateway().String(): true}
		for _, n := range c.Nodes {
			if ip := c.NodeIP(n); seen[ip.String()] || !c.nodeNet().Contains(ip) {
				t.Errorf("node %s is at %s", n, ip)
			} else {
				seen[ip.String()] = true
			}
		}
		parts := []interface{ String() string }{c.nodeNet(), c.serviceNet(), c.podNet()}
		if c.nodeNet().Overlaps(c.serviceNet()) || c.nodeNet().Overlaps(c.podNet()) || c.serviceNet().Overlaps(c.podNet()) {
			t.Errorf("%v overlap", parts)
		}
	})
}

func TestSaveAndLoad(t *testing.T) {
	c := testCluster(t)
	c.Port, c.Uplink = 1234, true
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(c.dirs, c.Name)
	if err != nil || fmt.Sprint(*got) != fmt.Sprint(*c) {
		t.Errorf("%+v, %v; want %+v", got, err, c)
	}
	if all := List(c.dirs); len(all) != 1 || all[0].Name != c.Name {
		t.Errorf("%v", all)
	}
	if _, err := Load(c.dirs, "other"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "`clipper start --name other` creates it") {
		t.Error(err)
	}
	if _, err := Load(c.dirs, "../etc"); err == nil || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestDamaged(t *testing.T) {
	c := testCluster(t)
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	file := c.dirs.file(c.Name)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{
		"", "null", "{}", "[]", "nonsense", string(good[:len(good)/2]),
		strings.Replace(string(good), c.Name, "other", 1),
		strings.Replace(string(good), c.Nodes[0], "../../etc", 1),
		strings.Replace(string(good), "10.199.0.0/16", "10.199.0.0/24", 1),
		strings.Replace(string(good), "10.199.0.0/16", "10.199.1.0/16", 1),
		strings.Replace(string(good), "10.199.0.0/16", "fd00::/16", 1),
	} {
		if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(c.dirs, c.Name); err == nil || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), "`clipper delete --name "+c.Name+"`") {
			t.Errorf("%s: %v", damage, err)
		}
		if all := List(c.dirs); len(all) != 0 {
			t.Errorf("%s: listed", damage)
		}
	}
}

func TestLock(t *testing.T) {
	d := Dirs{State: t.TempDir() + "/state", Run: t.TempDir() + "/run"}
	unlock, err := d.lock("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.lock("a"); err == nil || !strings.Contains(err.Error(), `another command is working on cluster "a"`) {
		t.Error(err)
	}
	other, err := d.lock("b")
	if err != nil {
		t.Error(err)
	}
	other()
	unlock()
	if left, _ := os.ReadDir(d.Run); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if unlock, err = d.lock("a"); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestLockExcludes: however the file comes and goes, at most one holds it.
func TestLockExcludes(t *testing.T) {
	d := Dirs{State: t.TempDir() + "/state", Run: t.TempDir() + "/run"}
	var wg sync.WaitGroup
	var held sync.Mutex
	for range 8 {
		wg.Go(func() {
			for range 200 {
				unlock, err := d.lock("a")
				if err != nil {
					continue
				}
				if !held.TryLock() {
					t.Error("two hold one lock")
				} else {
					held.Unlock()
				}
				unlock()
				_ = os.Remove(d.Run) // as deleting the last cluster does
			}
		})
	}
	wg.Wait()
}

// TestBlocksDiffer: clusters that are created at once get different addresses.
func TestBlocksDiffer(t *testing.T) {
	d := Dirs{State: filepath.Join(t.TempDir(), "state"), Run: t.TempDir()}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := create(d, Options{Name: fmt.Sprintf("c%d", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var blocks []string
	for _, c := range List(d) {
		blocks = append(blocks, c.Block.String())
	}
	slices.Sort(blocks)
	if len(slices.Compact(blocks)) != 8 {
		t.Errorf("blocks: %v", blocks)
	}
}

func TestTooManyNodes(t *testing.T) {
	d := Dirs{State: t.TempDir(), Run: t.TempDir()}
	if _, err := create(d, Options{Name: "a", Nodes: MaxNodes + 1}); err == nil || !strings.Contains(err.Error(), "at most 100") {
		t.Error(err)
	}
	if left, _ := os.ReadDir(d.State); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestResolvers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	content := "# nameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver ::1\n\tnameserver\t192.0.2.2  # comment\nnameserver\nsearch example.com\nnameserver 2001:db8::1\nnameserver nonsense\noptions ndots:5"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := resolvers(file); !slices.Equal(got, []string{"192.0.2.2", "2001:db8::1"}) {
		t.Errorf("%q", got)
	}
	if got := resolvers(file + ".missing"); got != nil {
		t.Errorf("%q", got)
	}
}
