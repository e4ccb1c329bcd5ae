package podspec

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Sandbox returns the configuration of the pod's sandbox.
func (n *Node) Sandbox(pod *v1.Pod, attempt uint32) *runtimeapi.PodSandboxConfig {
	p := podContext(pod)
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt,
		},
		LogDirectory: n.LogDirectory(pod),
		DnsConfig:    n.dns(pod),
		Labels:       labels(pod),
		Annotations:  make(map[string]string, len(pod.Annotations)+1),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: n.CgroupParent(pod),
			Resources:    PodResources(pod),
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: namespaces(pod),
				Privileged:       privileged(pod),
				RunAsUser:        int64Value(p.RunAsUser),
				RunAsGroup:       int64Value(p.RunAsGroup),
				SelinuxOptions:   selinux(p.SELinuxOptions),
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
			},
		},
	}
	for k, v := range pod.Annotations {
		config.Annotations[k] = v
	}
	config.Annotations[annotationSource] = "api"
	sc := config.Linux.SecurityContext
	sc.SupplementalGroups, sc.SupplementalGroupsPolicy = groups(pod, nil)

	if pod.Spec.HostNetwork {
		config.Hostname = n.Hostname
	} else {
		host, domain := n.hostname(pod)
		if on(pod.Spec.SetHostnameAsFQDN) && domain != "" {
			host += "." + domain
		}
		config.Hostname = host
	}
	if len(p.Sysctls) > 0 {
		config.Linux.Sysctls = make(map[string]string, len(p.Sysctls))
		for _, s := range p.Sysctls {
			config.Linux.Sysctls[s.Name] = s.Value
		}
	}
	for _, list := range [...][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, port := range list[i].Ports {
				config.PortMappings = append(config.PortMappings, &runtimeapi.PortMapping{
					Protocol:      protocol(port.Protocol),
					ContainerPort: port.ContainerPort,
					HostPort:      port.HostPort,
					HostIp:        port.HostIP,
				})
			}
		}
	}
	return config
}

func protocol(p v1.Protocol) runtimeapi.Protocol {
	switch p {
	case v1.ProtocolUDP:
		return runtimeapi.Protocol_UDP
	case v1.ProtocolSCTP:
		return runtimeapi.Protocol_SCTP
	}
	return runtimeapi.Protocol_TCP
}

func privileged(pod *v1.Pod) bool {
	for _, list := range [...][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if s := list[i].SecurityContext; s != nil && on(s.Privileged) {
				return true
			}
		}
	}
	return false
}
