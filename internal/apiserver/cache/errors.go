package cache

import (
	"errors"
	"fmt"

	"clipper/internal/store"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Expired is the 410 of a watch or list from a revision that is forgotten.
func Expired(asked, oldest int64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", asked, oldest))
}

// TooLarge is the 504 of a revision that has not been reached.
func TooLarge(asked, current int64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", asked, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return err
}

// storeError is the API's word for what a store answered to a read.
func storeError(err error, revision int64) error {
	switch {
	case errors.Is(err, store.ErrCompacted):
		return apierrors.NewResourceExpired(fmt.Sprintf("The provided continue parameter or resource version is too old: revision %d has been compacted", revision))
	case errors.Is(err, store.ErrFuture):
		return TooLarge(revision, revision-1)
	}
	return apierrors.NewInternalError(err)
}
