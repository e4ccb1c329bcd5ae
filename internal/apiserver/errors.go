package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	"clipper/internal/store"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

func conflict(gr schema.GroupResource, name string) error {
	return apierrors.NewConflict(gr, name, errModified)
}

// unmet says what an object is not that it is expected to be; empty is anything.
func unmet(uid types.UID, version string, m metav1.Object) error {
	switch {
	case uid != "" && uid != m.GetUID():
		return fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, m.GetUID())
	case version != "" && version != m.GetResourceVersion():
		return fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", version, m.GetResourceVersion())
	}
	return nil
}

// storeStatus is the answer to an error that is no Status.
func storeStatus(err error) metav1.Status {
	switch {
	case errors.Is(err, store.ErrNoSpace):
		return metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusInsufficientStorage, Reason: metav1.StatusReasonInternalError,
			Message: "no space left for the store: nothing was written; free disk space on the server, reads go on",
		}
	case errors.Is(err, store.ErrClosed):
		return apierrors.NewServiceUnavailable("the server is shutting down").ErrStatus
	}
	return metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}
}
