package kubelet

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// makeCgroup makes the cgroup that the sandbox's containers will be in.
func (k *Kubelet) makeCgroup(_ *v1.Pod, config *runtimeapi.PodSandboxConfig) error {
	if k.NoCgroups {
		return nil
	}
	return k.cgroups.Make(config.Linux.CgroupParent, config.Linux.Resources)
}

func (k *Kubelet) removeCgroup(pod *v1.Pod) error {
	if k.NoCgroups {
		return nil
	}
	return k.cgroups.Remove(k.spec.CgroupParent(pod))
}
