package table

import (
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func bindingColumns() []metav1.TableColumnDefinition {
	return columns(name,
		text("Role", "The role that is given."),
		age,
		wide(text("Users", "Users it is given to.")),
		wide(text("Groups", "Groups it is given to.")),
		wide(text("ServiceAccounts", "Service accounts it is given to.")))
}

var roleBinding = show(bindingColumns(), func(now time.Time, b *rbacv1.RoleBinding) []any {
	return bindingCells(now, &b.ObjectMeta, b.RoleRef, b.Subjects)
})

var clusterRoleBinding = show(bindingColumns(), func(now time.Time, b *rbacv1.ClusterRoleBinding) []any {
	return bindingCells(now, &b.ObjectMeta, b.RoleRef, b.Subjects)
})

func bindingCells(now time.Time, m *metav1.ObjectMeta, role rbacv1.RoleRef, subjects []rbacv1.Subject) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{
		m.Name, role.Kind + "/" + role.Name, since(now, m.CreationTimestamp),
		strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", "),
	}
}
