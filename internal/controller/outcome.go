package controller

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// IgnoreCreated returns nil for the errors of a creation that leave nothing to
// do: the object exists, or its namespace is going or gone.
func IgnoreCreated(err error) error {
	if apierrors.IsAlreadyExists(err) || NamespaceEnds(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// NamespaceEnds tells whether err refuses a creation because the namespace is
// being deleted. To try again is of no use.
func NamespaceEnds(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// IgnoreNotFound returns nil if err says that the object is gone.
func IgnoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// GoneOrChanged returns nil if err says that the object is gone, or is no
// longer the one that a precondition names.
func GoneOrChanged(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
