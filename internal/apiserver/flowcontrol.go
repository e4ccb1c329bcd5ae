package apiserver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"clipper/internal/apiserver/cache"
	"clipper/internal/apiserver/fairness"

	"golang.org/x/sync/errgroup"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// flowcontrol keeps the dispatcher of requests as FlowSchemas and
// PriorityLevelConfigurations say, puts back those of them that must exist, and
// states in each FlowSchema whether its level exists. It sleeps until one
// changes.
func (s *Server) flowcontrol(ctx context.Context) {
	flows := s.byName[schema.GroupResource{Group: flowcontrolv1.GroupName, Resource: "flowschemas"}]
	levels := s.byName[schema.GroupResource{Group: flowcontrolv1.GroupName, Resource: "prioritylevelconfigurations"}]
	if flows == nil || levels == nil {
		return // the defaults are in force
	}
	report := func(err error) {
		if err != nil && ctx.Err() == nil {
			s.Logger.Error("priority and fairness cannot be kept as it should be", "err", err)
		}
	}
	report(s.ensureFlowcontrol(ctx, func(string) bool { return true }))
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for _, k := range []*kind{flows, levels} {
		wg.Go(func() {
			s.follow(ctx, k, nil, func() {
				mu.Lock()
				defer mu.Unlock()
				report(s.ensureFlowcontrol(ctx, fairness.Mandatory))
				report(s.configure(ctx, flows, levels))
			})
		})
	}
	wg.Wait()
}

// ensureFlowcontrol creates the default objects whose names are wanted, and
// corrects those that are left to the server.
func (s *Server) ensureFlowcontrol(ctx context.Context, wanted func(name string) bool) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, f := range fairness.DefaultSchemas() {
		if wanted(f.Name) {
			g.Go(func() error {
				return s.ensure(gctx, "flowschemas", flowcontrolv1.GroupName, f, keepSpec(func(o runtime.Object) any { return o.(*flowcontrolv1.FlowSchema).Spec }))
			})
		}
	}
	for _, l := range fairness.DefaultLevels() {
		if wanted(l.Name) {
			g.Go(func() error {
				return s.ensure(gctx, "prioritylevelconfigurations", flowcontrolv1.GroupName, l, keepSpec(func(o runtime.Object) any { return o.(*flowcontrolv1.PriorityLevelConfiguration).Spec }))
			})
		}
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("create the default objects: %w", err)
	}
	return nil
}

// keepSpec tells whether an object may stay as it is: nobody has changed its
// spec, or somebody has who has also said that it is not the server's.
func keepSpec(spec func(runtime.Object) any) func(want, have runtime.Object) bool {
	return func(want, have runtime.Object) bool {
		return have.(metav1.Object).GetAnnotations()[fairness.AutoUpdate] != "true" || equality.Semantic.DeepEqual(spec(want), spec(have))
	}
}

// configure puts the objects as they are now in force.
func (s *Server) configure(ctx context.Context, flows, levels *kind) error {
	fs, ls := objectsOf[*flowcontrolv1.FlowSchema](flows), objectsOf[*flowcontrolv1.PriorityLevelConfiguration](levels)
	s.fairness.Apply(fs, ls)
	for _, f := range fs {
		exists := slices.ContainsFunc(ls, func(l *flowcontrolv1.PriorityLevelConfiguration) bool {
			return l.Name == f.Spec.PriorityLevelConfiguration.Name
		})
		if err := s.dangling(ctx, flows, f, exists); err != nil {
			return fmt.Errorf("status of FlowSchema %s: %w", f.Name, err)
		}
	}
	return nil
}

func objectsOf[T runtime.Object](k *kind) (out []T) {
	k.cache.Snapshot().Ascend(k.cache.Select("", nil, nil), "", func(e *cache.Entry) bool {
		out = append(out, e.Object.(T))
		return true
	})
	return out
}

// dangling states whether the level of a FlowSchema exists.
func (s *Server) dangling(ctx context.Context, k *kind, f *flowcontrolv1.FlowSchema, exists bool) error {
	c := flowcontrolv1.FlowSchemaCondition{
		Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionFalse, Reason: "Found",
		Message: fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", f.Spec.PriorityLevelConfiguration.Name),
	}
	if !exists {
		c.Status, c.Reason = flowcontrolv1.ConditionTrue, "NotFound"
		c.Message = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q but there is no such object", f.Spec.PriorityLevelConfiguration.Name)
	}
	same := func(o flowcontrolv1.FlowSchemaCondition) bool {
		return o.Type == c.Type && o.Status == c.Status && o.Reason == c.Reason && o.Message == c.Message
	}
	if slices.ContainsFunc(f.Status.Conditions, same) {
		return nil
	}
	w := &write{Server: s, ctx: ctx, kind: k, name: f.Name, subresource: "status", user: self, manager: "api-priority-and-fairness-config-consumer-v1"}
	_, _, err := w.update(func(old *cache.Entry) (runtime.Object, error) {
		if old == nil {
			return nil, w.notFound()
		}
		out := old.Object.DeepCopyObject().(*flowcontrolv1.FlowSchema)
		c.LastTransitionTime = metav1.NewTime(s.Clock.Now().Truncate(time.Second))
		out.Status.Conditions = append(slices.DeleteFunc(out.Status.Conditions, func(o flowcontrolv1.FlowSchemaCondition) bool { return o.Type == c.Type }), c)
		return out, nil
	})
	if apierrors.IsNotFound(err) {
		return nil // deleted since
	}
	return err
}
