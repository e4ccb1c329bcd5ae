package apiserver

import (
	"fmt"
	"net/http"
	"slices"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// subobject reads the body of a request that creates an object of a
// subresource's own kind.
func (q *request) subobject(kind schema.GroupVersionKind) (obj runtime.Object, o metav1.CreateOptions, err error) {
	if err := q.negotiate(plain); err != nil {
		return nil, o, err
	}
	if o, err = scheme.ParseCreateOptions(q.query); err != nil {
		return nil, o, err
	}
	v, err := scheme.ParseValidation(o.FieldValidation)
	if err != nil {
		return nil, o, err
	}
	mt, err := bodyType(q.r.Header)
	if err != nil {
		return nil, o, err
	}
	err = q.withBody(func(b []byte) error {
		var warnings []string
		obj, warnings, err = q.Table.Decode(b, mt, kind, v)
		q.warn(warnings)
		return err
	})
	return obj, o, err
}

// bind answers pods/NAME/binding: the scheduler's word on where a pod goes.
func (q *request) bind() error {
	obj, o, err := q.subobject(q.kind.row.Subresource("binding").Kind)
	if err != nil {
		return err
	}
	b := obj.(*corev1.Binding)
	if b.Name != q.name {
		return apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if err := q.assign(b, o); err != nil {
		return err
	}
	return q.object(http.StatusCreated, success(http.StatusCreated, nil))
}

// assign gives a pod its node.
func (q *request) assign(b *corev1.Binding, o metav1.CreateOptions) error {
	var errs field.ErrorList
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(field.NewPath("target", "kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(field.NewPath("target", "name"), ""))
	}
	if len(errs) > 0 {
		return errs.ToAggregate() // which upstream takes for a failure of its own
	}
	if q.name == "" {
		return apierrors.NewBadRequest("Name parameter required.")
	}
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	w.subresource, w.untracked = "binding", true
	refuse := func(format string, args ...any) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, w.name, fmt.Errorf(format, args...))
	}
	_, _, err = w.update(func(old *cache.Entry) (runtime.Object, error) {
		if old == nil {
			return nil, w.notFound()
		}
		was := old.Object.(*corev1.Pod)
		if err := w.expect(b.UID, b.ResourceVersion, was); err != nil {
			return nil, err
		}
		switch {
		case was.DeletionTimestamp != nil:
			return nil, refuse("pod %s is being deleted, cannot be assigned to a host", was.Name)
		case was.Spec.NodeName != "":
			return nil, refuse("pod %v is already assigned to node %q", was.Name, was.Spec.NodeName)
		case len(was.Spec.SchedulingGates) > 0:
			return nil, refuse("pod %v has non-empty .spec.schedulingGates", was.Name)
		}
		// Only what changes is copied: a scheduler binds thousands a second.
		pod := *was
		pod.Spec.NodeName = b.Target.Name
		pod.Annotations = merged(was.Annotations, b.Annotations)
		pod.Labels = merged(was.Labels, b.Labels)
		// Room is kept for it no longer: it is there.
		pod.Status.NominatedNodeName = ""
		pod.Status.Conditions = scheduled(was, q.now())
		return &pod, nil
	})
	q.warn(w.warnings)
	return err
}

// merged returns the map with what is added; neither is changed.
func merged(m, add map[string]string) map[string]string {
	if len(add) == 0 {
		return m
	}
	n := make(map[string]string, len(m)+len(add))
	for k, v := range m {
		n[k] = v
	}
	for k, v := range add {
		n[k] = v
	}
	return n
}

// scheduled returns the pod's conditions with PodScheduled true.
func scheduled(pod *corev1.Pod, now metav1.Time) []corev1.PodCondition {
	have := pod.Status.Conditions
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation, LastTransitionTime: now,
	}
	n := make([]corev1.PodCondition, 0, len(have)+1)
	found := false
	for _, h := range have {
		if h.Type == corev1.PodScheduled {
			if found = true; h.Status == corev1.ConditionTrue {
				c.LastTransitionTime = h.LastTransitionTime
			}
			h = c
		}
		n = append(n, h)
	}
	if !found {
		n = append(n, c)
	}
	return n
}

// maxDisrupted bounds a budget's list of pods whose eviction is not yet seen.
const maxDisrupted = 2000

