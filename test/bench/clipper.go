package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clipper is the target that this project builds.
type clipper struct{ program, images, cluster string }

func (t *clipper) name() string { return "clipper" }

func (t *clipper) start(ctx context.Context) (*cluster, error) {
	work, err := os.MkdirTemp("", "clipper-bench-")
	if err != nil {
		return nil, err
	}
	c := &cluster{kubeconfig: filepath.Join(work, "kubeconfig"), work: work, pids: t.processes, load: t.load}
	return c, command(ctx, []string{"KUBECONFIG=" + c.kubeconfig}, t.program, "start", "--name", t.cluster, "--no-uplink")
}

func (t *clipper) load(ctx context.Context, c *cluster) error {
	return command(ctx, []string{"KUBECONFIG=" + c.kubeconfig}, t.program, "image", "load", "--name", t.cluster, t.images)
}

func (t *clipper) stop(c *cluster) error {
	defer os.RemoveAll(c.work)
	return command(context.Background(), []string{"KUBECONFIG=" + c.kubeconfig}, t.program, "delete", "--name", t.cluster)
}

// processes are those in the node's own cgroups, beside its pods'.
func (t *clipper) processes() []int {
	seen := map[int]bool{}
	for _, part := range []string{"server", "supervisor"} {
		for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
			data, _ := os.ReadFile(fmt.Sprintf("%s/clipper/%s/%s-1/%s/cgroup.procs", root, t.cluster, t.cluster, part))
			for _, f := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(f); err == nil {
					seen[pid] = true
				}
			}
		}
	}
	var all []int
	for pid := range seen {
		all = append(all, pid)
	}
	return all
}
