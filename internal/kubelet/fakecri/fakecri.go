// Package fakecri is a container runtime in memory, for tests: it keeps
// sandboxes, containers and images as a real one does, writes their logs,
// sends events, and lets a test decide what containers do.
package fakecri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/exec"
)

// Runtime implements RuntimeService. Its fields are set before use.
type Runtime struct {
	internalapi.RuntimeService // what a test does not need panics

	Clock clock.Clock
	// Started, if set, is called after a container has started, without locks.
	Started func(*Container)
	// Stubborn containers (by name) ignore the stop signal and are killed.
	Stubborn map[string]bool

	mu         sync.Mutex
	refuse     func(call, name string) error
	answer     Answer
	next       int
	sandboxes  map[string]*sandbox
	containers map[string]*Container
	calls      []string
	watchers   map[chan *runtimeapi.ContainerEventResponse]bool
}

type sandbox struct {
	id      string
	config  *runtimeapi.PodSandboxConfig
	handler string
	created int64
	ready   bool
	ip      string
}

// Container is one container. Its fields are not to be changed.
type Container struct {
	ID, Name, Sandbox string
	Config            *runtimeapi.ContainerConfig
	LogPath           string

	r                          *Runtime
	created, started, finished int64
	state                      runtimeapi.ContainerState
	exit                       int32
	reason                     string
	done                       chan struct{}
}

// New returns an empty runtime.
func New(c clock.Clock) *Runtime {
	return &Runtime{Clock: c, Stubborn: map[string]bool{},
		sandboxes: map[string]*sandbox{}, containers: map[string]*Container{},
		watchers: map[chan *runtimeapi.ContainerEventResponse]bool{}}
}

var notFound = func(what, id string) error { return status.Errorf(codes.NotFound, "%s %q not found", what, id) }

func (r *Runtime) note(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

// Calls lists the calls so far that changed something.
func (r *Runtime) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Find returns the newest container of that name, or nil.
func (r *Runtime) Find(name string) *Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *Container
	for _, c := range r.containers {
		if c.Name == name && (found == nil || c.Config.Metadata.Attempt > found.Config.Metadata.Attempt) {
			found = c
		}
	}
	return found
}

// Left returns how many sandboxes and containers there are.
func (r *Runtime) Left() (sandboxes, containers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sandboxes), len(r.containers)
}

// Answer is what a command in a container does.
type Answer func(c *Container, cmd []string) (output string, exit int, err error)

// OnExec sets what answers ExecSync.
func (r *Runtime) OnExec(f Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// Refuse sets what may refuse calls: "RunPodSandbox", "CreateContainer",
// "StartContainer" and "StopContainer", with the name of the pod or container.
func (r *Runtime) Refuse(f func(call, name string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

func (r *Runtime) fail(call, name string) error {
	r.mu.Lock()
	f := r.refuse
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(call, name)
}

// Version implements RuntimeService.
func (r *Runtime) Version(context.Context, string) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "v1", RuntimeName: "clipper", RuntimeVersion: "fake", RuntimeApiVersion: "v1"}, nil
}

// Status implements RuntimeService.
func (r *Runtime) Status(context.Context, bool) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: true},
	}}}, nil
}

// RunPodSandbox implements RuntimeService.
func (r *Runtime) RunPodSandbox(_ context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error) {
	if err := r.fail("RunPodSandbox", config.Metadata.Name); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	s := &sandbox{id: fmt.Sprintf("sb%d", r.next), config: config, handler: handler,
		created: r.Clock.Now().UnixNano(), ready: true, ip: fmt.Sprintf("10.0.0.%d", r.next)}
	if config.Linux.SecurityContext.NamespaceOptions.Network == runtimeapi.NamespaceMode_NODE {
		s.ip = ""
	}
	r.sandboxes[s.id] = s
	r.note("RunPodSandbox %s #%d", config.Metadata.Name, config.Metadata.Attempt)
	r.sendLocked(s, s.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return s.id, nil
}

// StopPodSandbox implements RuntimeService.
func (r *Runtime) StopPodSandbox(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return notFound("sandbox", id)
	}
	for _, c := range r.ofLocked(id) {
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			r.endLocked(c, 137, "Error")
		}
	}
	if s.ready {
		s.ready = false
		r.note("StopPodSandbox %s #%d", s.config.Metadata.Name, s.config.Metadata.Attempt)
		r.sendLocked(s, id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	}
	return nil
}

