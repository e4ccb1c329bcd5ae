package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/podspec"
	"clipper/internal/kubelet/volume"
)

// startError is why a run could not be started; reason is the API's.
type startError struct {
	reason string
	err    error
}

func (e *startError) Error() string { return e.err.Error() }

func failed(reason string, err error) error { return &startError{reason, err} }

// startContainer creates and starts the next run of a container.
func (a *actor) startContainer(act lifecycle.Action) {
	k, s, c := a.k, a.state, act.Container
	pod := a.podWithIPs()
	if a.sandbox == nil { // taken over from an earlier agent
		a.sandbox = k.spec.Sandbox(pod, s.Sandbox.Attempt)
	}
	r := &starting{a: a, pod: pod, c: c, attempt: act.Attempt, hash: c.Hash, spec: c.Spec,
		image: c.ImageRef, sandbox: s.Sandbox.ID, config: a.sandbox, mounts: a.mounts}
	if c.Target != "" {
		if t := s.Container(c.Target); t != nil && t.Cur != nil {
			r.target = t.Cur.ID
		}
	}
	a.spawn(func() message {
		i, err := r.run(a.begin)
		return func(s *lifecycle.State) {
			if err == nil {
				s.ContainerUp(c, i)
				return
			}
			reason := "CreateContainerError"
			var se *startError
			if errors.As(err, &se) {
				reason = se.reason
			}
			if a.begin.Err() != nil { // it was called off
				s.StartFailed(k.Clock.Now(), c, i, "", "")
				return
			}
			k.events.Pod(pod, c, v1.EventTypeWarning, "Failed", "Error: "+err.Error())
			s.StartFailed(k.Clock.Now(), c, i, reason, err.Error())
		}
	})
}

// starting is one attempt to start a run; it holds copies of what it needs, as
// the actor goes on meanwhile.
type starting struct {
	a       *actor
	pod     *v1.Pod
	c       *lifecycle.Container // for events only
	spec    *v1.Container
	attempt uint32
	hash    string
	image   string
	target  string
	sandbox string
	config  *runtimeapi.PodSandboxConfig
	mounts  volume.Mounts
}

func (r *starting) run(ctx context.Context) (*lifecycle.Instance, error) {
	k := r.a.k
	config, err := r.build(ctx)
	if err != nil {
		return nil, err
	}
	id, err := k.Runtime.CreateContainer(ctx, r.sandbox, config, r.config)
	if err != nil {
		return nil, failed("CreateContainerError", err)
	}
	k.events.Pod(r.pod, r.c, v1.EventTypeNormal, "Created", "Container created")
	startErr := k.Runtime.StartContainer(ctx, id)
	// The run's own record, whatever became of it.
	var i *lifecycle.Instance
	if st, err := k.Runtime.ContainerStatus(r.a.ctx, id, false); err == nil && st.Status != nil {
		i = k.instance(r.sandbox, st.Status)
	} else if startErr == nil {
		startErr = err
	}
	if startErr != nil {
		return i, failed("RunContainerError", startErr)
	}
	k.events.Pod(r.pod, r.c, v1.EventTypeNormal, "Started", "Container started")
	return i, nil
}

// build makes the run's configuration and the files it mounts.
func (r *starting) build(ctx context.Context) (*runtimeapi.ContainerConfig, error) {
	k := r.a.k
	const bad = "CreateContainerConfigError"
	if err := k.refs.Wait(ctx, r.pod.UID); err != nil {
		return nil, failed(bad, err)
	}
	env, err := k.spec.Env(r.pod, r.spec, k.servicesOf(r.pod), k.refs)
	if err != nil {
		return nil, failed(bad, err)
	}
	image := podspec.Image{Ref: r.image}
	if r.asksImageUser() {
		st, err := k.Images.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: r.image}, false)
		if err != nil {
			return nil, failed(bad, err)
		}
		if st != nil && st.Image != nil {
			image.Username = st.Image.Username
			if st.Image.Uid != nil {
				image.UID = &st.Image.Uid.Value
			}
		}
	}
	dir := k.containerDir(r.pod, r.spec.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, failed("CreateContainerError", err)
	}
	mounts, devices, err := r.mountsOf(env)
	if err != nil {
		return nil, failed(bad, err)
	}
	run := podspec.Run{Pod: r.pod, Spec: r.spec, Attempt: r.attempt, Hash: r.hash, Image: image,
		Env: env, Mounts: mounts, Devices: devices, TargetID: r.target}
	if path := r.spec.TerminationMessagePath; path != "" {
		file := terminationFile(dir, r.attempt)
		if err := writeOpen(file); err != nil {
			return nil, failed("CreateContainerError", err)
		}
		run.TerminationFile = file
		run.Mounts = append(run.Mounts, &runtimeapi.Mount{ContainerPath: path, HostPath: file})
	}
	config, err := k.spec.Container(run)
	if err != nil {
		return nil, failed(bad, err)
	}
	return config, nil
}

// asksImageUser: the image's user matters when no user is given.
func (r *starting) asksImageUser() bool {
	if sc := r.spec.SecurityContext; sc != nil && sc.RunAsUser != nil {
		return false
	}
	sc := r.pod.Spec.SecurityContext
	return sc == nil || sc.RunAsUser == nil
}

