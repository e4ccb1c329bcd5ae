package cri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// handlers are the names a pod may ask for as its runtime.
var handlers = []string{"", "runc", "clipper"}

// shmSize bounds a pod's /dev/shm.
const shmSize = "size=65536k"

// Expect says that a pod is about to come, so that what takes time can be under
// way when it does. It returns at once.
func (r *Runtime) Expect() { go r.client.Prepare(context.Background()) }

// RunPodSandbox makes a pod's environment: its namespaces, its network and the
// files its containers share. It returns the sandbox's ID.
func (r *Runtime) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, runtimeHandler string) (_ string, err error) {
	if config.GetMetadata().GetName() == "" {
		return "", status.Error(codes.InvalidArgument, "sandbox config must include metadata")
	}
	if !slices.Contains(handlers, runtimeHandler) {
		return "", fmt.Errorf("failed to get sandbox runtime: no runtime for %q is configured", runtimeHandler)
	}
	ns := namespaceOptions(config)
	if ns.GetUsernsOptions().GetMode() == runtimeapi.NamespaceMode_POD && ns.GetUsernsOptions() != nil {
		return "", errors.New("failed to run sandbox: user namespaces are not supported")
	}
	r.Expect() // containers follow a sandbox
	s := &sandbox{
		id:      newID(),
		config:  proto.CloneOf(config),
		handler: runtimeHandler,
		created: r.clock.Now(),
		boot:    r.host.boot,

		ready:      true,
		containers: map[string]*container{},
	}
	s.op.Lock()
	defer s.op.Unlock()
	network := false
	defer func() {
		if err == nil {
			return
		}
		if network {
			err = errors.Join(err, r.cfg.Network.Teardown(context.WithoutCancel(ctx), s.id))
		}
		err = errors.Join(err, r.dropSandboxFiles(s.id))
	}()
	dir := r.runPath("sandboxes", s.id)
	if err := r.pool.take(dir, namespaceFlags(ns)); err != nil {
		return "", fmt.Errorf("failed to create the pod's namespaces: %w", err)
	}
	if err := setSysctls(dir, config.GetLinux().GetSysctls()); err != nil {
		return "", err
	}
	// The network takes the longest; the rest is done beside it.
	var wg sync.WaitGroup
	var networkErr error
	if ns.Network != runtimeapi.NamespaceMode_NODE {
		network = true
		wg.Go(func() {
			s.ips, networkErr = r.cfg.Network.Setup(ctx, Sandbox{
				ID:        s.id,
				Namespace: config.Metadata.Namespace,
				Name:      config.Metadata.Name,
				UID:       config.Metadata.Uid,
				NetNS:     path.Join(dir, "net"),
				Ports:     portMappings(config.PortMappings),
			})
		})
	}
	filesErr := r.sandboxFiles(dir, s)
	var pauseErr error
	if ns.Pid == runtimeapi.NamespaceMode_POD {
		pauseErr = r.startPause(ctx, s)
		s.pausing = pauseErr == nil
	}
	wg.Wait()
	if networkErr != nil {
		networkErr = fmt.Errorf("failed to setup network for sandbox %q: %w", s.id, networkErr)
	}
	err = errors.Join(networkErr, filesErr, pauseErr)
	if err != nil {
		if ns.Pid == runtimeapi.NamespaceMode_POD {
			r.forget(context.WithoutCancel(ctx), s.id)
		}
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.beginSandbox(s); err != nil {
		return "", err
	}
	r.sandboxes[s.id] = s
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, s)
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, s)
	return s.id, nil
}

func portMappings(ports []*runtimeapi.PortMapping) []PortMapping {
	var list []PortMapping
	for _, p := range ports {
		if p.HostPort != 0 {
			list = append(list, PortMapping{Protocol: p.Protocol.String(), ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIP: p.HostIp})
		}
	}
	return list
}

