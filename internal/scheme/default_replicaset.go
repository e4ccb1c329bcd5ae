package scheme

import appsv1 "k8s.io/api/apps/v1"

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	point(&r.Spec.Replicas, 1)
	defaultPodSpec(&r.Spec.Template.Spec)
}
