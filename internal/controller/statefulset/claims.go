package statefulset

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clipper/internal/controller"
)

func claimName(template, pod string) string { return template + "-" + pod }

// claim makes the claims that a pod's volumes need and that are not there.
func (s *Controller) claim(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		name := claimName(t.Name, pod.Name)
		have, err := s.claims.PersistentVolumeClaims(set.Namespace).Get(name)
		if err == nil && have.DeletionTimestamp != nil {
			return fmt.Errorf("pvc %s is being deleted", name)
		}
		if !apierrors.IsNotFound(err) {
			if err != nil {
				return err
			}
			continue
		}
		c := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: set.Namespace, Annotations: maps.Clone(t.Annotations), Labels: maps.Clone(t.Labels),
			},
			Spec: *t.Spec.DeepCopy(),
		}
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		maps.Copy(c.Labels, set.Spec.Selector.MatchLabels)
		if policy := set.Spec.PersistentVolumeClaimRetentionPolicy; policy != nil && policy.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
			c.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, kind)}
		}
		_, err = s.Client.CoreV1().PersistentVolumeClaims(set.Namespace).Create(ctx, c, metav1.CreateOptions{})
		switch {
		case apierrors.IsAlreadyExists(err):
		case err == nil:
			s.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "Create Claim %s Pod %s in StatefulSet %s success", name, pod.Name, set.Name)
		default:
			if !controller.NamespaceEnds(err) && ctx.Err() == nil {
				s.events.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "Create Claim %s for Pod %s in StatefulSet %s failed error: %s", name, pod.Name, set.Name, err)
			}
			return err
		}
	}
	return nil
}

// retain makes a pod's claims owned by whoever takes them along when it goes:
// the set, the pod that is beyond the set's size, or nobody (KEP-1847).
func (s *Controller) retain(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	policy := set.Spec.PersistentVolumeClaimRetentionPolicy
	n, ok := ordinalOf(set.Name, pod.Name)
	if policy == nil || !ok {
		return nil
	}
	first, end := bounds(set)
	byPod := policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType && (n < first || n >= end)
	bySet := policy.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType && !byPod
	for i := range set.Spec.VolumeClaimTemplates {
		c, err := s.claims.PersistentVolumeClaims(set.Namespace).Get(claimName(set.Spec.VolumeClaimTemplates[i].Name, pod.Name))
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		owners := slices.DeleteFunc(slices.Clone(c.OwnerReferences), func(r metav1.OwnerReference) bool {
			return r.UID == set.UID || r.UID == pod.UID
		})
		if bySet {
			owners = append(owners, *metav1.NewControllerRef(set, kind))
		}
		if byPod {
			owners = append(owners, *metav1.NewControllerRef(pod, corev1.SchemeGroupVersion.WithKind("Pod")))
		}
		if slices.EqualFunc(owners, c.OwnerReferences, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID }) {
			continue
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": c.UID, "resourceVersion": c.ResourceVersion, "ownerReferences": owners,
		}})
		if err != nil {
			return err
		}
		if _, err := s.Client.CoreV1().PersistentVolumeClaims(c.Namespace).Patch(ctx, c.Name, types.MergePatchType, body, metav1.PatchOptions{}); controller.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