// writeOpen makes an empty file that any user in the container can write.
func writeOpen(path string) error {
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whatever the umask is
}

var propagation = map[v1.MountPropagationMode]runtimeapi.MountPropagation{
	v1.MountPropagationHostToContainer: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
	v1.MountPropagationBidirectional:   runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL,
}

func (r *starting) mountsOf(env []podspec.Var) (list []*runtimeapi.Mount, devices []*runtimeapi.Device, err error) {
	k, hosts := r.a.k, false
	for i := range r.spec.VolumeMounts {
		vm := &r.spec.VolumeMounts[i]
		v, ok := r.mounts.Volumes[vm.Name]
		if !ok {
			return nil, nil, fmt.Errorf("volume %q is not mounted", vm.Name)
		}
		path := vm.MountPath
		if !filepath.IsAbs(path) {
			path = "/" + path
		}
		hosts = hosts || path == "/etc/hosts"
		m := &runtimeapi.Mount{
			ContainerPath: path, HostPath: v.Path, Readonly: vm.ReadOnly || v.ReadOnly,
		}
		sub := vm.SubPath
		if vm.SubPathExpr != "" {
			if sub, err = podspec.SubPathExpr(vm.SubPathExpr, env); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case v.Image != "":
			m.Image = &runtimeapi.ImageSpec{Image: v.Image}
			m.ImageSubPath = sub
		case sub != "":
			if m.HostPath, err = k.volumes.SubPath(r.pod, r.spec.Name, i, v, vm.Name, sub); err != nil {
				return nil, nil, err
			}
		default:
			// A hostPath that is missing becomes a directory, as ever.
			if _, err := os.Stat(m.HostPath); errors.Is(err, os.ErrNotExist) {
				if err := os.MkdirAll(m.HostPath, 0o755); err != nil {
					return nil, nil, err
				}
			}
		}
		if vm.MountPropagation != nil {
			m.Propagation = propagation[*vm.MountPropagation]
		}
		if rro := vm.RecursiveReadOnly; rro != nil && m.Readonly {
			m.RecursiveReadOnly = *rro == v1.RecursiveReadOnlyEnabled || *rro == v1.RecursiveReadOnlyIfPossible
		}
		list = append(list, m)
	}
	for _, d := range r.spec.VolumeDevices {
		v, ok := r.mounts.Volumes[d.Name]
		if !ok || !v.Block {
			return nil, nil, fmt.Errorf("volume %q is not a block device", d.Name)
		}
		access := "mrw"
		if v.ReadOnly {
			access = "r"
		}
		devices = append(devices, &runtimeapi.Device{ContainerPath: d.DevicePath, HostPath: v.Path, Permissions: access})
	}
	if !hosts {
		r.a.hosts.Lock()
		file, err := k.hostsFile(r.pod)
		r.a.hosts.Unlock()
		if err != nil {
			return nil, nil, err
		}
		list = append(list, &runtimeapi.Mount{ContainerPath: "/etc/hosts", HostPath: file})
	}
	return list, devices, nil
}

// hostsFile writes the pod's /etc/hosts, which all of its containers share.
func (k *Kubelet) hostsFile(pod *v1.Pod) (string, error) {
	dir := filepath.Join(k.RootDir, "pods", string(pod.UID))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	var base []byte
	if pod.Spec.HostNetwork {
		var err error
		if base, err = os.ReadFile("/etc/hosts"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if base == nil {
			base = []byte{}
		}
	}
	ips := make([]string, len(pod.Status.PodIPs))
	for i, ip := range pod.Status.PodIPs {
		ips[i] = ip.IP
	}
	file := filepath.Join(dir, "etc-hosts")
	content := k.spec.Hosts(pod, ips, base)
	// Written in place: the containers that run have this very file mounted.
	if old, err := os.ReadFile(file); err == nil && string(old) == string(content) {
		return file, nil
	}
	return file, os.WriteFile(file, content, 0o644)
}

const (
	// Bounds of a termination message in bytes, and in lines of a log.
	maxTermination    = 4096
	maxLogTermination = 2048
	maxLogLines       = 80
	fallbackToLogs    = string(v1.TerminationMessageFallbackToLogsOnError)
)

// instance translates what the runtime says of a run, and reads the message
// that an ended one left.
func (k *Kubelet) instance(sandbox string, st *runtimeapi.ContainerStatus) *lifecycle.Instance {
	i := podspec.InstanceOf(sandbox, st)
	if i.Phase != lifecycle.Exited {
		return i
	}
	message := ""
	if file := st.Annotations[podspec.AnnotationTermFile]; file != "" && strings.HasPrefix(file, k.RootDir+"/") {
		message = head(file, maxTermination)
	}
	if message == "" && i.ExitCode != 0 && st.Annotations[podspec.AnnotationTermPol] == fallbackToLogs && st.LogPath != "" {
		message = tailOfLog(st.LogPath, maxLogTermination, maxLogLines)
	}
	if message != "" {
		i.Message = message
	}
	return i
}

// head returns the first bytes of a regular file.
func head(path string, most int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	buf := make([]byte, most)
	n, _ := f.Read(buf)
	return string(buf[:n])
}