// sandboxFiles writes what the pod's containers share: shm, hostname, hosts and
// resolv.conf.
func (r *Runtime) sandboxFiles(dir string, s *sandbox) error {
	files := map[string]string{"hostname": r.hostname(s) + "\n"}
	if dns := s.config.GetDnsConfig(); dns != nil {
		files["resolv.conf"] = resolvConf(dns)
	} else if raw, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		files["resolv.conf"] = string(raw)
	}
	if raw, err := os.ReadFile("/etc/hosts"); err == nil {
		files["hosts"] = string(raw)
	}
	for name, content := range files {
		if err := os.WriteFile(path.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if namespaceOptions(s.config).Ipc == runtimeapi.NamespaceMode_NODE {
		return nil
	}
	shm := path.Join(dir, "shm")
	if err := os.Mkdir(shm, 0o1777); err != nil {
		return err
	}
	if err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,"+shmSize); err != nil {
		return fmt.Errorf("mounting the pod's /dev/shm: %w", err)
	}
	return nil
}

// hostname is what the pod's processes find as theirs.
func (r *Runtime) hostname(s *sandbox) string {
	if s.config.Hostname != "" {
		return s.config.Hostname
	}
	if namespaceOptions(s.config).Network == runtimeapi.NamespaceMode_NODE {
		name, _ := os.Hostname()
		return name
	}
	return s.config.Metadata.Name
}

func resolvConf(dns *runtimeapi.DNSConfig) string {
	var b strings.Builder
	if len(dns.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(dns.Searches, " "))
	}
	for _, server := range dns.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(dns.Options, " "))
	}
	return b.String()
}

// findSandbox returns a sandbox by its ID or by a beginning that is its alone.
func (r *Runtime) findSandbox(id string) (*sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := find(r.sandboxes, id); s != nil {
		return s, nil
	}
	return nil, notFound("sandbox", id)
}

func find[T any](all map[string]*T, id string) *T {
	if v := all[id]; v != nil || id == "" {
		return v
	}
	var found *T
	for full, v := range all {
		if strings.HasPrefix(full, id) {
			if found != nil {
				return nil
			}
			found = v
		}
	}
	return found
}

// StopPodSandbox ends the sandbox's containers and lets go of its network and
// namespaces. Stopping one that is gone, or stopped, is no error.
func (r *Runtime) StopPodSandbox(ctx context.Context, id string) error {
	s, err := r.findSandbox(id)
	if err != nil {
		return nil
	}
	s.op.Lock()
	defer s.op.Unlock()
	return r.stopSandbox(ctx, s)
}

