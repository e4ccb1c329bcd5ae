package table

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var node = show(
	columns(name,
		text("Status", "Whether the node is ready for pods."),
		text("Roles", "What the node is for."),
		age,
		text("Version", "Version of the node's kubelet."),
		wide(text("Internal-IP", "Address within the cluster.")),
		wide(text("External-IP", "Address outside the cluster.")),
		wide(text("OS-Image", "Operating system.")),
		wide(text("Kernel-Version", "Version of the kernel.")),
		wide(text("Container-Runtime", "Container runtime and its version."))),
	func(now time.Time, n *corev1.Node) []any {
		info := &n.Status.NodeInfo
		return []any{
			n.Name, nodeStatus(n), list(nodeRoles(n)), since(now, n.CreationTimestamp), info.KubeletVersion,
			nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
			or(info.OSImage, unknown), kernel(info), or(info.ContainerRuntimeVersion, unknown),
		}
	},
)

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			status = "NotReady"
			if c.Status == corev1.ConditionTrue {
				status = "Ready"
			}
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// nodeRoles reads the roles from either of the labels that state them.
func nodeRoles(n *corev1.Node) []string {
	var roles []string
	for k, v := range n.Labels {
		role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/")
		if k == "kubernetes.io/role" {
			role, ok = v, true
		}
		if ok && role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}

func nodeAddress(n *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return none
}

// kernel names the kernel, and what it runs on if that is known.
func kernel(info *corev1.NodeSystemInfo) string {
	if info.Architecture == "" {
		return or(info.KernelVersion, unknown)
	}
	return fmt.Sprintf("%s (%s)", or(info.KernelVersion, unknown), info.Architecture)
}
