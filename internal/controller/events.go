package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Events gives the recorder of a component, named as events name their source.
type Events func(component string) record.EventRecorder

// For returns the component's recorder, or one that drops all.
func (e Events) For(component string) record.EventRecorder {
	if e == nil {
		return dropped{}
	}
	return e(component)
}

// NewEvents records core/v1 Events through client until ctx ends. Similar
// events are counted rather than repeated, and floods are thinned out.
func NewEvents(ctx context.Context, client kubernetes.Interface) Events {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	context.AfterFunc(ctx, b.Shutdown)
	return func(component string) record.EventRecorder {
		return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component})
	}
}

type dropped struct{}

func (dropped) Event(runtime.Object, string, string, string)          {}
func (dropped) Eventf(runtime.Object, string, string, string, ...any) {}
func (dropped) AnnotatedEventf(runtime.Object, map[string]string, string, string, string, ...any) {
}
