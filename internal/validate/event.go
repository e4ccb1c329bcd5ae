package validate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var eventRules = &rules{ // never changed
	create: rule(event),
	update: same(event),
	name:   path.ValidatePathSegmentName,
}

// newEventRules are those of events.k8s.io: who writes an event there writes the
// newer form of it (KEP-383).
var newEventRules = &rules{ // never changed
	create: rule(newEvent),
	update: change(newEventUpdate),
}

// What the texts of an event may be long.
const (
	longestEventField = 128
	longestEventNote  = 1024
)

func event(e *problems, v *corev1.Event) {
	eventNamespace(e, v)
	eventForm(e, v, "reportingComponent")
}

// eventForm judges what both forms have; controller is what who reports is called in it.
func eventForm(e *problems, v *corev1.Event, controller string) {
	if v.EventTime.IsZero() {
		return // the older form, of which less is asked
	}
	e.given(nil, controller, v.ReportingController)
	e.check(nil, controller, v.ReportingController, validation.IsQualifiedName)
	short := func(name, value string) {
		if e.given(nil, name, value); len(value) > longestEventField {
			e.invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %v characters", longestEventField))
		}
	}
	short("reportingInstance", v.ReportingInstance)
	short("action", v.Action)
	short("reason", v.Reason)
	if len(v.Message) > longestEventNote {
		e.invalid(field.NewPath("message"), "", fmt.Sprintf("can have at most %v characters", longestEventNote))
	}
	if s := v.Series; s != nil {
		if s.Count < 2 {
			e.invalid(field.NewPath("series.count"), "", "should be at least 2")
		}
		if s.LastObservedTime.IsZero() {
			e.required(field.NewPath("series.lastObservedTime"), "")
		}
	}
}

// newEvent refuses what only the older form has, besides what both do.
func newEvent(e *problems, v *corev1.Event) {
	eventForm(e, v, "reportingController")
	if v.EventTime.IsZero() {
		e.required(field.NewPath("eventTime"), "")
	}
	if v.Type != corev1.EventTypeNormal && v.Type != corev1.EventTypeWarning {
		e.invalid(field.NewPath("type"), "", "has invalid value: "+v.Type)
	}
	for _, old := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !v.FirstTimestamp.IsZero()},
		{"lastTimestamp", !v.LastTimestamp.IsZero()},
		{"count", v.Count != 0},
		{"source", v.Source != corev1.EventSource{}},
	} {
		if old.set {
			e.invalid(field.NewPath(old.name), "", "needs to be unset")
		}
	}
}

// eventNamespace keeps an event beside what it is about.
func eventNamespace(e *problems, v *corev1.Event) {
	about := v.InvolvedObject.Namespace
	ok := about == v.Namespace
	if about == "" {
		ok = v.Namespace == metav1.NamespaceDefault || v.Namespace == "" ||
			!v.EventTime.IsZero() && v.Namespace == metav1.NamespaceSystem
	}
	if !ok {
		e.invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace")
	}
}

func newEventUpdate(e *problems, v, old *corev1.Event) {
	eventForm(e, v, "reportingController")
	e.immutable(nil, "involvedObject", v.InvolvedObject, v.InvolvedObject == old.InvolvedObject)
	e.immutable(nil, "reason", v.Reason, v.Reason == old.Reason)
	e.immutable(nil, "message", v.Message, v.Message == old.Message)
	e.immutable(nil, "type", v.Type, v.Type == old.Type)
	e.immutable(nil, "source", v.Source, v.Source == old.Source)
	e.immutable(nil, "firstTimestamp", v.FirstTimestamp, v.FirstTimestamp.Equal(&old.FirstTimestamp))
	e.immutable(nil, "lastTimestamp", v.LastTimestamp, v.LastTimestamp.Equal(&old.LastTimestamp))
	e.immutable(nil, "count", v.Count, v.Count == old.Count)
	e.immutable(nil, "eventTime", v.EventTime, v.EventTime.Time.Equal(old.EventTime.Time))
	e.immutable(nil, "action", v.Action, v.Action == old.Action)
	e.immutable(nil, "related", v.Related, sameSpec(v.Related, old.Related))
	e.immutable(nil, "reportingController", v.ReportingController, v.ReportingController == old.ReportingController)
	e.immutable(nil, "reportingInstance", v.ReportingInstance, v.ReportingInstance == old.ReportingInstance)
}
