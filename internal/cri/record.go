package cri

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
	"clipper/internal/cri/supervisor"
)

// sandbox is a pod's environment. Fields below are guarded by Runtime.mu unless
// they are said to be fixed.
type sandbox struct {
	op sync.Mutex // one change of life at a time

	id      string                       // fixed
	config  *runtimeapi.PodSandboxConfig // fixed
	handler string                       // fixed
	created time.Time                    // fixed
	boot    string                       // fixed: the boot during which it was made

	ready      bool
	gone       bool
	ips        []netip.Addr
	pausing    bool // a first process holds the pod's PID namespace
	containers map[string]*container

	statsMu sync.Mutex
	stats   sample
}

// sandboxRecord is a sandbox on file, as it was made.
type sandboxRecord struct {
	Config  []byte       `json:"config"`
	Handler string       `json:"handler,omitempty"`
	Created time.Time    `json:"created"`
	Boot    string       `json:"boot"`
	IPs     []netip.Addr `json:"ips,omitempty"`
	sandboxChange
}

// sandboxChange is what changes of it.
type sandboxChange struct {
	Ready   bool `json:"ready"`
	Pausing bool `json:"pausing"`
}

// container is one container of a sandbox.
type container struct {
	op sync.Mutex // one change of life at a time

	id      string                      // fixed
	sandbox *sandbox                    // fixed
	config  *runtimeapi.ContainerConfig // fixed
	created time.Time                   // fixed
	image   string                      // fixed: the image's ID
	ref     string                      // fixed: the image's digest by name, or its ID
	layers  []string                    // fixed: chain IDs, also of images it mounts
	user    *runtimeapi.ContainerUser   // fixed
	signal  string                      // fixed: how it wants to be stopped
	release func()                      // gives the layers free

	resources *runtimeapi.LinuxContainerResources // replaced as a whole

	state    runtimeapi.ContainerState
	started  time.Time
	finished time.Time
	exit     int32
	reason   string
	message  string
	exited   chan struct{}     // closed at the exit
	making   bool              // the supervisor has not answered yet
	refused  *supervisor.Error // why it cannot be started; fixed once made
	removing bool

	settings *image.Settings // fixed: what it took from the image
	pid      int             // of its first process

	statsMu sync.Mutex
	stats   sample
}

// containerRecord is a container on file, as it was made.
type containerRecord struct {
	Sandbox  string          `json:"sandbox"`
	Created  time.Time       `json:"created"`
	Image    string          `json:"image"`
	Ref      string          `json:"ref"`
	Layers   []string        `json:"layers"`
	UID      int64           `json:"uid"`
	GID      int64           `json:"gid"`
	Groups   []int64         `json:"groups,omitempty"`
	Signal   string          `json:"signal,omitempty"`
	Settings *image.Settings `json:"settings"`
	containerChange
}

// containerChange is what changes of it.
type containerChange struct {
	// Config is told when the container is made, and when its resources change.
	Config   []byte                    `json:"config,omitempty"`
	State    runtimeapi.ContainerState `json:"state"`
	Started  time.Time                 `json:"started"`
	Finished time.Time                 `json:"finished"`
	Exit     int32                     `json:"exit"`
	Reason   string                    `json:"reason"`
	Message  string                    `json:"message"`
}

// A record is a file of lines: the first tells the whole, each later one what
// has changed. Adding a line costs little and cannot harm those before it; one
// that a crash cut short is passed over. Nothing is synced: what a loss of power
// takes is of pods that it ended.

// begin writes a record's first line.
func begin(path string, record any) error {
	return addLine(path, os.O_CREATE|os.O_EXCL, record)
}

// amend adds a change to a record.
func amend(path string, change any) error { return addLine(path, 0, change) }

func addLine(path string, flags int, line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return errors.Join(err, f.Close())
}

// read puts a record together again.
func read(path string, record any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(raw, '\n') + 1
	if whole == 0 {
		return errors.New("the record is empty")
	}
	if whole < len(raw) {
		// Else the next change would go on where this one was cut.
		if err := os.Truncate(path, int64(whole)); err != nil {
			return err
		}
	}
	for line := range bytes.Lines(raw[:whole]) {
		if err := json.Unmarshal(line, record); err != nil {
			return fmt.Errorf("the record is damaged: %w", err)
		}
	}
	return nil
}

func (r *Runtime) sandboxFile(id string) string { return r.statePath("sandboxes", id) }

func (r *Runtime) containerFile(id string) string {
	return r.statePath("containers", id, "container.json")
}

// beginSandbox writes a sandbox's record; the caller holds r.mu.
func (r *Runtime) beginSandbox(s *sandbox) error {
	config, err := proto.Marshal(s.config)
	if err != nil {
		return err
	}
	return begin(r.sandboxFile(s.id), sandboxRecord{
		Config: config, Handler: s.handler, Created: s.created, Boot: s.boot, IPs: s.ips, sandboxChange: s.change(),
	})
}

func (s *sandbox) change() sandboxChange { return sandboxChange{Ready: s.ready, Pausing: s.pausing} }

// beginContainer writes a container's record; the caller holds r.mu.
func (r *Runtime) beginContainer(c *container) error {
	change, err := c.changeWithConfig()
	if err != nil {
		return err
	}
	return begin(r.containerFile(c.id), containerRecord{
		Sandbox: c.sandbox.id, Created: c.created, Image: c.image, Ref: c.ref, Layers: c.layers,
		UID: c.user.Linux.Uid, GID: c.user.Linux.Gid, Groups: c.user.Linux.SupplementalGroups,
		Signal: c.signal, Settings: c.settings, containerChange: change,
	})
}

