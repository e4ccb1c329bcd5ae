// Package tokencleaner removes bootstrap tokens that have expired. They let
// nobody in any more; removing them keeps the list of tokens true.
package tokencleaner

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/auth"
	"clipper/internal/controller"
)

// Controller is the cleaner of bootstrap tokens.
type Controller struct {
	*controller.Loop[string]
	controller.Config
	secrets corelisters.SecretNamespaceLister
}

// New returns the controller; Run starts it.
func New(c controller.Config) *Controller {
	// An informer of just these Secrets, which are few.
	informer := coreinformers.NewFilteredSecretInformer(c.Client, metav1.NamespaceSystem, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("type", string(auth.BootstrapTokenType)).String()
		})
	t := &Controller{Config: c, secrets: corelisters.NewSecretLister(informer.GetIndexer()).Secrets(metav1.NamespaceSystem)}
	t.Loop = controller.NewLoop("token-cleaner-controller", c, 1, t.sync)
	t.Own(informer)
	t.Watch(informer, controller.On(func(_, now *corev1.Secret) {
		if now != nil && now.Type == auth.BootstrapTokenType {
			t.Add(now.Name)
		}
	}))
	return t
}

func (t *Controller) sync(ctx context.Context, name string) error {
	s, err := t.secrets.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := auth.ReadBootstrapSecret(s)
	if err != nil || info.Expires.IsZero() {
		return nil // nothing says that it has had its time; it may be someone's mistake
	}
	if left := info.Expires.Sub(t.Clock.Now()); left > 0 {
		t.AddAfter(name, left)
		return nil
	}
	o := metav1.NewPreconditionDeleteOptions(string(s.UID))
	return controller.GoneOrChanged(t.Client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, name, *o))
}
