package admission

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

func classMeta(name, annotation string, age int64) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{annotation: "true"}, CreationTimestamp: metav1.NewTime(time.Unix(1000-age, 0)),
	}
}

func TestDefaultClasses(t *testing.T) {
	const is = "storageclass.kubernetes.io/is-default-class"
	w := newWorld(
		&storagev1.StorageClass{ObjectMeta: classMeta("old", is, 9)},
		&storagev1.StorageClass{ObjectMeta: classMeta("new-b", is, 1)},
		&storagev1.StorageClass{ObjectMeta: classMeta("new-a", is, 1)},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "none"}},
		&networkingv1.IngressClass{ObjectMeta: classMeta("web", networkingv1.AnnotationIsDefaultIngressClass, 1)},
	)
	claim := func(class *string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: class}}
	}
	for _, tt := range []struct{ given, want *string }{
		{nil, ptr.To("new-a")}, {ptr.To(""), ptr.To("")}, {ptr.To("none"), ptr.To("none")},
	} {
		c := claim(tt.given)
		a := &Attributes{Resource: table.ByPath("", "v1", "persistentvolumeclaims"), Operation: Create, Object: c}
		if err := (&DefaultStorageClass{w}).Admit(context.Background(), a); err != nil || *c.Spec.StorageClassName != *tt.want {
			t.Errorf("%v, %v", *c.Spec.StorageClassName, err)
		}
	}
	for annotation, want := range map[string]string{"": "web", "kubernetes.io/ingress.class": ""} {
		i := &networkingv1.Ingress{}
		if annotation != "" {
			i.Annotations = map[string]string{annotation: "x"}
		}
		a := &Attributes{Resource: table.ByPath("networking.k8s.io", "v1", "ingresses"), Operation: Create, Object: i}
		if err := (&DefaultIngressClass{w}).Admit(context.Background(), a); err != nil || ptr.Deref(i.Spec.IngressClassName, "") != want {
			t.Errorf("%q: %v, %v", annotation, i.Spec.IngressClassName, err)
		}
	}
}

func TestClaimResize(t *testing.T) {
	w := newWorld(
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "grows"}, AllowVolumeExpansion: ptr.To(true)},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}},
	)
	claim := func(class, size string, phase corev1.PersistentVolumeClaimPhase) runtime.Object {
		return &corev1.PersistentVolumeClaim{
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			}},
			Status: corev1.PersistentVolumeClaimStatus{Phase: phase},
		}
	}
	for _, tt := range []struct {
		class, size string
		phase       corev1.PersistentVolumeClaimPhase
		ok          bool
	}{
		{"grows", "2Gi", corev1.ClaimBound, true}, {"grows", "2Gi", corev1.ClaimPending, false},
		{"fixed", "2Gi", corev1.ClaimBound, false}, {"fixed", "1Gi", corev1.ClaimBound, true}, {"gone", "2Gi", corev1.ClaimBound, false},
	} {
		a := &Attributes{
			Resource: table.ByPath("", "v1", "persistentvolumeclaims"), Operation: Update,
			Object: claim(tt.class, tt.size, tt.phase), Old: claim(tt.class, "1Gi", tt.phase),
		}
		err := (&PersistentVolumeClaimResize{w}).Validate(context.Background(), a)
		if ok := err == nil; ok != tt.ok || !ok && !apierrors.IsForbidden(err) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
