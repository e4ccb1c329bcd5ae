package scheme

import appsv1 "k8s.io/api/apps/v1"

func defaultStatefulSet(set *appsv1.StatefulSet) {
	s := &set.Spec
	point(&s.Replicas, 1)
	point(&s.RevisionHistoryLimit, 10)
	fill(&s.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	if u := &s.UpdateStrategy; u.Type == "" {
		u.Type = appsv1.RollingUpdateStatefulSetStrategyType
		point(&u.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if u := &s.UpdateStrategy; u.Type == appsv1.RollingUpdateStatefulSetStrategyType && u.RollingUpdate != nil {
		point(&u.RollingUpdate.Partition, 0)
		// maxUnavailable (KEP-961) stays unset: it is off by default in v1.36.
	}
	// KEP-1847: claims outlive what made them unless asked otherwise.
	point(&s.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	fill(&s.PersistentVolumeClaimRetentionPolicy.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	fill(&s.PersistentVolumeClaimRetentionPolicy.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	defaultPodSpec(&s.Template.Spec)
	for i := range s.VolumeClaimTemplates {
		c := &s.VolumeClaimTemplates[i]
		fill(&c.APIVersion, "v1")
		fill(&c.Kind, "PersistentVolumeClaim")
		defaultPersistentVolumeClaim(c)
	}
}
