package ownership

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"clipper/internal/scheme"
)

// ApplyScale merges a Scale that is applied to live, an object of the write's
// row, whose Scale is given. It returns the Scale that comes of it, and the
// entries of the object: whoever owns the Scale's replicas owns the object's.
func (t *Tracker) ApplyScale(w Write, live metav1.Object, scale *autoscalingv1.Scale, config []byte, force bool, v scheme.Validation) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, []string, error) {
	m, err := t.scales()
	if err != nil {
		return nil, nil, nil, apierrors.NewInternalError(err)
	}
	replicas := managedfields.ResourcePathMappings{}
	for _, row := range t.table.Resources() {
		if row.Stored == w.Resource.Stored {
			replicas[row.APIVersion()] = fieldpath.MakePathOrDie("spec", "replicas")
		}
	}
	handler := managedfields.NewScaleHandler(live.GetManagedFields(), w.Resource.GroupVersionKind().GroupVersion(), replicas)
	if scale.ManagedFields, err = handler.ToSubresource(); err != nil {
		return nil, nil, nil, apierrors.NewInternalError(err)
	}
	obj, warnings, err := t.apply(m, w, scale, config, force, v)
	if err != nil {
		return nil, nil, nil, err
	}
	merged := obj.(*autoscalingv1.Scale)
	entries, err := handler.ToParent(merged.ManagedFields)
	if err != nil {
		return nil, nil, nil, apierrors.NewInternalError(err)
	}
	for i := range entries {
		if entries[i].Time == nil { // the handler knows no time of a new one
			entries[i].Time = &w.Time
		}
	}
	merged.ManagedFields = nil
	return merged, entries, warnings, nil
}

var scaleKind = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// scales returns the manager of Scales, which are no row's.
func (t *Tracker) scales() (*managedfields.FieldManager, error) {
	if m, ok := t.managers.Load(path{nil, "scale"}); ok {
		return m.(*managedfields.FieldManager), nil
	}
	k := scaleOf{kindOf{table: t.table}}
	m, err := managedfields.NewDefaultFieldManager(converter{t}, k, k, k, scaleKind, scaleKind.GroupVersion(), "scale", nil)
	if err != nil {
		return nil, fmt.Errorf("field manager of %s: %w", scaleKind, err)
	}
	stored, _ := t.managers.LoadOrStore(path{nil, "scale"}, m)
	return stored.(*managedfields.FieldManager), nil
}

// scaleOf is kindOf for Scales, which have one version and no defaults.
type scaleOf struct{ kindOf }

func (scaleOf) Default(runtime.Object) {}

func (scaleOf) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return in, nil
	}
	s := &autoscalingv1.Scale{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s); err != nil {
		return nil, fmt.Errorf("Scale: %w", err)
	}
	return s, nil
}
