// Package guide plays the guide's chapters: its manifests unchanged, its
// commands as a user types them, one script a chapter, each on a cluster of its
// own.
//
// Besides testscript's commands a script has
//
//	until REGEXP COMMAND...   runs a command until its output matches
//	fetch REGEXP URL          asks for a page until it matches
//	fetch-port REGEXP HOST PORT PATH
//	                          the same, of the address in the file HOST and the
//	                          port in the file PORT
//
// Both give up after a minute.
package guide

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"clipper/test/cluster"
)

const patience = time.Minute

func TestChapters(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	// Clipper's own kubectl, by a link of that name; and upstream's, if given.
	kubectls := map[string]string{"clipper": cluster.Program(t)}
	if upstream := os.Getenv("UPSTREAM_KUBECTL"); upstream != "" {
		kubectls["upstream"] = upstream
	}
	manifests, err := filepath.Abs("manifests")
	if err != nil {
		t.Fatal(err)
	}
	for who, program := range kubectls {
		bin := t.TempDir()
		if err := os.Symlink(program, filepath.Join(bin, "kubectl")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(cluster.Program(t), filepath.Join(bin, "clipper")); err != nil {
			t.Fatal(err)
		}
		for _, script := range scripts {
			name := strings.TrimSuffix(filepath.Base(script), ".txtar")
			t.Run(who+"/"+name, func(t *testing.T) {
				c := cluster.Start(t)
				c.LoadImages()
				testscript.Run(t, testscript.Params{
					Files: []string{script},
					Setup: func(env *testscript.Env) error {
						env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
						env.Setenv("KUBECONFIG", c.Kubeconfig)
						env.Setenv("HOME", os.Getenv("HOME"))
						env.Setenv("CLUSTER", c.Name)
						env.Setenv("NODE", c.Node())
						return os.CopyFS(filepath.Join(env.WorkDir, "guide"), os.DirFS(manifests))
					},
					Cmds: map[string]func(*testscript.TestScript, bool, []string){
						"until": until, "fetch": fetch, "fetch-port": fetchPort,
					},
				})
			})
		}
	}
}

// again calls try, with growing pauses, until it says it is content.
func again(ts *testscript.TestScript, try func(ctx context.Context) (ok bool, last string)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ok, last := try(ctx)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("still not after %v; last:\n%s", patience, last)
		case <-time.After(pause):
		}
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	path, err := lookPath(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	again(ts, func(ctx context.Context) (bool, string) {
		cmd := exec.CommandContext(ctx, path, args[2:]...)
		cmd.Args[0] = args[1]
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "KUBECONFIG=" + ts.Getenv("KUBECONFIG"), "HOME=" + ts.Getenv("HOME")}
		out, err := cmd.CombinedOutput()
		return err == nil && want.Match(out), fmt.Sprintf("%s\n%v", out, err)
	})
}

func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch REGEXP URL")
	}
	want := regexp.MustCompile(args[0])
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	again(ts, func(ctx context.Context) (bool, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[1], nil)
		ts.Check(err)
		resp, err := client.Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return err == nil && want.Match(body), fmt.Sprintf("%s: %s (%v)", resp.Status, body, err)
	})
}

func fetchPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: fetch-port REGEXP HOST PORT PATH")
	}
	fetch(ts, false, []string{args[0], "http://" + strings.TrimSpace(ts.ReadFile(args[1])) + ":" + strings.TrimSpace(ts.ReadFile(args[2])) + args[3]})
}
