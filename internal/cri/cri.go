// Package cri is the built-in container runtime of a node, behind CRI's Go
// interfaces: pod sandboxes and containers over images, overlayfs and the
// supervisor, a process of its own that holds what runs.
//
// Invariants. What runs never depends on this process: containers belong to the
// supervisor, namespaces are pinned below RunDir, and everything known of them
// is on file, so a Runtime that starts anew finds its pods as it left them. A
// container whose exit status is lost is reported as exited all the same. What
// a crash leaves behind is removed at the next start. Nothing is polled: exits
// come from the supervisor as they happen, and go to the kubelet as events.
package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	internalapi "k8s.io/cri-api/pkg/apis"
	"k8s.io/utils/clock"

	"clipper/internal/cri/image"
	"clipper/internal/cri/supervisor"
)

// Network gives pods their network.
type Network interface {
	// Setup gives the sandbox's network namespace its interface and addresses,
	// and returns the addresses. It may be repeated for the same sandbox.
	Setup(ctx context.Context, sandbox Sandbox) (ips []netip.Addr, err error)
	// Teardown releases all that Setup took. It may be repeated, also when the
	// namespace is gone.
	Teardown(ctx context.Context, sandboxID string) error
}

// Sandbox is a pod sandbox as a Network sees it.
type Sandbox struct {
	ID, Namespace, Name, UID string
	// NetNS is the path of the sandbox's network namespace.
	NetNS string
	Ports []PortMapping
}

// PortMapping leads a port of the node to one of the pod.
type PortMapping struct {
	Protocol                string // TCP, UDP or SCTP
	ContainerPort, HostPort int32
	HostIP                  string
}

// Config is what a Runtime needs.
type Config struct {
	// StateDir keeps images, writable layers and records; it outlives a reboot.
	StateDir string
	// RunDir keeps sockets, namespaces and mount points; it must be on a tmpfs
	// and in the mount namespace that the node's processes share. Its path must
	// leave room for a socket's name: at most 80 bytes.
	RunDir  string
	Network Network
	// CgroupParent is the cgroup, by its path from the hierarchies' roots, below
	// which the supervisor goes, and pods that name no parent.
	CgroupParent string
	// SupervisorPath names the supervisor's binary; empty is the embedded one.
	SupervisorPath string
	Registries     image.Registries
	// ImagesDir, when set, is a folder of image archives that are loaded at the
	// start, for nodes without a registry.
	ImagesDir string
	// ReadySandboxes is how many sets of namespaces are kept ready ahead of
	// pods; zero means a few, negative none.
	ReadySandboxes int
	Logger         *slog.Logger
	Clock          clock.WithTicker
}

const defaultReadySandboxes = 4

// Runtime implements CRI's RuntimeService and ImageManagerService in-process.
type Runtime struct {
	cfg    Config
	log    *slog.Logger
	clock  clock.WithTicker
	images *image.Store
	client *supervisor.Client
	host   *host
	pool   *namespacePool
	events *events

	ready  chan struct{}            // closed when the supervisor has been reached once
	binary func() (*os.File, error) // the supervisor's, unpacked once

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
	streaming  *streaming
	notes      map[string]bool // what has been said of this machine
}

var (
	_ internalapi.RuntimeService      = (*Runtime)(nil)
	_ internalapi.ImageManagerService = (*Runtime)(nil)
)

// New opens the state in Config's directories. Run must be called for
// containers to be had.
func New(cfg Config) (*Runtime, error) {
	switch {
	case cfg.StateDir == "" || cfg.RunDir == "":
		return nil, errors.New("cri: StateDir and RunDir are needed")
	case len(cfg.RunDir) > 80:
		return nil, fmt.Errorf("cri: RunDir %q is too long for a socket: at most 80 bytes", cfg.RunDir)
	case cfg.Network == nil:
		return nil, errors.New("cri: a Network is needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = "/clipper"
	}
	if cfg.ReadySandboxes == 0 {
		cfg.ReadySandboxes = defaultReadySandboxes
	}
	r := &Runtime{
		cfg:        cfg,
		log:        cfg.Logger,
		clock:      cfg.Clock,
		client:     &supervisor.Client{Socket: filepath.Join(cfg.RunDir, "supervisor.sock")},
		events:     newEvents(),
		ready:      make(chan struct{}),
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*container{},
	}
	for _, dir := range []string{
		r.statePath("sandboxes"), r.statePath("containers"), r.statePath("skeletons"),
		r.runPath("sandboxes"), r.runPath("containers"), r.runPath("ready"),
	} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	var err error
	if r.host, err = lookAtHost(); err != nil {
		return nil, err
	}
	if r.images, err = image.Open(image.Config{
		Dir:        r.statePath("images"),
		Registries: cfg.Registries,
		Logger:     cfg.Logger,
		Clock:      cfg.Clock,
	}); err != nil {
		return nil, err
	}
	if err := r.recall(); err != nil {
		r.images.Close()
		return nil, err
	}
	r.binary = sync.OnceValues(r.supervisorBinary)
	if !fileExists(r.client.Socket) {
		// No supervisor runs yet: its unpacking can be under way already.
		go r.binary()
	}
	r.pool = newNamespacePool(r.runPath("ready"), cfg.ReadySandboxes, cfg.Logger)
	r.streaming = newStreaming(r)
	return r, nil
}

func (r *Runtime) statePath(elem ...string) string {
	return filepath.Join(append([]string{r.cfg.StateDir}, elem...)...)
}

func (r *Runtime) runPath(elem ...string) string {
	return filepath.Join(append([]string{r.cfg.RunDir}, elem...)...)
}

// LoadImages adds the images of an archive, a docker-archive or an OCI layout,
// plain or compressed, and returns their names.
func (r *Runtime) LoadImages(ctx context.Context, archive io.Reader) ([]string, error) {
	return r.images.Load(ctx, archive)
}

// Ready returns once containers can be made.
func (r *Runtime) Ready(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newID makes a name for a sandbox or container, in the form that tools expect.
func newID() string {
	var id [32]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// notFound is the error by which callers of CRI know that something is gone.
func notFound(kind, id string) error {
	return status.Errorf(codes.NotFound, "an error occurred when try to find %s %q: not found", kind, id)
}
