package apiserver

import (
	"net/http"

	"clipper/internal/apiserver/cache"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// components are what clients ask the health of one by one. Here they are of
// the one process that answers, so that they are as healthy as the answer.
var components = []string{"scheduler", "controller-manager", "etcd-0"} // never changed

// componentStatus reads the statuses of components, which are not stored.
func (q *request) componentStatus() error {
	if err := q.negotiate(shaped); err != nil {
		return err
	}
	var p page
	for _, name := range components {
		if q.name != "" && q.name != name {
			continue
		}
		status := corev1.ComponentStatus{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Conditions: []corev1.ComponentCondition{{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}},
		}
		status.SetGroupVersionKind(q.kind.row.GroupVersionKind())
		p.entries = append(p.entries, cache.NewEntry(name, runtime.Object(&status), 0))
	}
	switch {
	case q.verb == "list":
		return q.page(p)
	case len(p.entries) == 0:
		return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
	}
	return q.entry(http.StatusOK, p.entries[0])
}
