package scheme

import rbacv1 "k8s.io/api/rbac/v1"

func rbacRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs, r.Prefix = "rbac.authorization.k8s.io", "v1", everyVerb, r.Name
		return r
	}
	return []*Resource{
		row[rbacv1.ClusterRoleBinding, rbacv1.ClusterRoleBindingList](in(Resource{
			Kind: "ClusterRoleBinding", Name: "clusterrolebindings", Singular: "clusterrolebinding",
			Default: defaulter(defaultClusterRoleBinding),
		})),
		row[rbacv1.ClusterRole, rbacv1.ClusterRoleList](in(Resource{
			Kind: "ClusterRole", Name: "clusterroles", Singular: "clusterrole",
		})),
		row[rbacv1.RoleBinding, rbacv1.RoleBindingList](in(Resource{
			Kind: "RoleBinding", Name: "rolebindings", Singular: "rolebinding", Namespaced: true,
			Default: defaulter(defaultRoleBinding),
		})),
		row[rbacv1.Role, rbacv1.RoleList](in(Resource{
			Kind: "Role", Name: "roles", Singular: "role", Namespaced: true,
		})),
	}
}
