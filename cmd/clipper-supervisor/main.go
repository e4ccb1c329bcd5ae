//go:build linux && cgo

// Command clipper-supervisor holds the containers of one node: their standard
// streams and terminals, their logs, their exit statuses. The node agent may
// come and go; this process stays, and with it the containers.
//
// It is a program of its own so that it stays small, and because making a
// container needs a thread that no Go runtime has touched: libcontainer runs
// this same file again as the container's first process. The agent starts it
// from a sealed memory file, which spares a copy of the file for every
// container (CVE-2019-5736) and a file on the disk.
//
// Invariants: a container's exit status is on file before it is told; no
// container waits for whoever reads its output; nothing wakes up while the
// containers are quiet.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters namespaces before the Go runtime starts
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	_ "github.com/opencontainers/cgroups/devices" // lets cgroups restrict devices
)

// listenerFD is where the agent leaves the listening socket.
const listenerFD = 3

func main() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init()
	}
	root := flag.String("root", "", "directory for the state of running containers, on a tmpfs")
	cgroups := flag.String("cgroups", "", "comma separated cgroup directories this process moves into")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(*root, *cgroups, log); err != nil {
		log.Error("supervisor ends", "error", err)
		os.Exit(1)
	}
}

func run(root, cgroups string, log *slog.Logger) error {
	if root == "" {
		return fmt.Errorf("-root is needed: the directory for the state of running containers")
	}
	logrus.SetLevel(logrus.WarnLevel)
	// It was started by a descriptor's number, which ps would show.
	if err := os.WriteFile("/proc/self/comm", []byte("clipper-supervisor"), 0); err != nil {
		log.Warn("supervisor has no name", "error", err)
	}
	unix.Umask(0o022)
	// Processes that outlive their parent in a shared PID namespace come here.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the reaper of orphans: %w", err)
	}
	unix.CloseOnExec(listenerFD)
	file := os.NewFile(listenerFD, "listener")
	listener, err := net.FileListener(file)
	file.Close()
	if err != nil {
		return fmt.Errorf("descriptor %d is no listening socket: %w", listenerFD, err)
	}
	s, err := newServer(root, log)
	if err != nil {
		return err
	}
	// Where a cgroup is emptied to end the agent, this process stays.
	if cgroups != "" {
		dirs := strings.Split(cgroups, ",")
		go leaveCgroups(dirs, log)
		s.warm = func() { joinCgroup(dirs[0]) }
	}
	return s.serve(listener.(*net.UnixListener))
}

func leaveCgroups(dirs []string, log *slog.Logger) {
	for _, dir := range dirs {
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = joinCgroup(dir)
		}
		if err != nil {
			log.Warn("supervisor stays in the agent's cgroup", "dir", dir, "error", err)
		}
	}
}

func joinCgroup(dir string) error {
	return os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0)
}
