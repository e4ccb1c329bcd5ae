package node

import (
	"context"

	coordv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// lease is the node's sign of life.
type lease struct {
	n     *Node
	owner types.UID
	last  *coordv1.Lease
}

func (l *lease) renew(ctx context.Context) error {
	n := l.n
	leases := n.Client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now := metav1.NewMicroTime(n.Clock.Now())
	if l.last != nil {
		next := l.last.DeepCopy()
		next.Spec.RenewTime = &now
		got, err := leases.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil {
			l.last = got
			return nil
		}
		l.last = nil
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	seconds := int32(leaseSeconds)
	want := &coordv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, Namespace: v1.NamespaceNodeLease,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: l.owner}},
		},
		Spec: coordv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	got, err := leases.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if got, err = leases.Get(ctx, n.Name, metav1.GetOptions{}); err == nil {
			got = got.DeepCopy()
			got.OwnerReferences, got.Spec = want.OwnerReferences, want.Spec
			got, err = leases.Update(ctx, got, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return err
	}
	l.last = got
	return nil
}