func (r *Runtime) stopSandbox(ctx context.Context, s *sandbox) error {
	r.mu.Lock()
	members := slices.Collect(maps.Values(s.containers))
	wasReady, pausing := s.ready, s.pausing
	r.mu.Unlock()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, c := range members {
		wg.Go(func() { errs[i] = r.stopContainer(ctx, c, 0) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("failed to stop the containers of sandbox %q: %w", s.id, err)
	}
	if pausing {
		if err := r.client.Delete(ctx, s.id); err != nil {
			return err
		}
		r.mu.Lock()
		s.pausing = false
		r.mu.Unlock()
	}
	if namespaceOptions(s.config).Network != runtimeapi.NamespaceMode_NODE {
		if err := r.cfg.Network.Teardown(ctx, s.id); err != nil {
			return fmt.Errorf("failed to destroy network for sandbox %q: %w", s.id, err)
		}
	}
	if err := removeMounted(r.runPath("sandboxes", s.id)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.ready = false
	r.changedSandbox(s)
	if wasReady {
		r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, s)
	}
	return nil
}

// RemovePodSandbox removes the sandbox and its containers, and ends them first
// if they run. Removing one that is gone is no error.
func (r *Runtime) RemovePodSandbox(ctx context.Context, id string) error {
	s, err := r.findSandbox(id)
	if err != nil {
		return nil
	}
	s.op.Lock()
	defer s.op.Unlock()
	if err := r.stopSandbox(ctx, s); err != nil {
		return err
	}
	r.mu.Lock()
	members := slices.Collect(maps.Values(s.containers))
	r.mu.Unlock()
	for _, c := range members {
		if err := r.removeContainer(ctx, c); err != nil {
			return err
		}
	}
	r.mu.Lock()
	if r.sandboxes[s.id] == nil {
		r.mu.Unlock()
		return nil
	}
	delete(r.sandboxes, s.id)
	s.gone = true
	last := true
	for _, other := range r.sandboxes {
		last = last && r.cgroupParent(other) != r.cgroupParent(s)
	}
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, s)
	r.mu.Unlock()
	if last {
		r.removeCgroup(r.cgroupParent(s))
	}
	return r.dropSandboxFiles(s.id)
}

// cgroupParent is the cgroup below which a sandbox's containers go.
func (r *Runtime) cgroupParent(s *sandbox) string {
	if parent := s.config.GetLinux().GetCgroupParent(); parent != "" {
		return path.Clean("/" + parent)
	}
	return path.Join(r.cfg.CgroupParent, "pods", s.id)
}

// removeCgroup removes a pod's cgroup from the hierarchies in which it is empty;
// the kubelet knows of those alone that it sets limits in.
func (r *Runtime) removeCgroup(cgroup string) {
	if cgroup == "/" || cgroup == path.Clean(r.cfg.CgroupParent) {
		return
	}
	for _, dir := range r.host.cgroupDirs(cgroup) {
		unix.Rmdir(dir)
	}
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

// status is the sandbox as CRI tells it; the caller holds Runtime.mu.
func (s *sandbox) status() *runtimeapi.PodSandboxStatus {
	st := &runtimeapi.PodSandboxStatus{
		Id:        s.id,
		Metadata:  s.config.Metadata,
		State:     s.state(),
		CreatedAt: s.created.UnixNano(),
		Network:   &runtimeapi.PodSandboxNetworkStatus{},
		Linux: &runtimeapi.LinuxPodSandboxStatus{
			Namespaces: &runtimeapi.Namespace{Options: namespaceOptions(s.config)},
		},
		Labels:         s.config.Labels,
		Annotations:    s.config.Annotations,
		RuntimeHandler: s.handler,
	}
	for i, ip := range s.ips {
		if i == 0 {
			st.Network.Ip = ip.String()
		} else {
			st.Network.AdditionalIps = append(st.Network.AdditionalIps, &runtimeapi.PodIP{Ip: ip.String()})
		}
	}
	return st
}

// PodSandboxStatus returns the sandbox and its containers as they are now.
func (r *Runtime) PodSandboxStatus(_ context.Context, id string, _ bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := find(r.sandboxes, id)
	if s == nil {
		return nil, notFound("sandbox", id)
	}
	return &runtimeapi.PodSandboxStatusResponse{
		Status:             s.status(),
		ContainersStatuses: s.containerStatuses(),
		Timestamp:          r.clock.Now().UnixNano(),
	}, nil
}

// ListPodSandbox returns the sandboxes that the filter lets through, oldest first.
func (r *Runtime) ListPodSandbox(_ context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []*runtimeapi.PodSandbox{}
	for _, s := range r.sandboxes {
		if !strings.HasPrefix(s.id, filter.GetId()) ||
			filter.GetState() != nil && filter.State.State != s.state() ||
			!matches(filter.GetLabelSelector(), s.config.Labels) {
			continue
		}
		list = append(list, &runtimeapi.PodSandbox{
			Id:             s.id,
			Metadata:       s.config.Metadata,
			State:          s.state(),
			CreatedAt:      s.created.UnixNano(),
			Labels:         s.config.Labels,
			Annotations:    s.config.Annotations,
			RuntimeHandler: s.handler,
		})
	}
	slices.SortFunc(list, func(a, b *runtimeapi.PodSandbox) int { return int(a.CreatedAt - b.CreatedAt) })
	return list, nil
}

// matches reports whether labels has all of want.
func matches(want, labels map[string]string) bool {
	for k, v := range want {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// UpdatePodSandboxResources accepts the pod's new limits: they are the cgroup's,
// which the kubelet has set.
func (r *Runtime) UpdatePodSandboxResources(_ context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	if _, err := r.findSandbox(req.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}
