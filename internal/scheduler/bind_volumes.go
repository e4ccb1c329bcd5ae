package scheduler

import (
	"context"
	"encoding/json"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"
)

// bindVolumes has the claims bound that waited for a pod's node, and the pod
// wait until they are; the node is kept for it. It returns false if nothing is
// to be bound. What was asked for before is not asked for again, and nothing is
// remembered: whenever one of the claims changes, the pod is decided on anew.
func (s *Scheduler) bindVolumes(ctx context.Context, it *item, n *node) bool {
	if !it.class.claims {
		return false
	}
	plan, _ := s.volumes.of(it.pod).plan(n)
	if len(plan) == 0 {
		return false
	}
	it.backOff(s.clock.Now())
	it.claims = true
	s.queue.push(it, waiting)
	s.nominate(it, n.name)
	s.tellNomination(ctx, it)
	nodeName := n.name
	s.binders.do(func() { s.askForVolumes(ctx, it, plan, nodeName) })
	return true
}

func (s *Scheduler) askForVolumes(ctx context.Context, it *item, plan []wanted, nodeName string) {
	for _, w := range plan {
		err := s.askForVolume(ctx, w, nodeName)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			s.log.Warn("scheduler: a claim could not be bound", "namespace", w.claim.Namespace, "name", w.claim.Name, "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if it.at == waiting {
			s.queue.take(it)
			s.queue.push(it, delayed)
			s.poke()
		}
		return
	}
}

func (s *Scheduler) askForVolume(ctx context.Context, w wanted, nodeName string) error {
	if w.volume != nil {
		pv, changed, err := volume.GetBindVolumeToClaim(w.volume, w.claim)
		if err != nil || !changed {
			return err
		}
		_, err = s.client.CoreV1().PersistentVolumes().Update(ctx, pv, metav1.UpdateOptions{})
		return err
	}
	if w.claim.Annotations[selectedNode] == nodeName {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": w.claim.UID, "resourceVersion": w.claim.ResourceVersion, "annotations": map[string]string{selectedNode: nodeName},
	}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().PersistentVolumeClaims(w.claim.Namespace).Patch(ctx, w.claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// onClaim tries the pods again that wait for a claim.
func (s *Scheduler) onClaim(claim *v1.PersistentVolumeClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.queue.wakeClaimants(now, func(pod *v1.Pod) bool { return pod.Namespace == claim.Namespace && claims(pod, claim.Name) })
	s.poke()
}

// onVolumes tries the pods again that a volume or a class may help.
func (s *Scheduler) onVolumes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.queue.wakeClaimants(now, func(*v1.Pod) bool { return true })
	s.queue.wakeCoupled(now)
	s.poke()
}
