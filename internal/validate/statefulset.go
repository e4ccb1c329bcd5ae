package validate

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
)

var statefulSetRules = &rules{ // never changed
	// Pods' host names are made of it.
	name:         apivalidation.NameIsDNSLabel,
	create:       rule(statefulSet),
	update:       change(statefulSetUpdate),
	subresources: subresources{"status": change(statefulSetStatus)},
	warnings: warning(func(t, old *appsv1.StatefulSet) []string {
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = &old.Spec.Template
		}
		out := templateWarnings(&t.Spec.Template, was)
		for i := range t.Spec.VolumeClaimTemplates {
			r, at := &t.Spec.VolumeClaimTemplates[i].Spec.Resources, specPath.Child("volumeClaimTemplates").Index(i).Child("resources")
			out = append(out, storageWarnings(r, at)...)
		}
		if n := t.Spec.RevisionHistoryLimit; n != nil && *n < 0 {
			out = append(out, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
		}
		return out
	}),
}

func statefulSet(e *problems, t *appsv1.StatefulSet) {
	statefulSetSpec(e, t)
	for i := range t.Spec.VolumeClaimTemplates {
		claimSpec(e, &t.Spec.VolumeClaimTemplates[i].Spec, specPath.Child("volumeClaimTemplates").Index(i).Child("spec"))
	}
	if n := t.Spec.ServiceName; n != "" {
		e.check(specPath, "serviceName", n, validation.IsDNS1123Label)
	}
}

// statefulSetSpec judges what may be changed later.
func statefulSetSpec(e *problems, t *appsv1.StatefulSet) {
	s := &t.Spec
	switch s.PodManagementPolicy {
	case "":
		e.required(specPath.Child("podManagementPolicy"), "")
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		e.invalid(specPath.Child("podManagementPolicy"), s.PodManagementPolicy,
			fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement))
	}
	statefulSetStrategy(e, &s.UpdateStrategy)
	if p := s.PersistentVolumeClaimRetentionPolicy; p != nil {
		at := specPath.Child("persistentVolumeClaimRetentionPolicy")
		oneOf(e, at, "whenDeleted", p.WhenDeleted, appsv1.DeletePersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
		oneOf(e, at, "whenScaled", p.WhenScaled, appsv1.DeletePersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	}
	replicas(e, s.Replicas)
	e.notNegative(specPath, "minReadySeconds", int64(s.MinReadySeconds))
	if s.Ordinals != nil {
		e.notNegative(specPath.Child("ordinals"), "start", int64(s.Ordinals.Start))
	}
	workloadSelector(e, s.Selector, &s.Template, "empty selector is invalid for statefulset", new(string))
	podTemplate(e, asNamed(withClaims(&s.Template, s.VolumeClaimTemplates)), specPath.Child("template"))
	neverEnds(e, &s.Template, "StatefulSet")
}

// asNamed returns the template as its pods get it: with names that are the set's to give.
func asNamed(t *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	named := *t
	named.Spec.Hostname, named.Spec.Subdomain = "", ""
	return &named
}

// withClaims returns the template as its pods get it: with a volume for each of
// their claims, before and instead of those of the template.
func withClaims(t *corev1.PodTemplateSpec, claims []corev1.PersistentVolumeClaim) *corev1.PodTemplateSpec {
	if len(claims) == 0 {
		return t
	}
	all := make([]corev1.Volume, 0, len(claims)+len(t.Spec.Volumes))
	for i := range claims {
		if slices.ContainsFunc(claims[:i], func(c corev1.PersistentVolumeClaim) bool { return c.Name == claims[i].Name }) {
			continue
		}
		all = append(all, corev1.Volume{Name: claims[i].Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claims[i].Name},
		}})
	}
	for _, v := range t.Spec.Volumes {
		if !slices.ContainsFunc(claims, func(c corev1.PersistentVolumeClaim) bool { return c.Name == v.Name }) {
			all = append(all, v)
		}
	}
	whole := *t
	whole.Spec.Volumes = all
	return &whole
}

func statefulSetStrategy(e *problems, s *appsv1.StatefulSetUpdateStrategy) {
	at := specPath.Child("updateStrategy")
	switch s.Type {
	case "":
		e.required(at, "")
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			e.invalid(at.Child("rollingUpdate"), s.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))
		}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		r, at := s.RollingUpdate, at.Child("rollingUpdate")
		if r == nil {
			return
		}
		if r.Partition != nil {
			e.notNegative(at, "partition", int64(*r.Partition))
		}
		if u := r.MaxUnavailable; u != nil {
			intOrPercent(e, u, at.Child("maxUnavailable"))
			if isZero(u) {
				e.invalid(at.Child("maxUnavailable"), u, "cannot be 0")
			}
			atMostAll(e, u, at.Child("maxUnavailable"))
		}
	default:
		e.invalid(at, s, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))
	}
}

func statefulSetUpdate(e *problems, t, old *appsv1.StatefulSet) {
	statefulSetSpec(e, t)
	left := t.Spec // what may change is made as it was
	was := &old.Spec
	left.Replicas, left.Template, left.UpdateStrategy, left.MinReadySeconds = was.Replicas, was.Template, was.UpdateStrategy, was.MinReadySeconds
	left.Ordinals, left.RevisionHistoryLimit = was.Ordinals, was.RevisionHistoryLimit
	left.PersistentVolumeClaimRetentionPolicy = was.PersistentVolumeClaimRetentionPolicy
	if !sameSpec(&left, was) {
		e.forbidden(specPath, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden")
	}
}

func statefulSetStatus(e *problems, t, old *appsv1.StatefulSet) {
	s := &t.Status
	e.notNegative(statusPath, "replicas", int64(s.Replicas))
	e.notNegative(statusPath, "readyReplicas", int64(s.ReadyReplicas))
	e.notNegative(statusPath, "currentReplicas", int64(s.CurrentReplicas))
	e.notNegative(statusPath, "updatedReplicas", int64(s.UpdatedReplicas))
	e.notNegative(statusPath, "availableReplicas", int64(s.AvailableReplicas))
	e.notNegative(statusPath, "observedGeneration", s.ObservedGeneration)
	const text = "cannot be greater than status.replicas"
	atMost(e, "readyReplicas", s.ReadyReplicas, s.Replicas, text)
	atMost(e, "currentReplicas", s.CurrentReplicas, s.Replicas, text)
	atMost(e, "updatedReplicas", s.UpdatedReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than status.readyReplicas")
	collisions(e, s.CollisionCount, old.Status.CollisionCount)
}
