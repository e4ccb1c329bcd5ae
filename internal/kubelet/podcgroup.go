package kubelet

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/podspec"
)

// makeCgroup makes the cgroup that the sandbox's containers will be in.
func (k *Kubelet) makeCgroup(config *runtimeapi.PodSandboxConfig) error {
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

// shareCPULocked weighs the classes of pods against each other: those without
// requests get next to nothing when others want the processor, burstable ones
// together what they request. It is called when the pods on the node change.
func (k *Kubelet) shareCPULocked() error {
	if k.NoCgroups {
		return nil
	}
	var milli int64
	for _, c := range k.claimed {
		if c.class == v1.PodQOSBurstable {
			milli += c.requests.Cpu().MilliValue()
		}
	}
	shares := podspec.Shares(milli)
	if shares == k.burstableShares {
		return nil
	}
	if k.burstableShares == 0 {
		if err := k.cgroups.Make(k.spec.ClassCgroup(v1.PodQOSBestEffort), &runtimeapi.LinuxContainerResources{CpuShares: podspec.Shares(0)}); err != nil {
			return err
		}
	}
	if err := k.cgroups.Make(k.spec.ClassCgroup(v1.PodQOSBurstable), &runtimeapi.LinuxContainerResources{CpuShares: shares}); err != nil {
		return err
	}
	k.burstableShares = shares
	return nil
}

// claimLocked notes what a pod on the node takes of it.
func (k *Kubelet) claimLocked(pod *v1.Pod, c claim) {
	c.class = lifecycle.QOS(pod)
	k.claimed[pod.UID] = c
	k.reweighLocked()
}

func (k *Kubelet) reweighLocked() {
	if err := k.shareCPULocked(); err != nil {
		k.Logger.Warn("processor not shared between classes of pods", "err", err)
	}
}
