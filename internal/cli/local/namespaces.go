package local

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"clipper/internal/thread"
)

// A node's namespaces. Its processes keep the machine's pid namespace, so that
// the machine's tools see them, and its user namespace.
var nodeNamespaces = []struct {
	file string
	flag int
}{
	{"mnt", unix.CLONE_NEWNS},
	{"net", unix.CLONE_NEWNET},
	{"uts", unix.CLONE_NEWUTS},
	{"ipc", unix.CLONE_NEWIPC},
}

// spawn starts cmd as a process of the node, born in the node's namespaces and
// cgroup. When a process of the node still runs (pid join is not 0), its
// namespaces are entered; else new ones are made, and attach is called, in the
// machine's own namespaces, with the new network namespace, to link it up.
//
// A thread of its own enters them and forks: what it forks inherits them.
func (c *Cluster) spawn(cmd *exec.Cmd, cg *cgroups, node string, join int, attach func(netns *os.File) error) error {
	return thread.Do(func() error {
		if join != 0 {
			if err := enter(join); err != nil {
				return err
			}
		} else if err := c.found(node, attach); err != nil {
			return err
		}
		cgroup := c.nodeCgroup(node) + "/" + serverCgroup
		if cg.unified != "" {
			dir, err := os.Open(cg.unified + "/" + cgroup)
			if err != nil {
				return err
			}
			defer dir.Close()
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
		} else {
			// The thread leaves before it ends, which takes a while: whoever kills
			// what is in the cgroup meanwhile would kill this process too.
			defer func() { _ = cg.enterThread("") }()
			if err := cg.enterThread(cgroup); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
}

// found gives the calling thread a new node's namespaces and network.
func (c *Cluster) found(node string, attach func(netns *os.File) error) error {
	netns, err := unshare(node)
	if err != nil {
		return err
	}
	defer netns.Close()
	attached := make(chan error)
	go func() { attached <- attach(netns) }() // elsewhere, in the machine's namespaces
	if err := <-attached; err != nil {
		return err
	}
	return c.raiseNode(node)
}

// unshare gives the calling thread new namespaces and returns the network's.
func unshare(hostname string) (*os.File, error) {
	flags := unix.CLONE_FS
	for _, ns := range nodeNamespaces {
		flags |= ns.flag
	}
	if err := unix.Unshare(flags); err != nil {
		return nil, fmt.Errorf("making a node's namespaces: %w; run as root on a kernel with namespaces", err)
	}
	// What the node mounts stays in the node.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("making the node's mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return nil, fmt.Errorf("naming the node: %w", err)
	}
	return os.Open("/proc/thread-self/ns/net")
}

// enter moves the calling thread into the namespaces of a process.
func enter(pid int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	// All are opened before the first is entered, which changes what /proc is.
	files := make([]*os.File, len(nodeNamespaces))
	for i, ns := range nodeNamespaces {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.file))
		if err != nil {
			return fmt.Errorf("entering the node's namespaces: %w", err)
		}
		defer f.Close()
		files[i] = f
	}
	for i, ns := range nodeNamespaces {
		if err := unix.Setns(int(files[i].Fd()), ns.flag); err != nil {
			return fmt.Errorf("entering the node's %s namespace: %w", ns.file, err)
		}
	}
	return nil
}
