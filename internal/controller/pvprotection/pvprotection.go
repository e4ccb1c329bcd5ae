// Package pvprotection keeps a persistent volume that is being deleted until
// no claim is bound to it, by the finalizer kubernetes.io/pv-protection.
package pvprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

const finalizer = controller.Protection("kubernetes.io/pv-protection")

// Controller is the volumes' protection.
type Controller struct {
	*controller.Loop[string]
	Config
	volumes corelisters.PersistentVolumeLister
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	volumes := c.Informers.Core().V1().PersistentVolumes()
	p := &Controller{Config: c, volumes: volumes.Lister()}
	p.Loop = controller.NewLoop("persistentvolume-protection-controller", c, 1, p.sync)
	p.Watch(volumes.Informer(), controller.On(func(_, now *corev1.PersistentVolume) {
		if now != nil && change(now) != nil {
			p.Add(now.Name)
		}
	}))
	return p
}

// change returns what is to be done with the volume's finalizers, or nil.
func change(v *corev1.PersistentVolume) func(metav1.Object) {
	switch {
	case finalizer.Missing(v):
		return finalizer.Add
	case finalizer.Holds(v) && v.Status.Phase != corev1.VolumeBound:
		return finalizer.Remove
	}
	return nil
}

func (p *Controller) sync(ctx context.Context, name string) error {
	v, err := p.volumes.Get(name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	do := change(v)
	if do == nil {
		return nil
	}
	// The volume's version goes along: one that was bound meanwhile is kept.
	v = v.DeepCopy()
	do(v)
	_, err = p.Client.CoreV1().PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}
