// Package vacprotection keeps a VolumeAttributesClass that is being deleted
// until no volume has it and no claim has or wants it, by the finalizer
// kubernetes.io/vac-protection (KEP-3751).
package vacprotection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

const finalizer = controller.Protection("kubernetes.io/vac-protection")

// Controller is the classes' protection.
type Controller struct {
	*controller.Loop[string]
	Config
	classes storagelisters.VolumeAttributesClassLister
	volumes corelisters.PersistentVolumeLister
	claims  corelisters.PersistentVolumeClaimLister
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	core := c.Informers.Core().V1()
	classes, volumes, claims := c.Informers.Storage().V1().VolumeAttributesClasses(), core.PersistentVolumes(), core.PersistentVolumeClaims()
	p := &Controller{Config: c, classes: classes.Lister(), volumes: volumes.Lister(), claims: claims.Lister()}
	p.Loop = controller.NewLoop("volumeattributesclass-protection-controller", c, 1, p.sync)
	p.Watch(classes.Informer(), controller.On(func(_, now *storagev1.VolumeAttributesClass) {
		if now != nil && (finalizer.Missing(now) || finalizer.Holds(now)) {
			p.Add(now.Name)
		}
	}))
	p.Watch(volumes.Informer(), controller.On(func(before, now *corev1.PersistentVolume) {
		p.left(volumeUses(before), volumeUses(now))
	}))
	p.Watch(claims.Informer(), controller.On(func(before, now *corev1.PersistentVolumeClaim) {
		p.left(claimUses(before), claimUses(now))
	}))
	return p
}

// names are the classes that one object refers to; "" is none.
type names [3]string

// left has the classes looked at that were referred to before and are not now.
func (p *Controller) left(before, now names) {
	for _, n := range before {
		if n != "" && !slices.Contains(now[:], n) {
			p.Add(n)
		}
	}
}

func volumeUses(v *corev1.PersistentVolume) (n names) {
	if v != nil && v.Spec.VolumeAttributesClassName != nil {
		n[0] = *v.Spec.VolumeAttributesClassName
	}
	return n
}

func claimUses(c *corev1.PersistentVolumeClaim) (n names) {
	if c == nil {
		return n
	}
	if s := c.Spec.VolumeAttributesClassName; s != nil {
		n[0] = *s
	}
	if s := c.Status.CurrentVolumeAttributesClassName; s != nil {
		n[1] = *s
	}
	if s := c.Status.ModifyVolumeStatus; s != nil {
		n[2] = s.TargetVolumeAttributesClassName
	}
	return n
}

func (p *Controller) sync(ctx context.Context, name string) error {
	class, err := p.classes.Get(name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	do := finalizer.Add
	switch {
	case finalizer.Holds(class):
		do = finalizer.Remove
		if used, err := p.used(ctx, name); used || err != nil {
			return err
		}
	case !finalizer.Missing(class):
		return nil
	}
	class = class.DeepCopy()
	do(class)
	_, err = p.Client.StorageV1().VolumeAttributesClasses().Update(ctx, class, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

// used tells whether any volume or claim refers to the class.
func (p *Controller) used(ctx context.Context, class string) (bool, error) {
	volumes, err := p.volumes.List(labels.Everything())
	if err != nil {
		return false, err
	}
	claims, err := p.claims.List(labels.Everything())
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(volumes, func(v *corev1.PersistentVolume) bool { return refers(volumeUses(v), class) }) ||
		slices.ContainsFunc(claims, func(c *corev1.PersistentVolumeClaim) bool { return refers(claimUses(c), class) }) {
		return true, nil
	}
	// The caches may be behind that of classes; the API is asked last.
	core := p.Client.CoreV1()
	liveVolumes, err := core.PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	liveClaims, err := core.PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(liveVolumes.Items, func(v corev1.PersistentVolume) bool { return refers(volumeUses(&v), class) }) ||
		slices.ContainsFunc(liveClaims.Items, func(c corev1.PersistentVolumeClaim) bool { return refers(claimUses(&c), class) }), nil
}

func refers(n names, class string) bool { return slices.Contains(n[:], class) }
