package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Stop ends all processes of a cluster; its state and images stay. Stopping
// what does not run is no error.
func Stop(ctx context.Context, d Dirs, name string) error {
	c, err := Load(d, name)
	if err != nil {
		return err
	}
	cg, unlock, err := d.hold(name)
	if err != nil {
		return err
	}
	defer unlock()
	c.ask(ctx, cg)
	return c.halt(cg)
}

// ask lets the nodes' own processes end in order, which syncs their state: the
// agents side by side, and then the server.
func (c *Cluster) ask(ctx context.Context, cg *cgroups) {
	var agents sync.WaitGroup
	for _, n := range c.Nodes[1:] {
		agents.Go(func() { c.askNode(ctx, cg, n) })
	}
	agents.Wait()
	c.askNode(ctx, cg, c.Nodes[0])
}

func (c *Cluster) askNode(ctx context.Context, cg *cgroups, node string) {
	for _, pid := range cg.members(c.nodeCgroup(node) + "/" + serverCgroup) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		_ = unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0)
		const limit, step = 10_000, 100 // ms
		for waited := 0; waited < limit && ctx.Err() == nil; waited += step {
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, step); n > 0 {
				break
			}
		}
		unix.Close(fd)
	}
}

// halt kills what is left of a cluster's processes, and with them their
// namespaces, and removes what the machine held for them.
func (c *Cluster) halt(cg *cgroups) error {
	if err := cg.kill(c.cgroup()); err != nil {
		return err
	}
	err := errors.Join(cg.remove(c.cgroup()), c.dropBridge(), c.dropFirewall(), os.RemoveAll(c.RunDir()))
	cg.trim()
	return err
}

// Delete removes a cluster and all that it left anywhere, in whatever state it
// is. Deleting what does not exist is no error.
func Delete(d Dirs, name string) error {
	if os.Geteuid() != 0 {
		return errors.New("deleting a cluster needs root; run the command with sudo")
	}
	if err := checkName(name); err != nil {
		return err
	}
	cg, unlock, err := d.hold(name)
	if err != nil {
		return err
	}
	defer unlock()
	// All that is needed follows from the name, also when the file is damaged.
	c := &Cluster{Name: name, dirs: d}
	if err := c.halt(cg); err != nil {
		return err
	}
	if err := os.RemoveAll(c.StateDir()); err != nil {
		return fmt.Errorf("removing the cluster's state: %w", err)
	}
	for _, dir := range []string{d.State, d.Run} {
		_ = os.Remove(dir) // stays while it holds another cluster
	}
	return nil
}
