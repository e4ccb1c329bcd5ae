package table

import "k8s.io/apimachinery/pkg/runtime/schema"

func kinds() map[schema.GroupKind]kind {
	core := func(k string) schema.GroupKind { return schema.GroupKind{Kind: k} }
	in := func(group, k string) schema.GroupKind { return schema.GroupKind{Group: group, Kind: k} }
	const rbac, storage, networking = "rbac.authorization.k8s.io", "storage.k8s.io", "networking.k8s.io"
	return map[schema.GroupKind]kind{
		core("ConfigMap"):                configMap,
		core("Endpoints"):                endpoints,
		core("Event"):                    event,
		core("Namespace"):                namespace,
		core("Node"):                     node,
		core("PersistentVolume"):         persistentVolume,
		core("PersistentVolumeClaim"):    persistentVolumeClaim,
		core("Pod"):                      pod,
		core("PodTemplate"):              podTemplate,
		core("ReplicationController"):    replicationController,
		core("ResourceQuota"):            resourceQuota,
		core("Secret"):                   secret,
		core("Service"):                  service,
		core("ServiceAccount"):           serviceAccount,
		in("apps", "ControllerRevision"): controllerRevision,
		in("apps", "DaemonSet"):          daemonSet,
		in("apps", "Deployment"):         deployment,
		in("apps", "ReplicaSet"):         replicaSet,
		in("apps", "StatefulSet"):        statefulSet,
		in("autoscaling", "Scale"):       scale,
		in("batch", "CronJob"):           cronJob,
		in("batch", "Job"):               job,
		in("certificates.k8s.io", "CertificateSigningRequest"): certificateSigningRequest,
		in("coordination.k8s.io", "Lease"):                     lease,
		in("discovery.k8s.io", "EndpointSlice"):                endpointSlice,
		in(networking, "Ingress"):                              ingress,
		in(networking, "IngressClass"):                         ingressClass,
		in(networking, "NetworkPolicy"):                        networkPolicy,
		in("node.k8s.io", "RuntimeClass"):                      runtimeClass,
		in("policy", "PodDisruptionBudget"):                    podDisruptionBudget,
		in(rbac, "ClusterRoleBinding"):                         clusterRoleBinding,
		in(rbac, "RoleBinding"):                                roleBinding,
		in("scheduling.k8s.io", "PriorityClass"):               priorityClass,
		in(storage, "CSIDriver"):                               csiDriver,
		in(storage, "CSINode"):                                 csiNode,
		in(storage, "StorageClass"):                            storageClass,
		in(storage, "VolumeAttachment"):                        volumeAttachment,
		in(storage, "VolumeAttributesClass"):                   volumeAttributesClass,
	}
}
