package scheme

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

func eventsRows() []*Resource {
	return []*Resource{
		row[eventsv1.Event, eventsv1.EventList](Resource{
			Group: "events.k8s.io", Version: "v1",
			Kind: "Event", Name: "events", Singular: "event", ShortNames: []string{"ev"},
			Namespaced: true, Verbs: everyVerb, Prefix: "events", Lazy: true,
			// Replaced by the core row of the same table.
			Stored:   &Resource{Version: "v1", Name: "events"},
			ToStored: eventToStored, FromStored: eventFromStored,
			Fields: func(o runtime.Object) fields.Fields { return regarding{selectable(eventField)(o)} },
			FieldNames: []string{
				"regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid",
				"regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath",
				"reason", "reportingController", "type",
			},
		}),
	}
}

// regarding answers events.k8s.io's names of fields from those of core.
type regarding struct{ core fields.Fields }

func (f regarding) name(n string) string {
	if rest, ok := strings.CutPrefix(n, "regarding."); ok {
		return "involvedObject." + rest
	}
	if n == "reportingController" {
		return "reportingComponent"
	}
	return n
}

func (f regarding) Has(n string) bool   { return f.core.Has(f.name(n)) }
func (f regarding) Get(n string) string { return f.core.Get(f.name(n)) }

// eventToStored turns an events.k8s.io/v1 Event into core's, which share their
// storage.
func eventToStored(o runtime.Object) (runtime.Object, error) {
	e, ok := o.(*eventsv1.Event)
	if !ok {
		return nil, fmt.Errorf("not an events.k8s.io/v1 Event: %T", o)
	}
	out := &corev1.Event{
		ObjectMeta:          e.ObjectMeta,
		InvolvedObject:      e.Regarding,
		Reason:              e.Reason,
		Message:             e.Note,
		Source:              e.DeprecatedSource,
		FirstTimestamp:      e.DeprecatedFirstTimestamp,
		LastTimestamp:       e.DeprecatedLastTimestamp,
		Count:               e.DeprecatedCount,
		Type:                e.Type,
		EventTime:           e.EventTime,
		Action:              e.Action,
		Related:             e.Related,
		ReportingController: e.ReportingController,
		ReportingInstance:   e.ReportingInstance,
	}
	if e.Series != nil {
		out.Series = &corev1.EventSeries{Count: e.Series.Count, LastObservedTime: e.Series.LastObservedTime}
	}
	setType(out, "v1", "Event")
	return out, nil
}

// eventFromStored is the inverse of eventToStored.
func eventFromStored(o runtime.Object) (runtime.Object, error) {
	e, ok := o.(*corev1.Event)
	if !ok {
		return nil, fmt.Errorf("not a core/v1 Event: %T", o)
	}
	out := &eventsv1.Event{
		ObjectMeta:               e.ObjectMeta,
		EventTime:                e.EventTime,
		ReportingController:      e.ReportingController,
		ReportingInstance:        e.ReportingInstance,
		Action:                   e.Action,
		Reason:                   e.Reason,
		Regarding:                e.InvolvedObject,
		Related:                  e.Related,
		Note:                     e.Message,
		Type:                     e.Type,
		DeprecatedSource:         e.Source,
		DeprecatedFirstTimestamp: e.FirstTimestamp,
		DeprecatedLastTimestamp:  e.LastTimestamp,
		DeprecatedCount:          e.Count,
	}
	if e.Series != nil {
		out.Series = &eventsv1.EventSeries{Count: e.Series.Count, LastObservedTime: e.Series.LastObservedTime}
	}
	setType(out, "events.k8s.io/v1", "Event")
	return out, nil
}
