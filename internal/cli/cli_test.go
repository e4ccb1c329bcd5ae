package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/internal/cli/local"
	"clipper/internal/config"
)

// bench is an App over folders of its own, with what it printed.
type bench struct {
	*App
	out, err bytes.Buffer
	t        *testing.T
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t}
	dir := t.TempDir()
	now := time.Unix(0, 0)
	b.App = &App{
		Out: &b.out, Err: &b.err, Version: "v0 (Kubernetes v1.36.3)", Program: "/nowhere/clipper",
		Dirs: local.Dirs{State: dir + "/state", Run: dir + "/run"},
		Now:  func() time.Time { now = now.Add(10 * time.Millisecond); return now },
	}
	return b
}

// write stores a file below the App's folders.
func (b *bench) write(path, content string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// cluster makes a cluster that does not run, as a stop leaves it.
func (b *bench) cluster(name string) *local.Cluster {
	b.t.Helper()
	b.write(filepath.Join(b.Dirs.State, name, "cluster.json"), fmt.Sprintf(
		`{"name": %q, "nodes": [%q], "block": "10.199.0.0/16", "port": 40001, "uplink": true}`, name, name+"-1"))
	b.write(filepath.Join(b.Dirs.State, name, name+"-1", "admin.kubeconfig"), fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://10.199.0.2:6443", certificate-authority-data: Y2E=}}]
users: [{name: u, user: {token: %s-token}}]
`, name))
	c, err := local.Load(b.Dirs, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// run runs a command line and returns what it printed, its messages and its status.
func (b *bench) run(args ...string) (stdout, stderr string, status int) {
	b.t.Helper()
	b.out.Reset()
	b.err.Reset()
	root := New(b.App)
	root.SetArgs(args)
	status = Execute(context.Background(), root)
	return b.out.String(), b.err.String(), status
}

// serve answers as a node of the cluster would.
func serve(t *testing.T, c *local.Cluster, h http.HandlerFunc) {
	t.Helper()
	socket := c.Socket(c.Nodes[0])
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.cluster("here")
	for _, c := range []struct{ args, want string }{
		{"status --name gone", "no such cluster: \"gone\"; `clipper start --name gone` creates it"},
		{"stop --name gone", "`clipper start --name gone` creates it"},
		{"kubeconfig --name gone", "`clipper start --name gone` creates it"},
		{"image ls --name gone", "`clipper start --name gone` creates it"},
		{"status --name No_Name", `cluster name "No_Name": use at most 40 lower-case letters`},
		{"status --bogus", "unknown flag: --bogus; `clipper status --help` lists the flags"},
		{"status --name here -o yaml", `--output "yaml": only json is known`},
		{"start --mirror docker.io", `--mirror "docker.io": write REGISTRY=URL`},
		{"start --port 70000", `invalid argument "70000" for "--port" flag`},
		{"image frob", "unknown command \"frob\"; `clipper image --help` lists them"},
		{"node frob", "unknown command \"frob\"; `clipper node --help` lists them"},
		{"frob", `unknown command "frob" for "clipper"`},
		{"image load", "requires at least 1 arg"},
		{"image load --name here /nowhere/app.tar", "open /nowhere/app.tar: no such file"},
		{"image ls --name here", "node here-1 does not run; `clipper start --name here` starts it"},
		{"demo --name gone", "`clipper start --name gone` creates it"},
	} {
		stdout, stderr, status := b.run(strings.Fields(c.args)...)
		if status != 1 || stdout != "" || !strings.HasPrefix(stderr, "clipper: ") || !strings.Contains(stderr, c.want) {
			t.Errorf("clipper %s: status %d, %q, %q; want %q", c.args, status, stdout, stderr, c.want)
		}
	}
}

func TestGroupsHelp(t *testing.T) {
	b := newBench(t)
	for _, group := range []string{"image", "node"} {
		if stdout, _, status := b.run(group); status != 0 || !strings.Contains(stdout, "Available Commands:") {
			t.Errorf("clipper %s: %d, %s", group, status, stdout)
		}
	}
}

// TestOutput: programs read this, so it stays as it is.
func TestOutput(t *testing.T) {
	b := newBench(t)
	c := b.cluster("here")
	log := c.LogFile("here-1")
	serve(t, c, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode([]config.Image{
			{ID: "sha256:0123456789abcdef", Tags: []string{"docker.io/library/app:1", "docker.io/library/app:2"}, Size: 1_500_000},
			{ID: "sha256:fedcba9876543210", Digests: []string{"docker.io/library/old@sha256:aa"}, Size: 10_000},
		})
	})
	node := `"name": "here-1",
X  "address": "10.199.0.2",
X  "process": "Stopped",
X  "ready": "",
X  "log": "` + log + `"
X}`
	for _, o := range []struct {
		args, want string
		status     int
	}{
		{"status --name here -o json", `{
  "name": "here",
  "state": "Stopped",
  "api": "https://127.0.0.1:40001",
  "context": "clipper-here",
  "nodes": [
    {
      ` + strings.ReplaceAll(node, "X", "    ") + `
  ]
}
`, 1},
		{"node ls --name here -o json", "[\n  {\n    " + strings.ReplaceAll(node, "X", "  ") + "\n]\n", 0},
		{"node ls --name here", "NODE     ADDRESS      PROCESS   READY   LOG\nhere-1   10.199.0.2   Stopped           " + log + "\n", 0},
		{"image ls --name here -o json", `[
  {
    "node": "here-1",
    "id": "sha256:0123456789abcdef",
    "tags": [
      "docker.io/library/app:1",
      "docker.io/library/app:2"
    ],
    "size": 1500000
  },
  {
    "node": "here-1",
    "id": "sha256:fedcba9876543210",
    "tags": null,
    "digests": [
      "docker.io/library/old@sha256:aa"
    ],
    "size": 10000
  }
]
`, 0},
		{"image ls --name here", `NODE     IMAGE                             ID             SIZE
here-1   docker.io/library/app:1           0123456789ab   1.5 MB
here-1   docker.io/library/app:2           0123456789ab   1.5 MB
here-1   docker.io/library/old@sha256:aa   fedcba987654   0.0 MB
`, 0},
		{"version", "v0 (Kubernetes v1.36.3)\n", 0},
	} {
		stdout, stderr, status := b.run(strings.Fields(o.args)...)
		if stdout != o.want || stderr != "" || status != o.status {
			t.Errorf("clipper %s: status %d, %s\n%s\nwant %d\n%s", o.args, status, stderr, stdout, o.status, o.want)
		}
	}
}

func TestStatusForPeople(t *testing.T) {
	b := newBench(t)
	b.cluster("here")
	stdout, _, status := b.run("status", "--name", "here")
	if status != 1 || !strings.HasPrefix(stdout, "cluster   here\nstate     Stopped\nAPI       https://127.0.0.1:40001\n") {
		t.Errorf("%d\n%s", status, stdout)
	}
}

func TestNodeAnswers(t *testing.T) {
	b := newBench(t)
	c := b.cluster("here")
	var answer func(http.ResponseWriter, *http.Request)
	serve(t, c, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	archive := filepath.Join(t.TempDir(), "app.tar")
	b.write(archive, "an archive")

	answer = func(w http.ResponseWriter, r *http.Request) {
		var got bytes.Buffer
		if _, err := got.ReadFrom(r.Body); err != nil || r.Method != http.MethodPost || got.String() != "an archive" {
			t.Errorf("%s %q, %v", r.Method, got.String(), err)
		}
		fmt.Fprint(w, `["docker.io/library/app:1","docker.io/library/app:2"]`)
	}
	if stdout, stderr, status := b.run("image", "load", "--name", "here", archive); status != 0 || stdout != "docker.io/library/app:1\ndocker.io/library/app:2\n" {
		t.Errorf("%d %q %q", status, stdout, stderr)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not an archive of images", http.StatusUnprocessableEntity)
	}
	if _, stderr, status := b.run("image", "load", "--name", "here", archive); status != 1 || stderr != "clipper: "+archive+": node here-1: not an archive of images\n" {
		t.Errorf("%d %q", status, stderr)
	}
	for what, broken := range map[string]func(http.ResponseWriter, *http.Request){
		"nonsense":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "nonsense") },
		"hanging up": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		answer = broken
		if _, stderr, status := b.run("image", "ls", "--name", "here"); status != 1 || !strings.HasPrefix(stderr, "clipper: node here-1: ") {
			t.Errorf("%s: %d %q", what, status, stderr)
		}
	}
}

func TestCompletion(t *testing.T) {
	b := newBench(t)
	b.cluster("one")
	b.cluster("two")
	for args, want := range map[string]string{
		"__complete status --name ":         "one\ntwo\n",
		"__complete node ls -o ":            "json\n",
		"__complete imag":                   "image\tGive a cluster images",
		"completion bash":                   "__start_clipper",
		"completion zsh":                    "#compdef clipper",
		"__complete start --name x --no-up": "--no-uplink",
	} {
		if stdout, _, status := b.run(strings.Split(args, " ")...); status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("clipper %s: %d, without %q:\n%.400s", args, status, want, stdout)
		}
	}
}

func TestProgress(t *testing.T) {
	b := newBench(t)
	p := b.progress()
	p("first")
	p("second")
	if got := b.err.String(); got != "  0.01 s  first\n  0.02 s  second\n" {
		t.Errorf("%q", got)
	}
}
