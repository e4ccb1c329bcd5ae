package admission

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources that plugins look at.
var (
	pods            = schema.GroupResource{Resource: "pods"}
	nodes           = schema.GroupResource{Resource: "nodes"}
	namespaces      = schema.GroupResource{Resource: "namespaces"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	limitRanges     = schema.GroupResource{Resource: "limitranges"}
	resourceQuotas  = schema.GroupResource{Resource: "resourcequotas"}
	claims          = schema.GroupResource{Resource: "persistentvolumeclaims"}
	priorityClasses = schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	storageClasses  = schema.GroupResource{Group: "storage.k8s.io", Resource: "storageclasses"}
	ingresses       = schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}
	ingressClasses  = schema.GroupResource{Group: "networking.k8s.io", Resource: "ingressclasses"}
	runtimeClasses  = schema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"}
	signingRequests = schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}
)

// forbidden is the 403 that keeps a write out, in upstream's form:
// `pods "x" is forbidden: why`.
func forbidden(a *Attributes, format string, args ...any) *apierrors.StatusError {
	return apierrors.NewForbidden(a.Resource.GroupResource(), objectName(a), fmt.Errorf(format, args...))
}

// forbiddenAll is forbidden for several reasons at once, written [a, b].
func forbiddenAll(a *Attributes, reasons []error) error {
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return forbidden(a, "%w", reasons[0])
	}
	text := "["
	for i, r := range reasons {
		if i > 0 {
			text += ", "
		}
		text += r.Error()
	}
	return apierrors.NewForbidden(a.Resource.GroupResource(), objectName(a), errors.New(text+"]"))
}

// objectName returns the best name there is before one was generated.
func objectName(a *Attributes) string {
	if a.Name != "" {
		return a.Name
	}
	if o, ok := a.Object.(metav1.Object); ok {
		if o.GetName() != "" {
			return o.GetName()
		}
		if o.GetGenerateName() != "" {
			return o.GetGenerateName()
		}
	}
	return "Unknown"
}

// podOf returns the pod that a write makes or changes as a whole, or nil.
func podOf(a *Attributes, operations ...Operation) *corev1.Pod {
	if a.Subresource != "" || a.Resource.GroupResource() != pods {
		return nil
	}
	for _, o := range operations {
		if a.Operation == o {
			pod, _ := a.Object.(*corev1.Pod)
			return pod
		}
	}
	return nil
}
