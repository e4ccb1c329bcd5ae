package podspec

import (
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is what a configuration needs to know of the container's image.
type Image struct {
	// Ref that the runtime knows it by.
	Ref string
	// UID of the image's user, or nil and its Username.
	UID      *int64
	Username string
}

// Paths of /proc and /sys that containers do not see, or cannot write, unless
// they are privileged or have procMount Unmasked.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func podContext(pod *v1.Pod) *v1.PodSecurityContext {
	if pod.Spec.SecurityContext == nil {
		return &v1.PodSecurityContext{}
	}
	return pod.Spec.SecurityContext
}

// effective merges the pod's security context into the container's.
func effective(pod *v1.Pod, c *v1.Container) v1.SecurityContext {
	p := podContext(pod)
	var s v1.SecurityContext
	if c.SecurityContext != nil {
		s = *c.SecurityContext
	}
	if s.RunAsUser == nil {
		s.RunAsUser = p.RunAsUser
	}
	if s.RunAsGroup == nil {
		s.RunAsGroup = p.RunAsGroup
	}
	if s.RunAsNonRoot == nil {
		s.RunAsNonRoot = p.RunAsNonRoot
	}
	if s.SeccompProfile == nil {
		s.SeccompProfile = p.SeccompProfile
	}
	if s.AppArmorProfile == nil {
		s.AppArmorProfile = p.AppArmorProfile
	}
	if s.SELinuxOptions == nil {
		s.SELinuxOptions = p.SELinuxOptions
	}
	return s
}

func on(b *bool) bool { return b != nil && *b }

// checkNonRoot refuses a container that must not run as root but would, or
// might.
func checkNonRoot(pod *v1.Pod, c *v1.Container, s *v1.SecurityContext, image Image) error {
	if !on(s.RunAsNonRoot) {
		return nil
	}
	where := fmt.Sprintf("(pod: \"%s_%s(%s)\", container: %s)", pod.Name, pod.Namespace, pod.UID, c.Name)
	switch {
	case s.RunAsUser != nil && *s.RunAsUser == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
	case s.RunAsUser != nil:
		return nil
	case image.UID != nil && *image.UID == 0, image.UID == nil && image.Username == "":
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case image.UID == nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Username, where)
	}
	return nil
}

// seccomp: the runtime's default profile confines what does not ask otherwise.
func (n *Node) seccomp(p *v1.SeccompProfile, privileged bool) *runtimeapi.SecurityProfile {
	if p == nil {
		if privileged {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	}
	switch p.Type {
	case v1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	case v1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile != nil {
			return &runtimeapi.SecurityProfile{
				ProfileType:  runtimeapi.SecurityProfile_Localhost,
				LocalhostRef: filepath.Join(n.SeccompDir, filepath.Clean("/"+*p.LocalhostProfile)),
			}
		}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
}

func apparmor(p *v1.AppArmorProfile) *runtimeapi.SecurityProfile {
	if p == nil {
		return nil
	}
	switch p.Type {
	case v1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	case v1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile != nil {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}
		}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
}

func selinux(o *v1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

// namespaces of the pod: shared by its containers, its own, or the node's.
func namespaces(pod *v1.Pod) *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{
		Network: runtimeapi.NamespaceMode_POD,
		Ipc:     runtimeapi.NamespaceMode_POD,
		Pid:     runtimeapi.NamespaceMode_CONTAINER,
	}
	if pod.Spec.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case pod.Spec.HostPID:
		o.Pid = runtimeapi.NamespaceMode_NODE
	case on(pod.Spec.ShareProcessNamespace):
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	return o
}

func int64Value(v *int64) *runtimeapi.Int64Value {
	if v == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *v}
}

// groups returns the supplemental groups of the pod's processes, the owner
// group of its volumes among them.
func groups(pod *v1.Pod, extra []int64) ([]int64, runtimeapi.SupplementalGroupsPolicy) {
	p := podContext(pod)
	list := append([]int64(nil), p.SupplementalGroups...)
	if p.FSGroup != nil {
		list = append(list, *p.FSGroup)
	}
	list = append(list, extra...)
	policy := runtimeapi.SupplementalGroupsPolicy_Merge
	if p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		policy = runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return list, policy
}

// containerSecurity returns the container's confinement.
func (n *Node) containerSecurity(pod *v1.Pod, c *v1.Container, image Image, target string) (*runtimeapi.LinuxContainerSecurityContext, error) {
	s := effective(pod, c)
	if err := checkNonRoot(pod, c, &s, image); err != nil {
		return nil, err
	}
	privileged := on(s.Privileged)
	out := &runtimeapi.LinuxContainerSecurityContext{
		Privileged:       privileged,
		NamespaceOptions: namespaces(pod),
		RunAsUser:        int64Value(s.RunAsUser),
		RunAsGroup:       int64Value(s.RunAsGroup),
		ReadonlyRootfs:   on(s.ReadOnlyRootFilesystem),
		NoNewPrivs:       s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation,
		Seccomp:          n.seccomp(s.SeccompProfile, privileged),
		Apparmor:         apparmor(s.AppArmorProfile),
		SelinuxOptions:   selinux(s.SELinuxOptions),
	}
	out.SupplementalGroups, out.SupplementalGroupsPolicy = groups(pod, nil)
	if out.RunAsUser == nil {
		if image.UID != nil {
			out.RunAsUser = int64Value(image.UID)
		} else {
			out.RunAsUsername = image.Username
		}
	}
	if s.Capabilities != nil {
		out.Capabilities = &runtimeapi.Capability{}
		for _, a := range s.Capabilities.Add {
			out.Capabilities.AddCapabilities = append(out.Capabilities.AddCapabilities, string(a))
		}
		for _, d := range s.Capabilities.Drop {
			out.Capabilities.DropCapabilities = append(out.Capabilities.DropCapabilities, string(d))
		}
	}
	if !privileged && (s.ProcMount == nil || *s.ProcMount != v1.UnmaskedProcMount) {
		out.MaskedPaths, out.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	if target != "" {
		out.NamespaceOptions.Pid = runtimeapi.NamespaceMode_TARGET
		out.NamespaceOptions.TargetId = target
	}
	return out, nil
}
