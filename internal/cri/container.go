package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
	"clipper/internal/cri/supervisor"
)

// Why a container ended, as kubelets and people know it.
const (
	reasonCompleted  = "Completed"
	reasonError      = "Error"
	reasonOOMKilled  = "OOMKilled"
	reasonUnknown    = "Unknown"
	reasonStartError = "StartError"
)

// codeUnknown stands for an exit code that nobody saw, codeStart for a start
// that failed.
const (
	codeUnknown = 255
	codeStart   = 128
)

// CreateContainer makes a container, ready to start, and returns its ID.
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, config *runtimeapi.ContainerConfig, _ *runtimeapi.PodSandboxConfig) (_ string, err error) {
	if config.GetMetadata().GetName() == "" {
		return "", status.Error(codes.InvalidArgument, "container config must include metadata")
	}
	s, err := r.findSandbox(sandboxID)
	if err != nil {
		return "", err
	}
	if err := r.Ready(ctx); err != nil {
		return "", err
	}
	img, err := r.images.Get(config.GetImage().GetImage())
	if errors.Is(err, image.ErrNotFound) {
		return "", status.Errorf(codes.NotFound, "failed to resolve image %q: %v", config.GetImage().GetImage(), err)
	}
	if err != nil {
		return "", err
	}
	c := &container{
		id:       newID(),
		sandbox:  s,
		config:   proto.CloneOf(config),
		created:  r.clock.Now(),
		image:    img.ID,
		ref:      imageRef(img),
		layers:   img.Layers,
		signal:   stopSignal(config, img),
		settings: &img.Spec,
		state:    runtimeapi.ContainerState_CONTAINER_CREATED,
		exited:   make(chan struct{}),

		resources: proto.CloneOf(config.GetLinux().GetResources()),
	}
	c.op.Lock()
	defer c.op.Unlock()
	dirs, release, err := r.images.Hold(img.Layers)
	if err != nil {
		return "", fmt.Errorf("failed to create container: %w", err)
	}
	c.release = release
	defer func() {
		if err != nil {
			// The mounts come off before their layers are given free.
			err = errors.Join(err, r.dropContainerFiles(c.id))
			c.release()
		}
	}()
	state := r.statePath("containers", c.id)
	rootfs := r.runPath("containers", c.id, "rootfs")
	for _, dir := range []string{state, state + "/upper", state + "/work", filepath.Dir(rootfs), rootfs} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	if skeleton := r.skeleton(config, img); skeleton != "" && len(dirs) > 0 {
		dirs = append(dirs, skeleton)
	}
	if err := mountOverlay(rootfs, dirs, state); err != nil {
		return "", fmt.Errorf("failed to create container: %w", err)
	}
	user, err := resolveUser(rootfs, img.Spec.User, config.GetLinux().GetSecurityContext())
	if err != nil {
		return "", fmt.Errorf("failed to create container: %w", err)
	}
	c.user = &runtimeapi.ContainerUser{Linux: user}
	spec, err := r.spec(c, img, rootfs)
	if err != nil {
		return "", fmt.Errorf("failed to generate container spec: %w", err)
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	// Known before it is made: should this process end in between, the next one
	// finds it on file and removes it.
	r.mu.Lock()
	switch {
	case !s.ready:
		err = fmt.Errorf("sandbox %q is not ready", s.id)
	default:
		err = r.beginContainer(c)
	}
	if err == nil {
		r.containers[c.id] = c
		c.making = true
	}
	r.mu.Unlock()
	if err != nil {
		return "", err
	}
	// It is not called off half-way: what was made by then would stand in the way
	// of the pod's end, which may be the reason for calling it off.
	reply, err := r.client.Create(context.WithoutCancel(ctx), supervisor.CreateRequest{
		ID:        c.id,
		Spec:      raw,
		LogPath:   logPath(s.config, config),
		Stdin:     config.Stdin,
		StdinOnce: config.StdinOnce,
	})
	for _, note := range reply.Notes {
		r.once(note)
	}
	if err == nil {
		err = ctx.Err()
	}
	var refused *supervisor.Error
	if err != nil && !errors.As(err, &refused) {
		r.forget(context.WithoutCancel(ctx), c.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.making = false
	switch {
	case err == nil:
	case refused != nil:
		// What is wrong with the container is told at its start, where kubelets
		// expect it: it has been created, and cannot run.
		c.refused, err = refused, nil
	default:
		delete(r.containers, c.id)
		return "", fmt.Errorf("failed to create container: %w", err)
	}
	s.containers[c.id] = c
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, s)
	return c.id, nil
}

// forget removes a container of whose making nobody heard the end. The
// supervisor, too, removes what it cannot tell of; between the two none is left.
func (r *Runtime) forget(ctx context.Context, id string) {
	if err := r.client.Delete(ctx, id); err != nil {
		r.log.Warn("container may be left", "container", id, "error", err)
	}
}

func logPath(sandbox *runtimeapi.PodSandboxConfig, config *runtimeapi.ContainerConfig) string {
	if sandbox.LogDirectory == "" || config.LogPath == "" {
		return ""
	}
	return filepath.Join(sandbox.LogDirectory, config.LogPath)
}

func imageRef(img *image.Image) string {
	if len(img.Digests) > 0 {
		return img.Digests[0]
	}
	return img.ID
}

// stopSignal is the signal's name without SIG, or its number.
func stopSignal(config *runtimeapi.ContainerConfig, img *image.Image) string {
	if config.StopSignal != runtimeapi.Signal_RUNTIME_DEFAULT {
		return config.StopSignal.String()
	}
	return img.Spec.StopSignal
}

// signalAliases are second names of signals.
var signalAliases = map[string]string{"SIGPOLL": "SIGIO", "SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT"}

func signalNumber(name string) unix.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return unix.Signal(n)
	}
	name = "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	// SIGRTMIN, SIGRTMIN+3 and SIGRTMIN3, SIGRTMAX-1 and SIGRTMAX1 as they are
	// written in images and in manifests.
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		rest = strings.Replace(strings.TrimPrefix(rest, "+"), "PLUS", "", 1)
		n, _ := strconv.Atoi(rest)
		return unix.Signal(min(34+n, 64))
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		rest = strings.Replace(strings.TrimPrefix(rest, "-"), "MINUS", "", 1)
		n, _ := strconv.Atoi(rest)
		return unix.Signal(max(64-n, 34))
	}
	if real := signalAliases[name]; real != "" {
		name = real
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	return unix.SIGTERM
}

