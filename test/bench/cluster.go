package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is one that runs.
type cluster struct {
	kubeconfig string
	// pids returns the cluster's own processes, without those of its pods.
	pids func() []int
	// dial, if set, reaches the API from where the cluster is.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	work string
	// load gives the node the images that pods run; loaded tells that it has.
	load   func(ctx context.Context, c *cluster) error
	loaded bool
}

// rest returns how a client of its own connection reaches the API.
func (c *cluster) rest(contentType string) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	cfg.ContentType = contentType
	cfg.AcceptContentTypes = contentType
	// Its own dialer keeps client-go from sharing one connection among clients.
	dial := c.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, network, address)
	}
	return cfg, nil
}

func (c *cluster) client() (kubernetes.Interface, error) {
	cfg, err := c.rest(runtime.ContentTypeProtobuf)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

func (c *cluster) clients(n int) ([]kubernetes.Interface, error) {
	all := make([]kubernetes.Interface, n)
	for i := range all {
		var err error
		if all[i], err = c.client(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pss returns what the processes take of memory, in bytes, shared pages shared out.
func pss(pids []int) (total float64) {
	for _, pid := range pids {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kb, _ := strconv.ParseFloat(f[1], 64)
				total += kb * 1024
			}
		}
	}
	return total
}

// cpu returns the processor time that the processes have used, in seconds, and
// how often they were switched in.
func cpu(pids []int) (seconds, switches float64) {
	for _, pid := range pids {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, after, ok := strings.Cut(string(data), ") "); ok {
			if f := strings.Fields(after); len(f) > 13 {
				user, _ := strconv.ParseFloat(f[11], 64)
				system, _ := strconv.ParseFloat(f[12], 64)
				const hz = 100
				seconds += (user + system) / hz
			}
		}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, task := range tasks {
			data, _ := os.ReadFile(task)
			for line := range strings.Lines(string(data)) {
				if f := strings.Fields(line); len(f) == 2 && strings.HasSuffix(f[0], "voluntary_ctxt_switches:") {
					n, _ := strconv.ParseFloat(f[1], 64)
					switches += n
				}
			}
		}
	}
	return seconds, switches
}

func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
