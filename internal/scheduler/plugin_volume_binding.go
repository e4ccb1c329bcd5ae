package scheduler

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/component-helpers/storage/ephemeral"
	"k8s.io/component-helpers/storage/volume"
)

const (
	volumeBindingName = "VolumeBinding"
	// selectedNode is a claim's annotation that has its volume provisioned for
	// a node, and noProvisioner what a class says of which nothing is.
	selectedNode  = "volume.kubernetes.io/selected-node"
	noProvisioner = "kubernetes.io/no-provisioner"
	// afterVolumes is what upstream adds to VolumeBinding's own words.
	afterVolumes = "not found"
)

// volumes is VolumeBinding. It holds pods back until their claims are bound, and
// to nodes that the volumes can be reached from. Claims that wait for their
// first pod are bound, or a volume is asked for, when its node is decided; the
// pod itself is bound when they are.
type volumes struct {
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

func newVolumes(f informers.SharedInformerFactory) *volumes {
	core := f.Core().V1()
	return &volumes{core.PersistentVolumeClaims().Lister(), core.PersistentVolumes().Lister(), f.Storage().V1().StorageClasses().Lister()}
}

func (v *volumes) plugin() clusterPlugin {
	return clusterPlugin{name: volumeBindingName, prepare: func(_ *index, pod *v1.Pod, c *class, _ namespaces) clusterState {
		if !c.claims {
			return nil
		}
		return v.of(pod)
	}}
}

// claimOf returns the name of the claim of a volume, or "".
func claimOf(pod *v1.Pod, vol *v1.Volume) string {
	switch {
	case vol.PersistentVolumeClaim != nil:
		return vol.PersistentVolumeClaim.ClaimName
	case vol.Ephemeral != nil:
		return ephemeral.VolumeClaimName(pod, vol)
	}
	return ""
}

func hasClaims(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(vol v1.Volume) bool { return claimOf(pod, &vol) != "" })
}

func claims(pod *v1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(vol v1.Volume) bool { return claimOf(pod, &vol) == name })
}

// volumeState is what a pod's claims ask of nodes.
type volumeState struct {
	volumes *volumes
	// why the pod fits nowhere, whatever the node; "" if it may.
	why     string
	bound   []*v1.PersistentVolume
	lost    bool // a volume that a claim is bound to is not there
	delayed []delayedClaim

	refused, failedAffinity, failedFind, failedLost *failure
}

// delayedClaim is one that waits for its first pod's node.
type delayedClaim struct {
	claim *v1.PersistentVolumeClaim
	class *storagev1.StorageClass
	// candidates are the class's volumes.
	candidates []*v1.PersistentVolume
}

func (v *volumes) of(pod *v1.Pod) *volumeState {
	s := &volumeState{
		volumes:        v,
		failedAffinity: &failure{volumeBindingName, []string{"node(s) didn't match PersistentVolume's node affinity"}, true},
		failedFind:     &failure{volumeBindingName, []string{"node(s) didn't find available persistent volumes to bind"}, true},
		failedLost:     &failure{volumeBindingName, []string{"node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"}, true},
	}
	for i := range pod.Spec.Volumes {
		if s.why = s.add(pod, &pod.Spec.Volumes[i]); s.why != "" {
			s.refused = &failure{volumeBindingName, []string{s.why}, true}
			return s
		}
	}
	return s
}

// add takes in a volume of the pod, and returns why the pod must wait for it.
func (s *volumeState) add(pod *v1.Pod, vol *v1.Volume) string {
	name := claimOf(pod, vol)
	if name == "" {
		return ""
	}
	claim, err := s.volumes.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
	switch {
	case apierrors.IsNotFound(err) && vol.Ephemeral != nil:
		return fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
	case err != nil:
		return fmt.Sprintf("persistentvolumeclaim %q not found", name)
	case claim.Status.Phase == v1.ClaimLost:
		return fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, claim.Spec.VolumeName)
	case claim.DeletionTimestamp != nil:
		return fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
	}
	if vol.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(pod, claim); err != nil {
			return err.Error()
		}
	}
	if _, complete := claim.Annotations[volume.AnnBindCompleted]; complete && claim.Spec.VolumeName != "" {
		pv, err := s.volumes.volumes.Get(claim.Spec.VolumeName)
		if err != nil {
			s.lost = true
			return ""
		}
		s.bound = append(s.bound, pv)
		return ""
	}
	class, _ := s.volumes.classes.Get(volume.GetPersistentVolumeClaimClass(claim))
	if claim.Spec.VolumeName != "" || class == nil || class.VolumeBindingMode == nil || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		return "pod has unbound immediate PersistentVolumeClaims"
	}
	all, _ := s.volumes.volumes.List(labels.Everything()) // it reads memory
	d := delayedClaim{claim: claim, class: class}
	for _, pv := range all {
		if volume.GetPersistentVolumeClass(pv) == class.Name {
			d.candidates = append(d.candidates, pv)
		}
	}
	s.delayed = append(s.delayed, d)
	return ""
}

func (s *volumeState) filter(n *node) *failure {
	if s.refused != nil {
		return s.refused
	}
	if s.lost {
		return s.failedLost
	}
	for _, pv := range s.bound {
		if volume.CheckNodeAffinity(pv, n.obj.Labels) != nil {
			return s.failedAffinity
		}
	}
	if _, ok := s.plan(n); !ok {
		return s.failedFind
	}
	return nil
}

func (s *volumeState) scores([]*node) []int64 { return nil }
func (s *volumeState) shift(*placed, int)     {}

// wanted is what a claim needs to be bound: a volume that is there, or, if nil,
// one that is to be provisioned.
type wanted struct {
	claim  *v1.PersistentVolumeClaim
	volume *v1.PersistentVolume
}

// plan says what the pod's claims need on a node; false if they cannot have it.
func (s *volumeState) plan(n *node) (plan []wanted, ok bool) {
	taken := map[string]*v1.PersistentVolume{}
	for _, d := range s.delayed {
		if at, told := d.claim.Annotations[selectedNode]; told {
			if at != n.name {
				return nil, false
			}
			plan = append(plan, wanted{d.claim, nil})
			continue
		}
		pv, err := volume.FindMatchingVolume(d.claim, d.candidates, n.obj, taken, false, true)
		switch {
		case err == nil && pv != nil:
			taken[pv.Name] = pv
		case d.class.Provisioner == noProvisioner || !reaches(d.class, n.obj):
			return nil, false
		default:
			pv = nil
		}
		plan = append(plan, wanted{d.claim, pv})
	}
	return plan, true
}

// reaches tells whether volumes of a class can be provisioned for a node.
func reaches(class *storagev1.StorageClass, n *v1.Node) bool {
	return len(class.AllowedTopologies) == 0 || slices.ContainsFunc(class.AllowedTopologies, func(t v1.TopologySelectorTerm) bool {
		for _, e := range t.MatchLabelExpressions {
			value, ok := n.Labels[e.Key]
			if !ok || !slices.Contains(e.Values, value) {
				return false
			}
		}
		return true
	})
}
