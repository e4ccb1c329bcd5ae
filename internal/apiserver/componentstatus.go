package apiserver

import (
	"net/http"
	"strings"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// components are what clients ask the health of one by one. Here they are of
// the one process that answers, so that they are as healthy as the answer.
var components = []string{"scheduler", "controller-manager", "etcd-0"} // never changed

// componentStatus reads the statuses of components, which are not stored.
func (q *request) componentStatus() error {
	if strings.HasPrefix(q.r.URL.Path, "/api/v1/watch/") {
		return notServed()
	}
	can, list := shaped, q.verb == "list"
	if list {
		can |= collection
	}
	if err := q.negotiate(can); err != nil {
		return err
	}
	var o metav1.ListOptions
	if q.name == "" {
		var err error
		if o, err = scheme.ParseListOptions(q.query); err != nil {
			return err
		}
		if err := checkList(&o, !list); err != nil {
			return err
		}
	}
	if q.verb == "watch" {
		return apierrors.NewMethodNotSupported(q.kind.row.GroupResource(), q.verb)
	}
	sel, err := q.selection(&o)
	if err != nil {
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
		if e := cache.NewEntry(name, runtime.Object(&status), 0); sel.Matches(e) {
			p.entries = append(p.entries, e)
		}
	}
	switch {
	case q.verb == "list":
		return q.page(p)
	case len(p.entries) == 0:
		return apierrors.NewNotFound(schema.GroupResource{Resource: q.kind.row.Singular}, q.name)
	}
	return q.entry(http.StatusOK, p.entries[0])
}
