package auth

import rbacv1 "k8s.io/api/rbac/v1"

// ControllerUser returns the identity that a controller works under: that of
// a ServiceAccount of its name in kube-system, as upstream's controllers have.
func ControllerUser(controller string) string {
	return ServiceAccountUser("kube-system", controller)
}

// controllers returns each controller's grant. All of them may write events.
func controllers() []Grant {
	table := []struct {
		name  string
		rules []rbacv1.PolicyRule
	}{
		{"certificate-controller", []rbacv1.PolicyRule{
			rule("get list watch delete", "certificates.k8s.io", "certificatesigningrequests"),
			rule("update", "certificates.k8s.io", "certificatesigningrequests/approval", "certificatesigningrequests/status"),
			only(rule("approve", "certificates.k8s.io", "signers"), "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"),
			only(rule("sign", "certificates.k8s.io", "signers"), "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client"),
			rule("create", "authorization.k8s.io", "subjectaccessreviews"),
			rule("list watch", "", "nodes"),
		}},
		{"cronjob-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "batch", "cronjobs"),
			rule("get list watch create update patch delete", "batch", "jobs"),
			rule("update", "batch", "cronjobs/status", "cronjobs/finalizers"),
			rule("list delete", "", "pods"),
		}},
		{"daemon-set-controller", []rbacv1.PolicyRule{
			rule(read, "apps", "daemonsets"),
			rule("update", "apps", "daemonsets/status", "daemonsets/finalizers"),
			rule("list watch", "", "nodes"),
			rule("list watch create delete patch", "", "pods"),
			rule("create", "", "pods/binding"),
			rule("get list watch create delete update patch", "apps", "controllerrevisions"),
		}},
		{"deployment-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "apps", "deployments"),
			rule("update", "apps", "deployments/status", "deployments/finalizers"),
			rule("get list watch create update patch delete", "apps", "replicasets"),
			rule("get list watch update", "", "pods"),
		}},
		{"disruption-controller", []rbacv1.PolicyRule{
			rule(read, "apps", "deployments", "replicasets", "statefulsets"),
			rule(read, "", "replicationcontrollers", "pods"),
			rule(read, "policy", "poddisruptionbudgets"),
			rule("update patch", "policy", "poddisruptionbudgets/status"),
			rule("patch update", "", "pods/status"),
			rule("get", "*", "*/scale"),
		}},
		{"endpoint-controller", []rbacv1.PolicyRule{
			rule(read, "", "services", "pods"),
			rule("get list watch create update delete", "", "endpoints"),
			rule("create", "", "endpoints/restricted"),
		}},
		{"endpointslice-controller", []rbacv1.PolicyRule{
			rule(read, "", "services", "pods", "nodes"),
			rule("update", "", "services/finalizers"),
			rule("get list watch create update delete", "discovery.k8s.io", "endpointslices"),
			rule("create", "discovery.k8s.io", "endpointslices/restricted"),
		}},
		{"endpointslicemirroring-controller", []rbacv1.PolicyRule{
			rule(read, "", "services", "endpoints"),
			rule("update", "", "services/finalizers", "endpoints/finalizers"),
			rule("get list watch create update delete", "discovery.k8s.io", "endpointslices"),
			rule("create", "discovery.k8s.io", "endpointslices/restricted"),
		}},
		{"generic-garbage-collector", []rbacv1.PolicyRule{
			rule("get list watch patch update delete", "*", "*"),
		}},
		{"job-controller", []rbacv1.PolicyRule{
			rule("get list watch update patch", "batch", "jobs"),
			rule("update", "batch", "jobs/status", "jobs/finalizers"),
			rule("list watch create delete patch", "", "pods"),
		}},
		{"namespace-controller", []rbacv1.PolicyRule{
			rule("get list watch delete", "", "namespaces"),
			rule("update", "", "namespaces/finalize", "namespaces/status"),
			rule("get list watch delete deletecollection", "*", "*"),
		}},
		{"node-controller", []rbacv1.PolicyRule{
			rule("get list watch update delete patch", "", "nodes"),
			rule("patch update", "", "nodes/status"),
			rule("get list watch delete", "", "pods"),
			rule("patch update", "", "pods/status"),
			rule(read, "coordination.k8s.io", "leases"),
			rule(read, "apps", "daemonsets"),
		}},
		{"pod-garbage-collector", []rbacv1.PolicyRule{
			rule("list watch delete", "", "pods"),
			rule("get list watch", "", "nodes"),
			rule("patch", "", "pods/status"),
		}},
		{"replicaset-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "apps", "replicasets"),
			rule("update", "apps", "replicasets/status", "replicasets/finalizers"),
			rule("get list watch create delete patch", "", "pods"),
		}},
		{"replication-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "", "replicationcontrollers"),
			rule("update", "", "replicationcontrollers/status", "replicationcontrollers/finalizers"),
			rule("get list watch create delete patch", "", "pods"),
		}},
		{"resourcequota-controller", []rbacv1.PolicyRule{
			rule("list watch", "*", "*"),
			rule("update", "", "resourcequotas/status"),
		}},
		{"root-ca-cert-publisher", []rbacv1.PolicyRule{
			rule("list watch", "", "namespaces"),
			rule("get list watch create update", "", "configmaps"),
		}},
		{"service-account-controller", []rbacv1.PolicyRule{
			rule("list watch", "", "namespaces"),
			rule("get list watch create", "", "serviceaccounts"),
		}},
		{"statefulset-controller", []rbacv1.PolicyRule{
			rule(read, "apps", "statefulsets"),
			rule("update", "apps", "statefulsets/status", "statefulsets/finalizers"),
			rule("get list watch create delete update patch", "", "pods"),
			rule("get list watch create delete update patch", "apps", "controllerrevisions"),
			rule("get list watch create update delete", "", "persistentvolumeclaims"),
		}},
		{"ttl-after-finished-controller", []rbacv1.PolicyRule{
			rule("get list watch delete", "batch", "jobs"),
		}},
		{"persistent-volume-binder", []rbacv1.PolicyRule{
			rule("get list watch create update patch delete", "", "persistentvolumes"),
			rule("get list watch update patch", "", "persistentvolumeclaims"),
			rule("update patch", "", "persistentvolumes/status", "persistentvolumeclaims/status"),
			rule("list watch get create delete", "", "pods"),
			rule(read, "storage.k8s.io", "storageclasses"),
			rule("list watch", "", "nodes"),
		}},
		{"pvc-protection-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "", "persistentvolumeclaims"),
			rule("get list watch", "", "pods"),
		}},
		{"pv-protection-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "", "persistentvolumes"),
		}},
		{"volumeattributesclass-protection-controller", []rbacv1.PolicyRule{
			rule("get list watch update", "storage.k8s.io", "volumeattributesclasses"),
			rule(read, "", "persistentvolumes", "persistentvolumeclaims"),
		}},
	}
	grants := make([]Grant, len(table))
	for i, c := range table {
		grants[i] = Grant{
			Role:  "system:controller:" + c.name,
			Users: []string{ControllerUser(c.name)},
			Rules: append(c.rules, events, newEvents),
		}
	}
	return grants
}