func (c *container) change() containerChange {
	return containerChange{
		State: c.state, Started: c.started, Finished: c.finished, Exit: c.exit, Reason: c.reason, Message: c.message,
	}
}

func (c *container) changeWithConfig() (containerChange, error) {
	change := c.change()
	config := c.config
	if c.resources != config.GetLinux().GetResources() {
		config = proto.CloneOf(config)
		if config.Linux == nil {
			config.Linux = &runtimeapi.LinuxContainerConfig{}
		}
		config.Linux.Resources = c.resources
	}
	var err error
	change.Config, err = proto.Marshal(config)
	return change, err
}

// changedSandbox and changedContainer put a change that has happened on file;
// the caller holds r.mu. One that cannot be written is made up for at the next
// start, so nothing is undone for it.
func (r *Runtime) changedSandbox(s *sandbox) {
	if s.gone {
		return
	}
	if err := amend(r.sandboxFile(s.id), s.change()); err != nil {
		r.log.Warn("sandbox's change is not on file", "sandbox", s.id, "error", err)
	}
}

func (r *Runtime) changedContainer(c *container) {
	if c.removing {
		return
	}
	if err := amend(r.containerFile(c.id), c.change()); err != nil {
		r.log.Warn("container's change is not on file", "container", c.id, "error", err)
	}
}

// recall reads all records. What is damaged, or belongs to nothing, is removed.
func (r *Runtime) recall() error {
	boot := r.host.boot
	if err := eachRecord(r.statePath("sandboxes"), func(id string) error {
		var rec sandboxRecord
		if err := read(r.sandboxFile(id), &rec); err != nil {
			return err
		}
		config := &runtimeapi.PodSandboxConfig{}
		if err := proto.Unmarshal(rec.Config, config); err != nil {
			return err
		}
		s := &sandbox{
			id: id, config: config, handler: rec.Handler, created: rec.Created, boot: rec.Boot,
			ready: rec.Ready, ips: rec.IPs, pausing: rec.Pausing,
			containers: map[string]*container{},
		}
		s.ready = s.ready && s.boot == boot && r.pinned(s)
		r.sandboxes[id] = s
		return nil
	}, r.dropSandboxFiles); err != nil {
		return err
	}
	if err := eachRecord(r.statePath("containers"), func(id string) error {
		var rec containerRecord
		if err := read(r.containerFile(id), &rec); err != nil {
			return err
		}
		config := &runtimeapi.ContainerConfig{}
		if err := proto.Unmarshal(rec.Config, config); err != nil {
			return err
		}
		if rec.Settings == nil {
			return errors.New("the record is damaged")
		}
		s := r.sandboxes[rec.Sandbox]
		if s == nil {
			return fmt.Errorf("its sandbox %q is gone", rec.Sandbox)
		}
		c := &container{
			id: id, sandbox: s, config: config, created: rec.Created,
			image: rec.Image, ref: rec.Ref, layers: rec.Layers, signal: rec.Signal, settings: rec.Settings,
			user:  &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{Uid: rec.UID, Gid: rec.GID, SupplementalGroups: rec.Groups}},
			state: rec.State, started: rec.Started, finished: rec.Finished,
			exit: rec.Exit, reason: rec.Reason, message: rec.Message,
			exited: make(chan struct{}),

			resources: config.GetLinux().GetResources(),
		}
		if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
			close(c.exited)
		}
		var err error
		if _, c.release, err = r.images.Hold(c.layers); err != nil {
			c.release = func() {}
		}
		r.containers[id] = c
		s.containers[id] = c
		return nil
	}, r.dropContainerFiles); err != nil {
		return err
	}
	if len(r.containers) == 0 {
		// Nothing is mounted over them: the sets of former containers go.
		if err := errors.Join(os.RemoveAll(r.statePath("skeletons")), os.Mkdir(r.statePath("skeletons"), 0o711)); err != nil {
			return err
		}
	}
	// What stands below RunDir without a record was being made, or removed.
	for kind, known := range map[string]func(string) bool{
		"sandboxes":  func(id string) bool { return r.sandboxes[id] != nil },
		"containers": func(id string) bool { return r.containers[id] != nil },
		"ready":      func(string) bool { return false },
	} {
		entries, err := os.ReadDir(r.runPath(kind))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !known(e.Name()) {
				if err := removeMounted(r.runPath(kind, e.Name())); err != nil {
					r.log.Warn("leftover stays", "path", r.runPath(kind, e.Name()), "error", err)
				}
			}
		}
	}
	return r.images.Collect()
}

// eachRecord calls use for each entry of a folder, and drop where that fails.
func eachRecord(dir string, use func(id string) error, drop func(id string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if use(e.Name()) == nil {
			continue
		}
		if err := drop(e.Name()); err != nil {
			return fmt.Errorf("removing the leftover %s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	return nil
}

func (r *Runtime) dropSandboxFiles(id string) error {
	err := os.Remove(r.sandboxFile(id))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(removeMounted(r.runPath("sandboxes", id)), err)
}

func (r *Runtime) dropContainerFiles(id string) error {
	return errors.Join(removeMounted(r.runPath("containers", id)), os.RemoveAll(r.statePath("containers", id)))
}

// removeMounted removes a directory of this package's: pins, mount points and
// files, one level deep. Mounts are taken off first, so nothing beyond them is
// ever removed.
func removeMounted(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		for {
			if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				break // EINVAL: not, or no longer, a mount point
			}
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Remove(dir)
}
