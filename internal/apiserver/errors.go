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

// uidConflict and versionConflict are failed preconditions.
func uidConflict(gr schema.GroupResource, name string, want, have types.UID) error {
	return apierrors.NewConflict(gr, name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", want, have))
}

func versionConflict(gr schema.GroupResource, name, want, have string) error {
	return apierrors.NewConflict(gr, name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", want, have))
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
