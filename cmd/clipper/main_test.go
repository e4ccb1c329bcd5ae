package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"clipper/internal/cli"
	"clipper/internal/cli/local"
)

func tree(t *testing.T) (*cobra.Command, *bytes.Buffer) {
	var out bytes.Buffer
	dir := t.TempDir()
	return cli.New(&cli.App{
		Out: &out, Err: &out, Version: "v", Program: "clipper", Now: time.Now,
		Dirs: local.Dirs{State: dir + "/state", Run: dir + "/run"},
	}, runNode(), server(), agent()), &out
}

// TestHelp: every command says what it does and shows how it is used.
func TestHelp(t *testing.T) {
	root, _ := tree(t)
	root.InitDefaultCompletionCmd()
	seen := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			walk(child)
		}
		if c.Hidden || c.Name() == "help" {
			return
		}
		seen++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: says %q of itself", c.CommandPath(), c.Short)
		}
		if strings.HasPrefix(c.CommandPath(), "clipper completion") {
			return // cobra's own; its help shows how to use it
		}
		if !strings.Contains(c.Example, "clipper") {
			t.Errorf("%s: has no example", c.CommandPath())
		}
		// An example that its own program refuses helps nobody.
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(line, "#")
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != "clipper" || strings.Contains(line, "$(") {
				continue
			}
			for i, w := range words { // up to a pipe or the like
				if strings.ContainsAny(w, "|&><") {
					words = words[:i]
					break
				}
			}
			found, rest, err := root.Find(words[1:])
			if err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil && !found.DisableFlagParsing {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
		}
		var help bytes.Buffer
		c.SetOut(&help)
		if err := c.Help(); err != nil || !strings.Contains(help.String(), "Examples:") {
			t.Errorf("%s --help: %v\n%s", c.CommandPath(), err, &help)
		}
	}
	walk(root)
	if seen < 18 {
		t.Errorf("only %d commands", seen)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"server --node-ip nonsense", "nonsense"},
		{"server --node-ip 192.0.2.1 --cluster-cidr nonsense", "nonsense"},
		{"server --node-ip 192.0.2.1 --service-cidr 10.43.0.0", "10.43.0.0"},
		{"server --node-ip 192.0.2.1 --node-cidr-mask-size 15", "--node-cidr-mask-size 15: no share of --cluster-cidr 10.42.0.0/16"},
		{"server --node-ip 192.0.2.1 --service-cidr 10.42.128.0/20", "--service-cidr 10.42.128.0/20 and --cluster-cidr 10.42.0.0/16 overlap"},
		{"server --node-ip 10.42.7.1", "--node-ip 10.42.7.1 is one of the cluster's own addresses"},
		{"server --node-ip 192.0.2.1 --cluster-cidr fd00::/48", "only IPv4"},
		{"server --node-ip fd00::1", "only IPv4"},
		{"server extra", "unknown command"},
		{"agent --node-ip 192.0.2.1", `required flag(s) "server" not set`},
		{"agent --server http://192.0.2.1", "is not of the form https://HOST:PORT"},
		{"agent --server https://192.0.2.1 --token-file /nowhere/token", "/nowhere/token: no such file"},
		{"run-node --config /nowhere/config.json", "/nowhere/config.json: no such file"},
	} {
		root, out := tree(t)
		root.SetArgs(strings.Fields(c.args))
		if status := cli.Execute(t.Context(), root); status != 1 || !strings.Contains(out.String(), c.want) {
			t.Errorf("clipper %s: %d, %q", c.args, status, out)
		}
	}
}
