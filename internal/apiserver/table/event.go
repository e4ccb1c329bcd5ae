package table

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var event = show(
	columns(
		text("Last Seen", "Time since it last happened."),
		text("Type", "Normal, or Warning."),
		text("Reason", "Why, in one word."),
		text("Object", "What it is about."),
		wide(text("Subobject", "Which part of the object.")),
		wide(text("Source", "Who reported it.")),
		text("Message", "What happened."),
		wide(text("First Seen", "Time since it first happened.")),
		wide(text("Count", "How often it happened.")),
		wide(name)),
	func(now time.Time, e *corev1.Event) []any {
		first := since(now, e.FirstTimestamp)
		if e.FirstTimestamp.IsZero() {
			first = sinceMicro(now, e.EventTime)
		}
		last := since(now, e.LastTimestamp)
		if e.LastTimestamp.IsZero() {
			last = first
		}
		count := e.Count
		if e.Series != nil {
			last, count = sinceMicro(now, e.Series.LastObservedTime), e.Series.Count
		} else if count == 0 {
			// A single event of events.k8s.io does not count itself.
			count = 1
		}
		object := e.InvolvedObject.Name
		if e.InvolvedObject.Kind != "" {
			object = strings.ToLower(e.InvolvedObject.Kind) + "/" + object
		}
		return []any{
			last, e.Type, e.Reason, object, e.InvolvedObject.FieldPath, eventSource(e),
			strings.TrimSpace(e.Message), first, int64(count), e.Name,
		}
	},
)

func eventSource(e *corev1.Event) string {
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if host == "" {
		host = e.ReportingInstance
	}
	if host == "" {
		return component
	}
	return component + ", " + host
}
