package podspec

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/lifecycle"
)

// Run is what one run of a container needs beyond its spec.
type Run struct {
	Pod     *v1.Pod // with its addresses
	Spec    *v1.Container
	Attempt uint32
	Hash    string
	Image   Image
	Env     []Var
	// Mounts of volumes and files, in the order they are made.
	Mounts []*runtimeapi.Mount
	// Devices that block volumes turn to.
	Devices []*runtimeapi.Device
	// TerminationFile, on the node, receives the termination message.
	TerminationFile string
	// TargetID is the container whose processes an ephemeral one sees.
	TargetID string
}

// Container returns the configuration of one run of a container. An error
// tells what is wrong with the spec (CreateContainerConfigError).
func (n *Node) Container(r Run) (*runtimeapi.ContainerConfig, error) {
	pod, c := r.Pod, r.Spec
	security, err := n.containerSecurity(pod, c, r.Image, r.TargetID)
	if err != nil {
		return nil, err
	}
	lookup := make(map[string]string, len(r.Env))
	config := &runtimeapi.ContainerConfig{
		Metadata:   &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: r.Attempt},
		Image:      &runtimeapi.ImageSpec{Image: r.Image.Ref, UserSpecifiedImage: c.Image},
		WorkingDir: c.WorkingDir,
		Envs:       make([]*runtimeapi.KeyValue, 0, len(r.Env)),
		Mounts:     r.Mounts,
		Devices:    r.Devices,
		Labels: map[string]string{
			LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace,
			LabelPodUID: string(pod.UID), LabelContainerName: c.Name,
		},
		Annotations: map[string]string{
			AnnotationHash:     r.Hash,
			AnnotationRestarts: strconv.Itoa(int(r.Attempt)),
			AnnotationTermPath: c.TerminationMessagePath,
			AnnotationTermPol:  string(c.TerminationMessagePolicy),
			AnnotationTermFile: r.TerminationFile,
		},
		LogPath:   LogPath(c.Name, r.Attempt),
		Stdin:     c.Stdin,
		StdinOnce: c.StdinOnce,
		Tty:       c.TTY,
		Linux:     &runtimeapi.LinuxContainerConfig{SecurityContext: security, Resources: n.Resources(pod, c)},
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		config.Annotations[annotationPodGrace] = strconv.FormatInt(*g, 10)
	}
	for _, v := range r.Env {
		lookup[v.Name] = v.Value
		config.Envs = append(config.Envs, &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)})
	}
	get := func(name string) (string, bool) { v, ok := lookup[name]; return v, ok }
	left := room(maxArguments)
	if config.Command, err = expandAll(c.Command, get, &left); err != nil {
		return nil, err
	}
	if config.Args, err = expandAll(c.Args, get, &left); err != nil {
		return nil, err
	}
	if l := c.Lifecycle; l != nil && l.StopSignal != nil {
		config.StopSignal = runtimeapi.Signal(runtimeapi.Signal_value[string(*l.StopSignal)])
	}
	return config, nil
}

func expandAll(in []string, lookup func(string) (string, bool), left *room) ([]string, error) {
	var out []string
	for _, s := range in {
		whole, err := expand(s, lookup, left)
		if err != nil {
			return nil, err
		}
		out = append(out, whole)
	}
	return out, nil
}

// LogPath is a run's log below the pod's log directory.
func LogPath(container string, attempt uint32) string {
	return filepath.Join(container, strconv.Itoa(int(attempt))+".log")
}

// SubPathExpr returns a mount's subPathExpr with the container's variables
// filled in; each must exist.
func SubPathExpr(expr string, env []Var) (string, error) {
	lookup := make(map[string]string, len(env))
	for _, v := range env {
		lookup[v.Name] = v.Value
	}
	missing, left := "", room(unix.PathMax)
	out, err := expand(expr, func(name string) (string, bool) {
		v, ok := lookup[name]
		if !ok {
			missing = name
		}
		return v, ok
	}, &left)
	if err != nil {
		return "", fmt.Errorf("subPathExpr %q is too long once its variables are filled in", expr)
	}
	if missing != "" {
		return "", fmt.Errorf("missing value for %s", missing)
	}
	if filepath.IsAbs(out) || out == ".." || strings.HasPrefix(out, "../") || strings.Contains(out, "/../") || strings.HasSuffix(out, "/..") {
		return "", fmt.Errorf("subPathExpr %q must stay inside its volume", out)
	}
	return out, nil
}

// InstanceOf translates the runtime's view of a run.
func InstanceOf(sandbox string, s *runtimeapi.ContainerStatus) *lifecycle.Instance {
	i := &lifecycle.Instance{
		ID:         s.Id,
		SandboxID:  sandbox,
		CreatedAt:  unixNano(s.CreatedAt),
		StartedAt:  unixNano(s.StartedAt),
		FinishedAt: unixNano(s.FinishedAt),
		ExitCode:   s.ExitCode,
		Reason:     s.Reason,
		ImageID:    s.ImageId,
		Hash:       s.Annotations[AnnotationHash],
	}
	if s.Metadata != nil {
		i.Attempt = int32(s.Metadata.Attempt)
	}
	if i.ImageID == "" {
		i.ImageID = s.ImageRef
	}
	if s.Image != nil {
		if i.Image = s.Image.UserSpecifiedImage; i.Image == "" {
			i.Image = s.Image.Image
		}
	}
	switch s.State {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		i.Phase = lifecycle.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		i.Phase = lifecycle.Running
	default:
		i.Phase = lifecycle.Exited
		i.Message = s.Message
		if i.Reason == "" {
			if i.Reason = "Error"; i.ExitCode == 0 {
				i.Reason = "Completed"
			}
		}
	}
	if s.User != nil && s.User.Linux != nil {
		l := s.User.Linux
		i.User = &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: l.Uid, GID: l.Gid, SupplementalGroups: l.SupplementalGroups}}
	}
	return i
}

// SpecOf names the container a runtime's record belongs to.
func SpecOf(labels map[string]string) (uid, container string) {
	return labels[LabelPodUID], labels[LabelContainerName]
}