func (r *Runtime) findContainer(id string) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := find(r.containers, id); c != nil && !c.making {
		return c, nil
	}
	return nil, notFound("container", id)
}

// StartContainer runs a created container.
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	c, err := r.findContainer(id)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	r.mu.Lock()
	state := c.state
	r.mu.Unlock()
	if state != runtimeapi.ContainerState_CONTAINER_CREATED {
		return fmt.Errorf("container %q is in %s state", c.id, state)
	}
	var started time.Time
	if c.refused != nil {
		err = fmt.Errorf("failed to create task: OCI runtime create failed: runc create failed: %w", c.refused)
	} else {
		started, err = r.client.Start(ctx, c.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			c.finish(r.clock.Now(), codeStart, reasonStartError, err.Error())
			r.changedContainer(c)
			r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.sandbox)
		}
		return err
	}
	if started.IsZero() { // a supervisor that does not tell
		started = r.clock.Now()
	}
	r.running(c, started)
	return nil
}

// running notes a start, once, whoever tells of it first; the caller holds r.mu.
func (r *Runtime) running(c *container, at time.Time) {
	if !c.started.IsZero() {
		return
	}
	c.started = at
	if c.state == runtimeapi.ContainerState_CONTAINER_CREATED {
		c.state = runtimeapi.ContainerState_CONTAINER_RUNNING
		r.changedContainer(c)
		r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, c.sandbox)
	}
}

