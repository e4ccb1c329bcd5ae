package lint

import (
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
		{"internal/run", "log", "slog"},
		{"internal/run", "log/slog", ""},
	} {
		got := strings.Join(Check([]Package{{ImportPath: module + c.from, Imports: []string{c.imports}}}), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s imports %s: got %q, want %q", c.from, c.imports, got, c.want)
		}
	}
}
