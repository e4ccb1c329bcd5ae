// Package script gives testscript's scripts a cluster, and commands that wait for
// what it does:
//
//	until REGEXP COMMAND...   runs a command until its output matches
//	fetch REGEXP URL          asks for a page until it matches
//	fetch-port REGEXP HOST PORT PATH
//	                          the same, of the address in the file HOST and the
//	                          port in the file PORT
//
// All give up after a minute.
package script

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

// Commands are the script's commands besides testscript's own.
var Commands = map[string]func(*testscript.TestScript, bool, []string){
	"until": until, "fetch": fetch, "fetch-port": fetchPort,
}

// Setup puts clipper, and a program as kubectl, into a script's PATH, and tells
// it of its cluster: CLUSTER, NODE and KUBECONFIG.
func Setup(env *testscript.Env, c *cluster.Cluster, kubectl string) {
	t := env.T().(testing.TB)
	t.Helper()
	bin := t.TempDir()
	for name, program := range map[string]string{"clipper": cluster.Program(t), "kubectl": kubectl} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
	env.Setenv("KUBECONFIG", c.Kubeconfig)
	env.Setenv("KUBECACHEDIR", c.Cache())
	env.Setenv("HOME", os.Getenv("HOME"))
	env.Setenv("CLUSTER", c.Name)
	env.Setenv("NODE", c.Node())
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
		cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "KUBECONFIG=" + ts.Getenv("KUBECONFIG"), "KUBECACHEDIR=" + ts.Getenv("KUBECACHEDIR"), "HOME=" + ts.Getenv("HOME")}
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