// finish notes the container's end; the caller holds Runtime.mu.
func (c *container) finish(at time.Time, code int32, reason, message string) {
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	c.state = runtimeapi.ContainerState_CONTAINER_EXITED
	c.finished, c.exit, c.reason, c.message = at, code, reason, message
	close(c.exited)
}

// StopContainer sends the container its stop signal, and kills it when it has
// not ended within timeout seconds. Stopping one that is gone, or has ended, is
// no error.
func (r *Runtime) StopContainer(ctx context.Context, id string, timeout int64) error {
	c, err := r.findContainer(id)
	if err != nil {
		return nil
	}
	return r.stopContainer(ctx, c, time.Duration(timeout)*time.Second)
}

func (r *Runtime) stopContainer(ctx context.Context, c *container, timeout time.Duration) error {
	r.mu.Lock()
	state := c.state
	r.mu.Unlock()
	if state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return nil
	}
	if state == runtimeapi.ContainerState_CONTAINER_CREATED && c.refused != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		c.finish(r.clock.Now(), codeStart, reasonStartError, c.refused.Message)
		r.changedContainer(c)
		return nil
	}
	if timeout > 0 && state == runtimeapi.ContainerState_CONTAINER_RUNNING {
		if err := r.signal(ctx, c, signalNumber(c.signal)); err != nil {
			return fmt.Errorf("failed to stop container %q: %w", c.id, err)
		}
		timer := r.clock.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-c.exited:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C():
		}
	}
	if err := r.signal(ctx, c, unix.SIGKILL); err != nil {
		return fmt.Errorf("failed to kill container %q: %w", c.id, err)
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for container %q to end: %w", c.id, ctx.Err())
	}
}

// signal sends to the first process. One that has ended needs none; one that
// the supervisor does not know is about to be reported as ended.
func (r *Runtime) signal(ctx context.Context, c *container, sig unix.Signal) error {
	err := r.client.Signal(ctx, c.id, int(sig), false)
	if errors.Is(err, supervisor.ErrNotRunning) || errors.Is(err, supervisor.ErrNotFound) {
		return nil
	}
	return err
}

// RemoveContainer removes the container and its writable layer, and kills it
// first if it runs. Removing one that is gone is no error.
func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	c, err := r.findContainer(id)
	if err != nil {
		return nil
	}
	return r.removeContainer(ctx, c)
}

func (r *Runtime) removeContainer(ctx context.Context, c *container) error {
	c.op.Lock()
	defer c.op.Unlock()
	if err := r.stopContainer(ctx, c, 0); err != nil {
		return err
	}
	r.mu.Lock()
	if r.containers[c.id] == nil {
		r.mu.Unlock()
		return nil
	}
	c.removing = true
	r.mu.Unlock()
	if err := r.client.Delete(ctx, c.id); err != nil {
		return fmt.Errorf("failed to remove container %q: %w", c.id, err)
	}
	if err := r.dropContainerFiles(c.id); err != nil {
		return fmt.Errorf("failed to remove container %q: %w", c.id, err)
	}
	c.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, c.id)
	delete(c.sandbox.containers, c.id)
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, c.sandbox)
	return nil
}

// status is the container as CRI tells it; the caller holds Runtime.mu.
func (c *container) status() *runtimeapi.ContainerStatus {
	st := &runtimeapi.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.Metadata,
		State:       c.state,
		CreatedAt:   c.created.UnixNano(),
		ExitCode:    c.exit,
		Image:       c.config.Image,
		ImageRef:    c.ref,
		ImageId:     c.image,
		Reason:      c.reason,
		Message:     c.message,
		Labels:      c.config.Labels,
		Annotations: c.config.Annotations,
		Mounts:      c.config.Mounts,
		LogPath:     logPath(c.sandbox.config, c.config),
		User:        c.user,
		StopSignal:  criSignal(c.signal),
	}
	if !c.started.IsZero() {
		st.StartedAt = c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		st.FinishedAt = c.finished.UnixNano()
	}
	if c.resources != nil {
		st.Resources = &runtimeapi.ContainerResources{Linux: c.resources}
	}
	return st
}

