package lint

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	packages, err := List("../..", "./...")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, b := range Check(packages) {
		t.Error(b)
	}
}

func TestCheckFinds(t *testing.T) {
	for _, c := range []struct{ from, imports, want string }{
		{"internal/store", "clipper/internal/apiserver", "only lower levels"},
		{"internal/kubelet", "clipper/internal/cri", "only lower levels"},
		{"internal/kubelet", "clipper/internal/kubelet/probe", ""},
		{"internal/kubelet/volume", "clipper/internal/informer", ""},
		{"internal/new", "fmt", "at no level"},
		{"internal/apiserver", "k8s.io/kubernetes/pkg/apis", "written anew"},
		{"internal/apiserver", "k8s.io/kubernetesque", ""},
		{"internal/system", "k8s.io/kubectl/pkg/cmd", "program of its own"},
		{"cmd/clipper-kubectl", "k8s.io/kubectl/pkg/cmd", ""},
		{"internal/validate", "github.com/google/cel-go/cel", "only internal/cel"},
		{"internal/cel", "github.com/google/cel-go/cel", ""},
		{"internal/admission", "k8s.io/apiserver/pkg/admission/plugin/cel", "brings audit"},
		{"internal/run", "log", "slog"},
		{"internal/run", "log/slog", ""},
	} {
		got := strings.Join(Check([]Package{{ImportPath: module + c.from, Imports: []string{c.imports}}}), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s imports %s: got %q, want %q", c.from, c.imports, got, c.want)
		}
	}
}

// TestWeight: what the program links, through whatever it imports.
func TestWeight(t *testing.T) {
	packages, err := List("../..", "-deps", "./cmd/clipper")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 500 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, h := range Heavy(packages) {
		t.Error(h)
	}
	if len(Heavy([]Package{{ImportPath: "k8s.io/apiserver/pkg/server/options"}, {ImportPath: "k8s.io/apiserver/pkg/serverless"}})) != 1 {
		t.Error("what is heavy is not found")
	}
}

// TestArchitecture: the map that people read is the one that is checked.
func TestArchitecture(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, ok := strings.Cut(string(page), "| level | package | is |")
	if !ok {
		t.Fatal("no table of levels")
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	told, level := map[string]bool{"test": true}, -1
	for row := range strings.Lines(rows) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(cells[1])); err == nil {
			level = n
		}
		for i, name := range strings.Split(cells[2], "`") {
			if i%2 == 0 {
				continue // between names
			}
			area, checked := locate(strings.TrimSuffix(name, "/<name>"))
			if area == "" || checked != level {
				t.Errorf("ARCHITECTURE.md has %s at level %d, and it is checked at %d", name, level, checked)
			}
			told[area] = true
		}
	}
	for area := range levels {
		if !told[area] {
			t.Errorf("ARCHITECTURE.md does not tell of %s", area)
		}
	}
}
