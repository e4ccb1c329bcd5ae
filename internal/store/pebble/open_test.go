package pebble

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

// born makes a store with a few keys in a directory.
func born(t *testing.T, dir string) {
	t.Helper()
	s := mustOpen(t, Config{Dir: dir})
	for _, key := range []string{"/a", "/b"} {
		if _, err := s.Apply(context.Background(), store.Write{Key: key, Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return names
}

func TestHostileDirectory(t *testing.T) {
	overwrite := func(pattern string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			born(t, dir)
			for _, name := range files(t, dir, pattern) {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"other files", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "photo.jpg"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "holds no store"},
		{"garbage for a manifest", overwrite("MANIFEST-*", []byte(strings.Repeat("garbage", 1000))), ""},
		{"an empty manifest", overwrite("MANIFEST-*", nil), ""},
		{"no manifest", func(t *testing.T, dir string) {
			born(t, dir)
			for _, name := range files(t, dir, "MANIFEST-*") {
				os.Remove(name)
			}
		}, ""},
		{"garbage for options", overwrite("OPTIONS-*", []byte("\x00\x01[")), ""},
		{"a database of something else", func(t *testing.T, dir string) {
			db, err := pebble.Open(dir, &pebble.Options{Comparer: comparer(), Logger: logger{nil}})
			if err != nil {
				t.Fatal(err)
			}
			db.Set([]byte("x"), []byte("y"), pebble.Sync)
			db.Close()
		}, "something else"},
		{"a newer format", func(t *testing.T, dir string) {
			born(t, dir)
			db, err := pebble.Open(dir, &pebble.Options{Comparer: comparer(), Logger: logger{nil}})
			if err != nil {
				t.Fatal(err)
			}
			db.Set(metaFormat, []byte("clipper store 9"), pebble.Sync)
			db.Close()
		}, `format "clipper store 9"`},
		{"a file", func(t *testing.T, dir string) {
			os.Remove(dir)
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.make(t, dir)
			s, err := Open(Config{Dir: dir})
			if err == nil {
				s.Close()
				t.Fatal("Open succeeded")
			}
			if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not help: %v", err)
			}
			// The directory is not held by the failure.
			if _, again := Open(Config{Dir: dir}); again == nil || strings.Contains(again.Error(), "in use") {
				t.Errorf("the second time: %v", again)
			}
		})
	}
}

// TestDamagedLog damages the log in its middle, which no crash does.
func TestDamagedLog(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Config{Dir: dir})
	for n := range 10 {
		if _, err := s.Apply(context.Background(), store.Write{Key: fmt.Sprint("/", n), Value: make([]byte, 16<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, dir, "*.log") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 60 {
			data[40] ^= 0xff
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Config{Dir: dir})
	if err == nil {
		s.Close()
		t.Fatal("Open succeeded")
	}
	if !strings.Contains(err.Error(), "damaged") {
		t.Errorf("the error does not help: %v", err)
	}
}

const holdDir = "CLIPPER_TEST_HOLD_STORE"

func TestSecondProcess(t *testing.T) {
	if dir := os.Getenv(holdDir); dir != "" {
		s, err := Open(Config{Dir: dir})
		if err == nil {
			s.Close()
			t.Fatal("Open succeeded")
		}
		os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	dir := t.TempDir()
	s := mustOpen(t, Config{Dir: dir})
	defer s.Close()
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("Open twice in one process: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcess$")
	cmd.Env = append(os.Environ(), holdDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), dir+": in use by another process") {
		t.Errorf("the second process: %v: %s", err, out)
	}
	// The first goes on.
	if _, err := s.Apply(context.Background(), store.Write{Key: "/a", Value: []byte("1")}); err != nil {
		t.Error(err)
	}
}