// criSignal is CRI's number for a signal's name; unknown ones are the default's.
func criSignal(name string) runtimeapi.Signal {
	if name == "" {
		return runtimeapi.Signal_SIGTERM
	}
	full := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	return runtimeapi.Signal(runtimeapi.Signal_value[full])
}

// containerStatuses are those of a sandbox, oldest first; the caller holds
// Runtime.mu.
func (s *sandbox) containerStatuses() []*runtimeapi.ContainerStatus {
	list := make([]*runtimeapi.ContainerStatus, 0, len(s.containers))
	for _, c := range s.containers {
		if !c.removing {
			list = append(list, c.status())
		}
	}
	slices.SortFunc(list, func(a, b *runtimeapi.ContainerStatus) int { return int(a.CreatedAt - b.CreatedAt) })
	return list
}

// ContainerStatus returns the container as it is now.
func (r *Runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	c, err := r.findContainer(id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &runtimeapi.ContainerStatusResponse{Status: c.status()}, nil
}

// ListContainers returns the containers that the filter lets through, oldest
// first.
func (r *Runtime) ListContainers(_ context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []*runtimeapi.Container{}
	for _, c := range r.containers {
		if c.making ||
			!strings.HasPrefix(c.id, filter.GetId()) ||
			!strings.HasPrefix(c.sandbox.id, filter.GetPodSandboxId()) ||
			filter.GetState() != nil && filter.State.State != c.state ||
			!matches(filter.GetLabelSelector(), c.config.Labels) {
			continue
		}
		list = append(list, &runtimeapi.Container{
			Id:           c.id,
			PodSandboxId: c.sandbox.id,
			Metadata:     c.config.Metadata,
			Image:        c.config.Image,
			ImageRef:     c.ref,
			ImageId:      c.image,
			State:        c.state,
			CreatedAt:    c.created.UnixNano(),
			Labels:       c.config.Labels,
			Annotations:  c.config.Annotations,
		})
	}
	slices.SortFunc(list, func(a, b *runtimeapi.Container) int { return int(a.CreatedAt - b.CreatedAt) })
	return list, nil
}

// ReopenContainerLog opens the log anew after the kubelet renamed it.
func (r *Runtime) ReopenContainerLog(ctx context.Context, id string) error {
	c, err := r.findContainer(id)
	if err != nil {
		return err
	}
	err = r.client.ReopenLog(ctx, c.id)
	if errors.Is(err, supervisor.ErrNotRunning) || errors.Is(err, supervisor.ErrNotFound) {
		return errors.New("container is not running")
	}
	return err
}

// UpdateContainerResources changes the limits that are set.
func (r *Runtime) UpdateContainerResources(ctx context.Context, id string, resources *runtimeapi.ContainerResources) error {
	c, err := r.findContainer(id)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	want := resources.GetLinux()
	if want == nil {
		return nil
	}
	raw, err := json.Marshal(r.linuxResources(want))
	if err != nil {
		return err
	}
	r.mu.Lock()
	live := c.state != runtimeapi.ContainerState_CONTAINER_EXITED
	r.mu.Unlock()
	if live {
		if err := r.client.Update(ctx, c.id, raw); err != nil && !errors.Is(err, supervisor.ErrNotRunning) {
			return fmt.Errorf("failed to update resources: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.resources = mergeResources(c.resources, want)
	change, err := c.changeWithConfig()
	if err != nil {
		return err
	}
	return amend(r.containerFile(c.id), change)
}

// mergeResources is old with what is set in change.
func mergeResources(old, change *runtimeapi.LinuxContainerResources) *runtimeapi.LinuxContainerResources {
	if old == nil {
		return proto.CloneOf(change)
	}
	merged := proto.CloneOf(old)
	proto.Merge(merged, change)
	return merged
}

// CheckpointContainer is not offered.
func (r *Runtime) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) error {
	return status.Error(codes.Unimplemented, "method CheckpointContainer not implemented")
}

// cgroupOf is the container's cgroup.
func (r *Runtime) cgroupOf(c *container) string { return path.Join(r.cgroupParent(c.sandbox), c.id) }