// RemovePodSandbox implements RuntimeService.
func (r *Runtime) RemovePodSandbox(ctx context.Context, id string) error {
	if err := r.StopPodSandbox(ctx, id); err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	for _, c := range r.ofLocked(id) {
		delete(r.containers, c.ID)
	}
	delete(r.sandboxes, id)
	r.note("RemovePodSandbox %s #%d", s.config.Metadata.Name, s.config.Metadata.Attempt)
	return nil
}

func (r *Runtime) ofLocked(sandbox string) []*Container {
	var list []*Container
	for _, c := range r.containers {
		if c.Sandbox == sandbox {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

func (s *sandbox) status() *runtimeapi.PodSandboxStatus {
	return &runtimeapi.PodSandboxStatus{Id: s.id, Metadata: s.config.Metadata, State: s.state(), CreatedAt: s.created,
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: s.ip}, Labels: s.config.Labels, Annotations: s.config.Annotations}
}

// PodSandboxStatus implements RuntimeService.
func (r *Runtime) PodSandboxStatus(_ context.Context, id string, _ bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil, notFound("sandbox", id)
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: s.status()}, nil
}

// Config returns the newest sandbox's configuration of a pod.
func (r *Runtime) Config(pod string) *runtimeapi.PodSandboxConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *sandbox
	for _, s := range r.sandboxes {
		if s.config.Metadata.Name == pod && (found == nil || s.created > found.created) {
			found = s
		}
	}
	if found == nil {
		return nil
	}
	return found.config
}

