package admission

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestStorageInUse(t *testing.T) {
	for _, tt := range []struct {
		group, resource, subresource string
		operation                    Operation
		object                       runtime.Object
		have, want                   []string
	}{
		{"", "persistentvolumes", "", Create, &corev1.PersistentVolume{}, nil, []string{"kubernetes.io/pv-protection"}},
		{"", "persistentvolumeclaims", "", Create, &corev1.PersistentVolumeClaim{}, []string{"x/y"}, []string{"x/y", "kubernetes.io/pvc-protection"}},
		{"storage.k8s.io", "volumeattributesclasses", "", Create, &storagev1.VolumeAttributesClass{}, nil, []string{"kubernetes.io/vac-protection"}},
		{"", "persistentvolumes", "", Create, &corev1.PersistentVolume{}, []string{"kubernetes.io/pv-protection", "x/y"}, []string{"kubernetes.io/pv-protection", "x/y"}},
		{"", "persistentvolumes", "", Update, &corev1.PersistentVolume{}, nil, nil},
		{"", "persistentvolumes", "status", Update, &corev1.PersistentVolume{}, nil, nil},
		{"storage.k8s.io", "storageclasses", "", Create, &storagev1.StorageClass{}, nil, nil},
	} {
		o := tt.object.(metav1.Object)
		o.SetFinalizers(tt.have)
		a := &Attributes{Resource: table.ByPath(tt.group, "v1", tt.resource), Subresource: tt.subresource, Operation: tt.operation, Object: tt.object}
		if err := (StorageObjectInUseProtection{}).Admit(t.Context(), a); err != nil || !slices.Equal(o.GetFinalizers(), tt.want) {
			t.Errorf("%s %s %s: %v, %v", tt.operation, tt.resource, tt.subresource, o.GetFinalizers(), err)
		}
	}
}
