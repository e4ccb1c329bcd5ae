package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const others = `apiVersion: v1
kind: Config
current-context: work
preferences: {}
contexts: [{name: work, context: {cluster: work, user: me, namespace: team}}]
clusters: [{name: work, cluster: {server: "https://work.example"}}]
users: [{name: me, user: {token: mine}}]
`

func load(t *testing.T, file string) *api.Config {
	t.Helper()
	c, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// files sets KUBECONFIG to files of the given contents; "" is one that does not exist.
func files(t *testing.T, b *bench, contents ...string) []string {
	t.Helper()
	var all []string
	dir := t.TempDir()
	for i, content := range contents {
		file := filepath.Join(dir, string(rune('a'+i)))
		if content != "" {
			b.write(file, content)
		}
		all = append(all, file)
	}
	t.Setenv("KUBECONFIG", strings.Join(all, string(filepath.ListSeparator)))
	return all
}

func TestKubeconfigPrinted(t *testing.T) {
	b := newBench(t)
	b.cluster("here")
	stdout, stderr, status := b.run("kubeconfig", "--name", "here")
	if status != 0 || stderr != "" {
		t.Fatalf("%d %s", status, stderr)
	}
	c, err := clientcmd.Load([]byte(stdout))
	if err != nil {
		t.Fatal(err)
	}
	const name = "clipper-here"
	if c.CurrentContext != name || len(c.Contexts) != 1 || c.Contexts[name].Cluster != name || c.Contexts[name].AuthInfo != name ||
		c.Clusters[name].Server != "https://127.0.0.1:40001" || string(c.Clusters[name].CertificateAuthorityData) != "ca" || c.AuthInfos[name].Token != "here-token" {
		t.Error(stdout)
	}
}

func TestMergeIntoNothing(t *testing.T) {
	b := newBench(t)
	f := files(t, b, "")
	c := b.cluster("here")
	file, err := mergeKubeconfig(c)
	if err != nil || file != f[0] {
		t.Fatal(file, err)
	}
	got := load(t, file)
	if got.CurrentContext != "clipper-here" || got.AuthInfos["clipper-here"].Token != "here-token" {
		t.Errorf("%+v", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := dropKubeconfig("here"); err != nil {
		t.Fatal(err)
	}
	got = load(t, file)
	if len(got.Contexts)+len(got.Clusters)+len(got.AuthInfos) != 0 || got.CurrentContext != "" {
		t.Errorf("%+v", got)
	}
}

// TestMergeAtOnce: of clusters that start and end at the same moment, none
// loses its context to another, and none is told that another is writing.
func TestMergeAtOnce(t *testing.T) {
	b := newBench(t)
	f := files(t, b, others)
	var all sync.WaitGroup
	const clusters = 8
	for i := range clusters {
		c := b.cluster(fmt.Sprintf("c%d", i))
		all.Go(func() {
			for range 5 {
				if _, err := mergeKubeconfig(c); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					if err := dropKubeconfig(c.Name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	got := load(t, f[0])
	if len(got.Contexts) != 1+clusters/2 || got.AuthInfos["me"].Token != "mine" {
		t.Errorf("%d contexts: %+v", len(got.Contexts), got.Contexts)
	}
	if left, _ := filepath.Glob(f[0] + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMergeKeepsOthers(t *testing.T) {
	b := newBench(t)
	f := files(t, b, others)
	b.cluster("one")
	b.cluster("two")
	for range 2 { // the second time changes nothing
		for _, c := range []string{"one", "two"} {
			if _, stderr, status := b.run("kubeconfig", "--name", c, "--merge"); status != 0 || !strings.Contains(stderr, `context "clipper-`+c+`" is current in `+f[0]) {
				t.Fatal(stderr)
			}
		}
	}
	got := load(t, f[0])
	if len(got.Contexts) != 3 || got.CurrentContext != "clipper-two" || got.Contexts["work"].Namespace != "team" || got.AuthInfos["me"].Token != "mine" {
		t.Errorf("%+v", got)
	}
	if err := dropKubeconfig("one"); err != nil {
		t.Fatal(err)
	}
	got = load(t, f[0])
	if len(got.Contexts) != 2 || got.CurrentContext != "clipper-two" || got.Clusters["work"].Server != "https://work.example" {
		t.Errorf("%+v", got)
	}
	before, _ := os.ReadFile(f[0])
	if err := dropKubeconfig("never-was"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(f[0]); string(after) != string(before) {
		t.Error("dropping what is not there changed the file")
	}
}

// TestMergeSeveralFiles: a context is replaced in the file that holds it, with
// the namespace that the user chose; a new one goes to the first file.
func TestMergeSeveralFiles(t *testing.T) {
	b := newBench(t)
	const old = `apiVersion: v1
kind: Config
contexts: [{name: clipper-here, context: {cluster: clipper-here, user: clipper-here, namespace: team}}]
clusters: [{name: clipper-here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: clipper-here, user: {token: old}}]
`
	f := files(t, b, others, old, "")
	c := b.cluster("here")
	file, err := mergeKubeconfig(c)
	if err != nil || file != f[1] {
		t.Fatal(file, err)
	}
	first, second := load(t, f[0]), load(t, f[1])
	if len(first.Contexts) != 1 || len(first.Clusters) != 1 || first.CurrentContext != "clipper-here" {
		t.Errorf("first file: %+v", first)
	}
	if got := second.Contexts["clipper-here"]; got == nil || got.Namespace != "team" || second.Clusters["clipper-here"].Server != "https://127.0.0.1:40001" || second.AuthInfos["clipper-here"].Token != "here-token" {
		t.Errorf("second file: %+v", second)
	}
	if _, err := os.Stat(f[2]); err == nil {
		t.Error("the third file was written")
	}
	if err := dropKubeconfig("here"); err != nil {
		t.Fatal(err)
	}
	if second = load(t, f[1]); len(second.Contexts)+len(second.Clusters)+len(second.AuthInfos) != 0 {
		t.Errorf("second file after the drop: %+v", second)
	}
	if first = load(t, f[0]); first.Contexts["work"] == nil || first.CurrentContext != "" {
		t.Errorf("first file after the drop: %+v", first)
	}
}

func TestKubeconfigTrouble(t *testing.T) {
	b := newBench(t)
	c := b.cluster("here")
	files(t, b, "{{{")
	if _, err := mergeKubeconfig(c); err == nil || !strings.Contains(err.Error(), "your kubeconfig cannot be read") || !strings.Contains(err.Error(), "name another in KUBECONFIG") {
		t.Error(err)
	}
	if err := dropKubeconfig("here"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Error(err)
	}
	// Nobody can write below a file.
	t.Setenv("KUBECONFIG", filepath.Join(c.LogFile("x"), "..", "..", "cluster.json", "config"))
	if _, err := mergeKubeconfig(c); err == nil || !strings.Contains(err.Error(), "your kubeconfig") {
		t.Error(err)
	}
	admin := filepath.Join(c.StateDir(), "here-1", "admin.kubeconfig")
	b.write(admin, "apiVersion: v1\nkind: Config\ncurrent-context: c\n")
	if _, stderr, _ := b.run("kubeconfig", "--name", "here"); !strings.Contains(stderr, admin+" is damaged; `clipper stop` and `clipper start` write it again") {
		t.Error(stderr)
	}
	if err := os.Remove(admin); err != nil {
		t.Fatal(err)
	}
	if _, stderr, _ := b.run("kubeconfig", "--name", "here"); !strings.Contains(stderr, "`clipper start --name here` writes them") {
		t.Error(stderr)
	}
}