// KillSandbox makes a pod's sandbox unusable, as after a crash.
func (r *Runtime) KillSandbox(pod string) {
	r.mu.Lock()
	var ids []string
	for id, s := range r.sandboxes {
		if s.config.Metadata.Name == pod && s.ready {
			ids = append(ids, id)
		}
	}
	r.mu.Unlock()
	for _, id := range ids {
		r.StopPodSandbox(context.Background(), id)
	}
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// ListPodSandbox implements RuntimeService.
func (r *Runtime) ListPodSandbox(_ context.Context, f *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.PodSandbox
	for _, id := range slices.Sorted(maps.Keys(r.sandboxes)) {
		s := r.sandboxes[id]
		if f != nil && (f.Id != "" && f.Id != id || !matches(f.LabelSelector, s.config.Labels)) {
			continue
		}
		out = append(out, &runtimeapi.PodSandbox{Id: id, Metadata: s.config.Metadata, State: s.state(),
			CreatedAt: s.created, Labels: s.config.Labels, Annotations: s.config.Annotations})
	}
	return out, nil
}

// CreateContainer implements RuntimeService.
func (r *Runtime) CreateContainer(_ context.Context, sandboxID string, config *runtimeapi.ContainerConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	if err := r.fail("CreateContainer", config.Metadata.Name); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[sandboxID]
	if s == nil || !s.ready {
		return "", notFound("sandbox", sandboxID)
	}
	for _, c := range r.ofLocked(sandboxID) {
		if c.Name == config.Metadata.Name && c.Config.Metadata.Attempt == config.Metadata.Attempt {
			return "", fmt.Errorf("container %s #%d exists", c.Name, config.Metadata.Attempt)
		}
	}
	r.next++
	c := &Container{ID: fmt.Sprintf("c%d", r.next), Name: config.Metadata.Name, Sandbox: sandboxID, Config: config,
		LogPath: filepath.Join(s.config.LogDirectory, config.LogPath), r: r,
		created: r.Clock.Now().UnixNano(), done: make(chan struct{})}
	r.containers[c.ID] = c
	r.note("CreateContainer %s #%d", c.Name, config.Metadata.Attempt)
	r.sendLocked(s, c.ID, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	return c.ID, nil
}

// StartContainer implements RuntimeService.
func (r *Runtime) StartContainer(_ context.Context, id string) error {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return notFound("container", id)
	}
	if err := os.MkdirAll(filepath.Dir(c.LogPath), 0o755); err != nil {
		return err
	}
	if err := c.append(""); err != nil {
		return err
	}
	failure := r.fail("StartContainer", c.Name)
	r.mu.Lock()
	s := r.sandboxes[c.Sandbox]
	switch {
	case c.state != runtimeapi.ContainerState_CONTAINER_CREATED:
		r.mu.Unlock()
		return fmt.Errorf("container %s is not in state created", c.Name)
	case failure != nil:
		r.endLocked(c, 128, "StartError")
		r.mu.Unlock()
		return failure
	case s == nil || !s.ready:
		r.mu.Unlock()
		return notFound("sandbox", c.Sandbox)
	}
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, r.Clock.Now().UnixNano()
	r.note("StartContainer %s #%d", c.Name, c.Config.Metadata.Attempt)
	r.sendLocked(s, id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	r.mu.Unlock()
	if r.Started != nil {
		r.Started(c)
	}
	return nil
}

// endLocked makes a container's end known.
func (r *Runtime) endLocked(c *Container, code int32, reason string) {
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	c.state, c.exit, c.reason, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, code, reason, r.Clock.Now().UnixNano()
	close(c.done)
	if s := r.sandboxes[c.Sandbox]; s != nil {
		r.sendLocked(s, c.ID, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	}
}

// Exit ends the container by itself.
func (c *Container) Exit(code int32) {
	reason := "Error"
	if code == 0 {
		reason = "Completed"
	}
	c.ExitReason(code, reason)
}

// ExitReason ends the container with a reason such as OOMKilled.
func (c *Container) ExitReason(code int32, reason string) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.endLocked(c, code, reason)
}

// Mounted returns the node's path of what is mounted at the container's path, or "".
func (c *Container) Mounted(path string) string {
	for _, m := range c.Config.Mounts {
		if m.ContainerPath == path {
			return m.HostPath
		}
	}
	return ""
}

// Env returns a variable of the container.
func (c *Container) Env(name string) string {
	for _, e := range c.Config.Envs {
		if e.Key == name {
			return string(e.Value)
		}
	}
	return ""
}

// Print writes a line to the container's log.
func (c *Container) Print(text string) error {
	return c.append(fmt.Sprintf("%s stdout F %s\n", c.r.Clock.Now().UTC().Format(time.RFC3339Nano), text))
}

func (c *Container) append(s string) error {
	f, err := os.OpenFile(c.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(s)
	return err
}

// StopContainer implements RuntimeService.
func (r *Runtime) StopContainer(ctx context.Context, id string, timeout int64) error {
	r.mu.Lock()
	c := r.containers[id]
	if c == nil {
		r.mu.Unlock()
		return notFound("container", id)
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		r.mu.Unlock()
		return nil
	}
	r.note("StopContainer %s #%d %ds", c.Name, c.Config.Metadata.Attempt, timeout)
	stubborn := r.Stubborn[c.Name]
	r.mu.Unlock()
	if err := r.fail("StopContainer", c.Name); err != nil {
		return err
	}
	code := int32(143)
	if stubborn && timeout > 0 {
		t := r.Clock.NewTimer(time.Duration(timeout) * time.Second)
		defer t.Stop()
		select {
		case <-t.C():
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if stubborn || timeout == 0 {
		code = 137
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(c, code, "Error")
	return nil
}

// UpdateContainerResources implements RuntimeService.
func (r *Runtime) UpdateContainerResources(_ context.Context, id string, to *runtimeapi.ContainerResources) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return notFound("container", id)
	}
	r.note("UpdateContainerResources %s cpu=%d memory=%d", c.Name, to.Linux.CpuQuota, to.Linux.MemoryLimitInBytes)
	return nil
}

// RemoveContainer implements RuntimeService.
func (r *Runtime) RemoveContainer(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return notFound("container", id)
	}
	r.endLocked(c, 137, "Error")
	delete(r.containers, id)
	r.note("RemoveContainer %s #%d", c.Name, c.Config.Metadata.Attempt)
	if s := r.sandboxes[c.Sandbox]; s != nil {
		r.sendLocked(s, id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
	}
	return nil
}

func (c *Container) status() *runtimeapi.ContainerStatus {
	return &runtimeapi.ContainerStatus{Id: c.ID, Metadata: c.Config.Metadata, State: c.state,
		CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.finished, ExitCode: c.exit, Reason: c.reason,
		Image: c.Config.Image, ImageRef: c.Config.Image.Image, ImageId: c.Config.Image.Image,
		Labels: c.Config.Labels, Annotations: c.Config.Annotations, Mounts: c.Config.Mounts, LogPath: c.LogPath}
}

// ContainerStatus implements RuntimeService.
func (r *Runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, notFound("container", id)
	}
	return &runtimeapi.ContainerStatusResponse{Status: c.status()}, nil
}

// ListContainers implements RuntimeService.
func (r *Runtime) ListContainers(_ context.Context, f *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.Container
	for _, id := range slices.Sorted(maps.Keys(r.containers)) {
		c := r.containers[id]
		if f != nil && (f.Id != "" && f.Id != id || f.PodSandboxId != "" && f.PodSandboxId != c.Sandbox || !matches(f.LabelSelector, c.Config.Labels)) {
			continue
		}
		out = append(out, &runtimeapi.Container{Id: id, PodSandboxId: c.Sandbox, Metadata: c.Config.Metadata,
			Image: c.Config.Image, State: c.state, CreatedAt: c.created, Labels: c.Config.Labels, Annotations: c.Config.Annotations})
	}
	return out, nil
}

// ExecSync implements RuntimeService.
func (r *Runtime) ExecSync(_ context.Context, id string, cmd []string, _ time.Duration) ([]byte, []byte, error) {
	r.mu.Lock()
	c, f := r.containers[id], r.answer
	r.mu.Unlock()
	if c == nil {
		return nil, nil, notFound("container", id)
	}
	if f == nil {
		return nil, nil, errors.New("exec is not prepared")
	}
	out, code, err := f(c, cmd)
	if err == nil && code != 0 {
		err = exec.CodeExitError{Err: fmt.Errorf("command '%s' exited with %d", strings.Join(cmd, " "), code), Code: code}
	}
	return []byte(out), nil, err
}

// sendLocked gives an event to all who listen.
func (r *Runtime) sendLocked(s *sandbox, id string, kind runtimeapi.ContainerEventType) {
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: kind,
		CreatedAt: r.Clock.Now().UnixNano(), PodSandboxStatus: s.status()}
	for _, c := range r.ofLocked(s.id) {
		e.ContainersStatuses = append(e.ContainersStatuses, c.status())
	}
	for w := range r.watchers {
		w <- e
	}
}

// GetContainerEvents implements RuntimeService.
func (r *Runtime) GetContainerEvents(ctx context.Context, out chan *runtimeapi.ContainerEventResponse, ready func(runtimeapi.RuntimeService_GetContainerEventsClient)) error {
	in := make(chan *runtimeapi.ContainerEventResponse, 1<<16)
	r.mu.Lock()
	r.watchers[in] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.watchers, in)
		r.mu.Unlock()
	}()
	if ready != nil {
		ready(nil)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-in:
			select {
			case out <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Images implements ImageManagerService.
type Images struct {
	internalapi.ImageManagerService

	mu      sync.Mutex
	pull    func(image string, auth *runtimeapi.AuthConfig) error
	missing map[string]bool
	users   map[string]*runtimeapi.Image
}

// NewImages returns images of which all but the missing are present.
func NewImages(missing ...string) *Images {
	im := &Images{missing: map[string]bool{}, users: map[string]*runtimeapi.Image{}}
	for _, m := range missing {
		im.missing[m] = true
	}
	return im
}

// Set gives details of an image.
func (im *Images) Set(name string, i *runtimeapi.Image) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.users[name] = i
}

// OnPull sets what answers pulls; nil makes all of them succeed.
func (im *Images) OnPull(f func(image string, auth *runtimeapi.AuthConfig) error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.pull = f
}

// ImageStatus implements ImageManagerService.
func (im *Images) ImageStatus(_ context.Context, spec *runtimeapi.ImageSpec, _ bool) (*runtimeapi.ImageStatusResponse, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	name := strings.TrimPrefix(spec.Image, "sha256:")
	if im.missing[name] {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	out := &runtimeapi.Image{Uid: &runtimeapi.Int64Value{}}
	if u := im.users[name]; u != nil {
		out = &runtimeapi.Image{Uid: u.Uid, Username: u.Username}
	}
	out.Id, out.RepoTags, out.Size = "sha256:"+name, []string{name}, 1000
	return &runtimeapi.ImageStatusResponse{Image: out}, nil
}

// ListImages implements ImageManagerService.
func (im *Images) ListImages(context.Context, *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	return nil, nil
}

// PullImage implements ImageManagerService.
func (im *Images) PullImage(_ context.Context, spec *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	im.mu.Lock()
	f := im.pull
	im.mu.Unlock()
	if f != nil {
		if err := f(spec.Image, auth); err != nil {
			return "", err
		}
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	delete(im.missing, spec.Image)
	return "sha256:" + spec.Image, nil
}
