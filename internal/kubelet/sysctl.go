package kubelet

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/util/sysctl"
)

// safeSysctls are those that a pod may set: they are of its own namespaces and
// cannot harm others.
var safeSysctls = [...]string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// forbiddenSysctl says which sysctl of the pod the node does not allow, and
// why. Patterns of unsafe ones may end in "*".
func forbiddenSysctl(pod *v1.Pod, unsafe []string) string {
	if pod.Spec.SecurityContext == nil {
		return ""
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := sysctl.NormalizeName(s.Name)
		allowed := slices.Contains(safeSysctls[:], name) || slices.ContainsFunc(unsafe, func(p string) bool {
			prefix, wild := strings.CutSuffix(sysctl.NormalizeName(p), "*")
			return name == prefix || wild && strings.HasPrefix(name, prefix)
		})
		if !allowed {
			return fmt.Sprintf("forbidden sysctl: %q not allowlisted", s.Name)
		}
		switch space, _, _ := sysctl.GetNamespace(name); {
		case space == sysctl.NetNamespace && pod.Spec.HostNetwork:
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host net enabled", s.Name)
		case space == sysctl.IPCNamespace && pod.Spec.HostIPC:
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host ipc enabled", s.Name)
		case space == sysctl.UnknownNamespace:
			return fmt.Sprintf("forbidden sysctl: %q is not of a namespace", s.Name)
		}
	}
	return ""
}
