package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestNotBuilt(t *testing.T) {
	if _, err := Program("nonesuch"); !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "make build") {
		t.Error(err)
	}
}

func TestUnpackNonsense(t *testing.T) {
	if _, err := unpack("kubectl", []byte("nonsense")); err == nil || !strings.Contains(err.Error(), "unpacking kubectl") {
		t.Error(err)
	}
}

// TestInstall: whoever runs what is installed runs all of it, also while others
// install it.
func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	path := filepath.Join(dir, "program")
	want := strings.Repeat("x", 1<<20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := install([]byte(want), dir, path); err != nil {
				t.Error(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestKubectlNowhere(t *testing.T) {
	if _, err := packed("kubectl"); err != nil {
		t.Fatalf("%v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", file) // nothing can be made below a file
	if _, err := Kubectl(); err == nil || !strings.Contains(err.Error(), "name a folder that you can write to in XDG_CACHE_HOME") {
		t.Error(err)
	}
}
