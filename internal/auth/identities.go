package auth

// Users and groups with a meaning of their own. The names are upstream's.
const (
	Masters            = "system:masters"
	Nodes              = "system:nodes"
	Authenticated      = "system:authenticated"
	Unauthenticated    = "system:unauthenticated"
	ServiceAccounts    = "system:serviceaccounts"
	Anonymous          = "system:anonymous"
	Admin              = "kubernetes-admin"
	APIServer          = "system:apiserver"
	APIServerToKubelet = "kube-apiserver-kubelet-client"
	Scheduler          = "system:kube-scheduler"
	ControllerManager  = "system:kube-controller-manager"
	Proxy              = "system:kube-proxy"
	DNS                = "system:kube-dns"

	nodePrefix           = "system:node:"
	serviceAccountPrefix = "system:serviceaccount:"
)

// NodeUser returns the user name of a node's kubelet.
func NodeUser(node string) string { return nodePrefix + node }

// ServiceAccountUser returns the user name of a ServiceAccount.
func ServiceAccountUser(namespace, name string) string {
	return serviceAccountPrefix + namespace + ":" + name
}

// ServiceAccountGroups returns the groups of a ServiceAccount, without
// system:authenticated, which every authenticated caller is in.
func ServiceAccountGroups(namespace string) []string {
	return []string{ServiceAccounts, ServiceAccounts + ":" + namespace}
}
