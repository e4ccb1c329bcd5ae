// Package serviceaccount keeps a ServiceAccount named "default" in every
// namespace that is not being deleted.
package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the ServiceAccount controller.
type Controller struct {
	*controller.Loop[string]
	Config
	namespaces corelisters.NamespaceLister
	accounts   corelisters.ServiceAccountLister
}

const account = "default"

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	namespaces, accounts := c.Informers.Core().V1().Namespaces(), c.Informers.Core().V1().ServiceAccounts()
	s := &Controller{Config: c, namespaces: namespaces.Lister(), accounts: accounts.Lister()}
	s.Loop = controller.NewLoop("serviceaccount-controller", c, 2, s.sync)
	s.Watch(namespaces.Informer(), controller.On(func(before, now *corev1.Namespace) {
		if before == nil {
			s.Add(now.Name)
		}
	}))
	s.Watch(accounts.Informer(), controller.On(func(before, now *corev1.ServiceAccount) {
		if now == nil && before.Name == account {
			s.Add(before.Namespace)
		}
	}))
	return s
}

func (s *Controller) sync(ctx context.Context, namespace string) error {
	ns, err := s.namespaces.Get(namespace)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || ns.DeletionTimestamp != nil {
		return err
	}
	if _, err := s.accounts.ServiceAccounts(namespace).Get(account); !apierrors.IsNotFound(err) {
		return err
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	_, err = s.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, sa, metav1.CreateOptions{})
	return controller.IgnoreCreated(err)
}
