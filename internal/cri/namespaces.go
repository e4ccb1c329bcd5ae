package cri

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/thread"
)

// kinds are the namespaces a pod's containers share, by the name of their pins.
var kinds = []struct {
	name string
	flag int
}{
	{"net", unix.CLONE_NEWNET},
	{"ipc", unix.CLONE_NEWIPC},
	{"uts", unix.CLONE_NEWUTS},
}

// makeNamespaces makes the namespaces of flags and pins them in dir, which it
// makes. They live as long as their pins: no process is needed.
func makeNamespaces(dir string, flags int) error {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	err := thread.Do(func() error {
		if err := unix.Unshare(flags); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if flags&unix.CLONE_NEWNET != 0 {
			if err := prepareNetwork(); err != nil {
				return err
			}
		}
		for _, k := range kinds {
			if flags&k.flag != 0 {
				if err := pin("/proc/thread-self/ns/"+k.name, filepath.Join(dir, k.name)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, removeMounted(dir))
	}
	return nil
}

// pin binds a namespace to a path.
func pin(ns, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	return os.NewSyscallError("mount", unix.Mount(ns, path, "", unix.MS_BIND, ""))
}

// prepareNetwork brings up the loopback of the thread's new network namespace,
// and lets pods use low ports and ping without being privileged, as other
// runtimes for Kubernetes do.
func prepareNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bringing up the loopback: %w", err)
	}
	for name, value := range map[string]string{
		"ip_unprivileged_port_start": "0",
		"ping_group_range":           "0 2147483647",
	} {
		// Kernels without them, or a read-only /proc/sys, do no harm.
		os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0)
	}
	return nil
}

// inNamespaces runs f on a thread that is in the namespaces pinned in dir.
func inNamespaces(dir string, f func() error) error {
	return thread.Do(func() error {
		for _, k := range kinds {
			fd, err := unix.Open(filepath.Join(dir, k.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == unix.ENOENT {
				continue
			}
			if err != nil {
				return err
			}
			err = unix.Setns(fd, k.flag)
			unix.Close(fd)
			if err != nil {
				return os.NewSyscallError("setns", err)
			}
		}
		return f()
	})
}

// setSysctls writes a pod's kernel settings in its namespaces.
func setSysctls(dir string, sysctls map[string]string) error {
	if len(sysctls) == 0 {
		return nil
	}
	return inNamespaces(dir, func() error {
		for name, value := range sysctls {
			// A dot separates, as sysctl(8) has it; a slash is a dot of a name.
			path := strings.NewReplacer(".", "/", "/", ".").Replace(name)
			if strings.Contains(path, "..") {
				return fmt.Errorf("sysctl %q: invalid name", name)
			}
			if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
				return fmt.Errorf("sysctl %q: %w", name, err)
			}
		}
		return nil
	})
}

// pinned reports whether all the pins of a sandbox are still namespaces.
func (r *Runtime) pinned(s *sandbox) bool {
	flags := namespaceFlags(namespaceOptions(s.config))
	for _, k := range kinds {
		if flags&k.flag != 0 && !isNamespace(r.runPath("sandboxes", s.id, k.name)) {
			return false
		}
	}
	_, err := os.Stat(r.runPath("sandboxes", s.id))
	return err == nil
}

func isNamespace(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

func namespaceOptions(config *runtimeapi.PodSandboxConfig) *runtimeapi.NamespaceOption {
	if o := config.GetLinux().GetSecurityContext().GetNamespaceOptions(); o != nil {
		return o
	}
	return &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}
}

// namespaceFlags are those a sandbox makes. A pod on the node's network also
// has the node's name.
func namespaceFlags(o *runtimeapi.NamespaceOption) (flags int) {
	if o.Network != runtimeapi.NamespaceMode_NODE {
		flags |= unix.CLONE_NEWNET | unix.CLONE_NEWUTS
	}
	if o.Ipc != runtimeapi.NamespaceMode_NODE {
		flags |= unix.CLONE_NEWIPC
	}
	return flags
}

// allNamespaces is what the pool keeps ready: an ordinary pod's.
const allNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// namespacePool keeps namespaces ready, because making them takes milliseconds
// that a pod would wait for. It works only after it was used.
type namespacePool struct {
	dir  string
	want int
	log  *slog.Logger

	mu      sync.Mutex
	free    []string
	next    int
	filling bool
	closed  bool
	done    sync.WaitGroup
}

func newNamespacePool(dir string, want int, log *slog.Logger) *namespacePool {
	return &namespacePool{dir: dir, want: max(want, 0), log: log}
}

// take moves a ready set of namespaces to dir, or makes one there.
func (p *namespacePool) take(dir string, flags int) error {
	if flags != allNamespaces {
		return makeNamespaces(dir, flags)
	}
	p.mu.Lock()
	var from string
	if n := len(p.free); n > 0 {
		from, p.free = p.free[n-1], p.free[:n-1]
	}
	p.fill()
	p.mu.Unlock()
	if from == "" {
		return makeNamespaces(dir, flags)
	}
	// The directory that holds the pins is renamed; the mounts move with it.
	if err := os.Rename(from, dir); err != nil {
		return errors.Join(err, removeMounted(from))
	}
	return nil
}

// fill makes what is missing, in the background; the caller holds p.mu.
func (p *namespacePool) fill() {
	if p.filling || p.closed || len(p.free) >= p.want {
		return
	}
	p.filling = true
	p.done.Go(func() {
		for {
			p.mu.Lock()
			if p.closed || len(p.free) >= p.want {
				p.filling = false
				p.mu.Unlock()
				return
			}
			p.next++
			dir := filepath.Join(p.dir, strconv.Itoa(p.next))
			p.mu.Unlock()
			err := makeNamespaces(dir, allNamespaces)
			p.mu.Lock()
			if err != nil {
				p.filling = false
				p.mu.Unlock()
				p.log.Warn("no namespaces can be kept ready", "error", err)
				return
			}
			p.free = append(p.free, dir)
			p.mu.Unlock()
		}
	})
}

// start fills the pool.
func (p *namespacePool) start() {
	p.mu.Lock()
	p.closed = false
	p.fill()
	p.mu.Unlock()
}

// stop lets go of what is kept ready.
func (p *namespacePool) stop() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.done.Wait()
	p.mu.Lock()
	free := p.free
	p.free = nil
	p.mu.Unlock()
	for _, dir := range free {
		if err := removeMounted(dir); err != nil {
			p.log.Warn("leftover stays", "path", dir, "error", err)
		}
	}
}
