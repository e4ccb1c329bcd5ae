// Package rootca keeps the ConfigMap kube-root-ca.crt, with the certificates
// pods trust the API server by, in every namespace that is not being deleted.
package rootca

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/controller"
)

const (
	name        = "kube-root-ca.crt"
	annotation  = "kubernetes.io/description"
	description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

// Config adds the certificates.
type Config struct {
	controller.Config
	// CA is the bundle in PEM.
	CA []byte
}

// Controller is the root certificates' publisher.
type Controller struct {
	*controller.Loop[string]
	Config
	namespaces corelisters.NamespaceLister
	configMaps corelisters.ConfigMapLister
	data       map[string]string
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	namespaces := c.Informers.Core().V1().Namespaces()
	// An informer of just these ConfigMaps: others, of which there may be
	// many and busy ones, are neither held nor heard of.
	informer := coreinformers.NewFilteredConfigMapInformer(c.Client, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		})
	p := &Controller{
		Config: c, namespaces: namespaces.Lister(), configMaps: corelisters.NewConfigMapLister(informer.GetIndexer()),
		data: map[string]string{"ca.crt": string(c.CA)},
	}
	p.Loop = controller.NewLoop("root-ca-certificate-publisher-controller", c.Config, 2, p.sync)
	p.Own(informer)
	p.Watch(informer, controller.On(func(before, now *corev1.ConfigMap) {
		if now == nil {
			now = before
		}
		if now.Name == name {
			p.Add(now.Namespace)
		}
	}))
	p.Watch(namespaces.Informer(), controller.On(func(before, now *corev1.Namespace) {
		if before == nil {
			p.Add(now.Name)
		}
	}))
	return p
}

func (p *Controller) sync(ctx context.Context, namespace string) error {
	ns, err := p.namespaces.Get(namespace)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || ns.DeletionTimestamp != nil {
		return err
	}
	have, err := p.configMaps.ConfigMaps(namespace).Get(name)
	client := p.Client.CoreV1().ConfigMaps(namespace)
	switch {
	case apierrors.IsNotFound(err):
		_, err := client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: namespace, Annotations: map[string]string{annotation: description},
			},
			Data: p.data,
		}, metav1.CreateOptions{})
		return controller.IgnoreCreated(err)
	case err != nil:
		return err
	case maps.Equal(have.Data, p.data) && have.Annotations[annotation] != "":
		return nil
	}
	want := have.DeepCopy()
	want.Data = p.data
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[annotation] = description
	_, err = client.Update(ctx, want, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}
