package strategy

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestJobSelectsItsOwnPods(t *testing.T) {
	create := New()[schema.GroupResource{Group: "batch", Resource: "jobs"}].Create
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", UID: "u"}}
	create(j)
	sel, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if sel.String() != "batch.kubernetes.io/controller-uid=u" || !sel.Matches(labels.Set(j.Spec.Template.Labels)) {
		t.Errorf("selects %s of %v", sel, j.Spec.Template.Labels)
	}
	manual := true
	j = &batchv1.Job{Spec: batchv1.JobSpec{ManualSelector: &manual}}
	if create(j); j.Spec.Selector != nil || j.Spec.Template.Labels != nil {
		t.Error("a manual selector was changed")
	}
}
