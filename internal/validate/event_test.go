package validate

import (
	"slices"
	"testing"
	"time"

	"clipper/internal/cel"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the older form of an event has is refused by events.k8s.io alone.
func TestEventForms(t *testing.T) {
	table := scheme.New()
	rules := New(table, cel.NewCompiler())
	now := metav1.NewTime(time.Unix(1000, 0))
	newer := corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "a"}, InvolvedObject: corev1.ObjectReference{Namespace: "a"},
		EventTime: metav1.NewMicroTime(now.Time), ReportingController: "c/x", ReportingInstance: "i", Action: "A", Reason: "R", Type: "Normal",
	}
	older := corev1.Event{
		ObjectMeta: newer.ObjectMeta, InvolvedObject: newer.InvolvedObject, Reason: "R", Type: "Any",
		FirstTimestamp: now, LastTimestamp: now, Count: 1, Source: corev1.EventSource{Component: "c"},
	}
	for _, tt := range []struct {
		group string
		event corev1.Event
		wrong []string
	}{
		{"", newer, nil},
		{"", older, nil},
		{"events.k8s.io", newer, nil},
		{"events.k8s.io", older, []string{"count", "eventTime", "firstTimestamp", "lastTimestamp", "source", "type"}},
	} {
		errs, _ := rules.Create(table.ByPath(tt.group, "v1", "events"), &tt.event)
		var wrong []string
		for _, e := range errs {
			wrong = append(wrong, e.Field)
		}
		if slices.Sort(wrong); !slices.Equal(wrong, tt.wrong) {
			t.Errorf("%q: %v", tt.group, errs)
		}
	}
}
