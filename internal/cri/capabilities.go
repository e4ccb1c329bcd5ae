package cri

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// capabilityNames are all capabilities, by their number in the kernel.
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// defaultCapabilities are a container's that asks for nothing.
var defaultCapabilities = [...]string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID",
	"CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// capabilities works out a container's, in the order add, drop, as Kubernetes
// has it: what is dropped by name stays dropped. None above permitted is given:
// this process cannot give what it lacks.
func capabilities(sc *runtimeapi.LinuxContainerSecurityContext, permitted map[string]bool) *specs.LinuxCapabilities {
	set := map[string]bool{}
	give := func(names []string) {
		for _, name := range names {
			set[name] = true
		}
	}
	var ambient []string
	if sc.GetPrivileged() {
		give(capabilityNames[:])
	} else {
		give(defaultCapabilities[:])
		wanted := sc.GetCapabilities()
		if hasAll(wanted.GetAddCapabilities()) {
			give(capabilityNames[:])
		}
		if hasAll(wanted.GetDropCapabilities()) {
			clear(set)
		}
		for _, name := range wanted.GetAddCapabilities() {
			set[capabilityName(name)] = true
		}
		for _, name := range wanted.GetDropCapabilities() {
			delete(set, capabilityName(name))
		}
		for _, name := range wanted.GetAddAmbientCapabilities() {
			if name := capabilityName(name); permitted[name] {
				set[name] = true
				ambient = append(ambient, name)
			}
		}
	}
	list := []string{}
	for _, name := range capabilityNames {
		if set[name] && permitted[name] {
			list = append(list, name)
		}
	}
	caps := &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
	if len(ambient) > 0 {
		caps.Inheritable, caps.Ambient = ambient, ambient
	}
	return caps
}

func hasAll(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "ALL") })
}

// capabilityName is the kernel's name of what a manifest calls NET_ADMIN.
func capabilityName(name string) string {
	return "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_")
}