// evict answers pods/NAME/eviction: a deletion that respects budgets.
func (q *request) evict() error {
	obj, co, err := q.subobject(q.kind.row.Subresource("eviction").Kind)
	if err != nil {
		return err
	}
	e := obj.(*policyv1.Eviction)
	if e.Name != q.name {
		return apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	o := e.DeleteOptions
	if o == nil {
		o = &metav1.DeleteOptions{}
	}
	if err := checkOptions(&co); err != nil {
		return err
	}
	w, err := q.write(append(co.DryRun, o.DryRun...), o)
	if err != nil {
		return err
	}
	w.subresource = ""
	cur, err := w.current()
	if err != nil {
		return err
	}
	if cur == nil {
		return w.notFound()
	}
	if err := checkDelete(o); err != nil {
		return err
	}
	if err := w.preconditions(o.Preconditions, cur); err != nil {
		return err
	}
	pod := cur.Object.(*corev1.Pod)
	if !unprotected(pod) {
		if err := q.disrupt(w, pod); err != nil {
			return err
		}
		// What was allowed was this pod, not one that takes its name.
		if o.Preconditions == nil {
			o.Preconditions = &metav1.Preconditions{UID: &pod.UID}
		}
	}
	told, err := w.evicted(o.Preconditions)
	if err != nil {
		return err
	}
	if p := o.Preconditions; p != nil && p.ResourceVersion != nil {
		p.ResourceVersion = &told
	}
	if _, _, err := w.delete(o); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return q.object(http.StatusCreated, success(http.StatusCreated, nil))
}

// evicted tells on the pod why it goes, before it does, and returns the version
// that does so.
func (w *write) evicted(p *metav1.Preconditions) (version string, err error) {
	status := *w
	status.subresource = "status"
	e, _, err := status.update(func(old *cache.Entry) (runtime.Object, error) {
		if old == nil {
			return nil, w.notFound()
		}
		if err := w.preconditions(p, old); err != nil {
			return nil, err
		}
		pod := old.Object.(*corev1.Pod).DeepCopy()
		now := corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI",
			Message: "Eviction API: evicting", LastTransitionTime: w.now(), ObservedGeneration: pod.Generation,
		}
		at := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == now.Type })
		if at < 0 {
			pod.Status.Conditions = append(pod.Status.Conditions, now)
		} else if was := &pod.Status.Conditions[at]; was.Status != now.Status {
			*was = now
		} else {
			was.Reason, was.Message = now.Reason, now.Message
		}
		return pod, nil
	})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return e.Meta().GetResourceVersion(), nil
}

// unprotected tells whether a pod's going disrupts nothing.
func unprotected(p *corev1.Pod) bool {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return true
	}
	return p.DeletionTimestamp != nil
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// disrupt charges the pod's going to its budget, or says why it may not go.
func (q *request) disrupt(w *write, pod *corev1.Pod) error {
	k := q.byName[schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}]
	if k == nil {
		return nil
	}
	var budget string
	several := false
	k.cache.Snapshot().Ascend(k.cache.Select(w.namespace, nil, nil), "", func(e *cache.Entry) bool {
		b := e.Object.(*policyv1.PodDisruptionBudget)
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || !sel.Matches(labels.Set(pod.Labels)) {
			return true
		}
		if budget != "" {
			several = true
			return false
		}
		budget = b.Name
		return true
	})
	if several {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
		}}
	}
	if budget == "" {
		return nil
	}
	charge := &write{
		Server: q.Server, ctx: q.ctx, kind: k, namespace: w.namespace, name: budget, subresource: "status",
		user: q.user, dryRun: w.dryRun, untracked: true,
	}
	_, _, err := charge.update(func(old *cache.Entry) (runtime.Object, error) {
		if old == nil {
			return nil, charge.notFound()
		}
		b := old.Object.(*policyv1.PodDisruptionBudget).DeepCopy()
		return b, q.charge(b, pod)
	})
	if apierrors.IsNotFound(err) {
		return nil // a budget that is gone protects nothing
	}
	return err
}

// charge takes one disruption off the budget.
func (q *request) charge(b *policyv1.PodDisruptionBudget, pod *corev1.Pod) error {
	const violates = "Cannot evict pod as it would violate the pod's disruption budget."
	refuse := func(retry int, format string, args ...any) error {
		err := apierrors.NewTooManyRequests(violates, retry)
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: policyv1.DisruptionBudgetCause, Message: fmt.Sprintf(format, args...),
		})
		return err
	}
	s := &b.Status
	if !podReady(pod) && pod.Status.Phase == corev1.PodRunning {
		always := b.Spec.UnhealthyPodEvictionPolicy != nil && *b.Spec.UnhealthyPodEvictionPolicy == policyv1.AlwaysAllow
		if always || s.CurrentHealthy >= s.DesiredHealthy && s.DesiredHealthy > 0 {
			return nil // nothing healthy is lost
		}
	}
	gr := schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}
	switch {
	case s.ObservedGeneration < b.Generation:
		return refuse(10, "The disruption budget %s is still being processed by the server.", b.Name)
	case s.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(gr, b.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(s.DisruptedPods) > maxDisrupted:
		return apierrors.NewForbidden(gr, b.Name, fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case s.DisruptionsAllowed == 0:
		return refuse(0, "The disruption budget %s needs %d healthy pods and has %d currently", b.Name, s.DesiredHealthy, s.CurrentHealthy)
	}
	s.DisruptionsAllowed--
	if s.DisruptedPods == nil {
		s.DisruptedPods = map[string]metav1.Time{}
	}
	s.DisruptedPods[pod.Name] = q.now()
	return nil
}
