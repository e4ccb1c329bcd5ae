package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"clipper/internal/admission"
	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/store"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// deleteOptions reads the options of a deletion from the body, or else the query.
func (q *request) deleteOptions() (o metav1.DeleteOptions, err error) {
	stated := false
	if q.r.ContentLength != 0 && q.r.Body != nil {
		mt, merr := bodyType(q.r.Header)
		if merr != nil {
			return o, merr
		}
		err = q.withBody(func(b []byte) (err error) {
			if stated = len(b) > 0; stated {
				o, err = q.Table.DecodeDeleteOptions(b, mt)
			}
			return err
		})
		if err != nil {
			return o, err
		}
	} else {
		q.sized(0)
	}
	if !stated {
		if o, err = scheme.ParseDeleteOptions(q.query); err != nil {
			return o, err
		}
	}
	return o, checkDelete(&o)
}

// orphaned warns of what is left behind, if nobody said that it shall be.
func (q *request) orphaned(o *metav1.DeleteOptions) {
	if text := q.kind.strategy.Orphaned; text != "" && o.PropagationPolicy == nil {
		q.warn([]string{text})
	}
}

func (q *request) delete() error {
	if err := q.negotiate(shaped); err != nil {
		return err
	}
	o, err := q.deleteOptions()
	if err != nil {
		return err
	}
	w, err := q.write(o.DryRun, &o)
	if err != nil {
		return err
	}
	if lasting := q.kind.strategy.Lasting; lasting != nil {
		if why := lasting(q.name); why != "" {
			return apierrors.NewForbidden(q.kind.row.GroupResource(), q.name, errors.New(why))
		}
	}
	q.orphaned(&o)
	e, gone, err := w.delete(&o)
	q.warn(w.warnings)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if !gone && o.OrphanDependents != nil && !*o.OrphanDependents {
		code = http.StatusAccepted
	}
	if gone && !q.kind.strategy.ReturnDeleted {
		q.form.shape = whole
		return q.object(code, success(0, &metav1.StatusDetails{
			Name: q.name, Group: q.kind.row.Group, Kind: q.kind.row.Name, UID: e.Meta().GetUID(),
		}))
	}
	return q.entry(code, e)
}

// delete deletes the object, or begins to: gone tells which. The entry is its
// last, or new, state.
func (w *write) delete(o *metav1.DeleteOptions) (e *cache.Entry, gone bool, err error) {
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
		cur, err := w.current()
		if err != nil {
			return nil, false, err
		}
		if cur == nil {
			return nil, false, w.notFound()
		}
		if err := w.preconditions(o.Preconditions, cur); err != nil {
			return nil, false, err
		}
		e, gone, err = w.tryDelete(o, cur)
		if !errors.Is(err, store.ErrConflict) {
			return e, gone, err
		}
		if e, err := w.current(); err == nil && e != nil && e.Revision == cur.Revision {
			return nil, false, conflict(w.kind.row.GroupResource(), w.name)
		}
	}
}

func (w *write) preconditions(p *metav1.Preconditions, cur *cache.Entry) error {
	if p == nil {
		return nil
	}
	m := cur.Meta()
	if w.kind.strategy.Held != nil {
		// Such a deletion begins as an update, and says what updates say.
		if err := unmet(ptr.Deref(p.UID, ""), ptr.Deref(p.ResourceVersion, ""), m); err != nil {
			return apierrors.NewConflict(w.kind.row.GroupResource(), w.name, err)
		}
		return nil
	}
	// Upstream names the kind here, where others name the resource.
	kind := schema.GroupResource{Group: w.kind.row.Stored.Group, Resource: w.kind.row.Kind}
	if p.UID != nil && *p.UID != m.GetUID() {
		return apierrors.NewConflict(kind, w.name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, m.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != m.GetResourceVersion() {
		return apierrors.NewConflict(kind, w.name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, m.GetResourceVersion()))
	}
	return nil
}

func (w *write) tryDelete(o *metav1.DeleteOptions, cur *cache.Entry) (e *cache.Entry, gone bool, err error) {
	a := &admission.Attributes{
		Resource: w.kind.row, Namespace: w.namespace, Name: w.name, Operation: admission.Delete,
		Old: cur.Object, User: w.user, DryRun: w.dryRun, Options: o,
	}
	defer func() { a.Finish(err) }()
	if w.Admission != nil {
		if err := w.Admission.Admit(w.ctx, a); err != nil {
			return nil, false, err
		}
		if err := w.Admission.Validate(w.ctx, a); err != nil {
			return nil, false, err
		}
		w.warn(a.Warnings()...)
	}
	next, gone, err := w.fate(o, cur)
	if err != nil {
		return nil, false, err
	}
	switch {
	case gone && w.dryRun:
		return cur, true, nil
	case gone:
		e, err = w.remove(next, cur.Revision)
		return e, true, err
	case next == nil:
		return cur, false, nil
	case w.dryRun:
		return cache.NewEntry(cur.Key, next, cur.Revision), false, nil
	}
	e, err = w.put(next, cur.Revision)
	return e, false, err
}

// fate says what a deletion makes of an object: gone, with its last state; or
// marked, with its new state; or as it is (nil). One that could have been given
// time to end is marked when it goes at once, too: its watchers see how it went.
func (w *write) fate(o *metav1.DeleteOptions, cur *cache.Entry) (next runtime.Object, gone bool, err error) {
	s, was := w.kind.strategy, cur.Meta()
	deleting := was.GetDeletionTimestamp() != nil
	held := s.Held != nil && s.Held(cur.Object)
	if deleting && held {
		return nil, false, nil // by what it contains, and that is on its way
	}
	finalizers := w.propagation(o, was.GetFinalizers())
	held = held || len(finalizers) > 0
	var grace int64
	if s.Grace != nil {
		grace = s.Grace(cur.Object, o.GracePeriodSeconds)
	}
	gone = !held && grace == 0
	if gone && s.Grace == nil {
		return cur.Object.DeepCopyObject(), true, nil
	}
	now := w.now()
	begun, left := now, grace
	if deleting {
		// A deletion that is under way can only be made to end sooner.
		begun = *was.GetDeletionTimestamp()
		if g := was.GetDeletionGracePeriodSeconds(); g != nil {
			if o.GracePeriodSeconds == nil && s.Grace != nil && grace > 0 || grace >= *g {
				left = *g
			}
			begun = metav1.NewTime(begun.Add(-time.Duration(*g) * time.Second))
			if !gone && left == *g && slices.Equal(finalizers, was.GetFinalizers()) {
				return nil, false, nil
			}
		} else if !gone && slices.Equal(finalizers, was.GetFinalizers()) {
			return nil, false, nil
		}
	}
	obj := cur.Object.DeepCopyObject()
	m := obj.(metav1.Object)
	ends := metav1.NewTime(begun.Add(time.Duration(left) * time.Second))
	m.SetDeletionTimestamp(&ends)
	m.SetDeletionGracePeriodSeconds(&left)
	m.SetFinalizers(finalizers)
	if !deleting {
		if m.GetGeneration() > 0 {
			m.SetGeneration(m.GetGeneration() + 1)
		}
		if s.Deleting != nil {
			s.Deleting(obj)
		}
	}
	return obj, gone, nil
}

// propagation returns the finalizers with those that the policy for the
// object's dependents asks for.
func (w *write) propagation(o *metav1.DeleteOptions, have []string) []string {
	orphan := slices.Contains(have, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(have, metav1.FinalizerDeleteDependents)
	older := o.OrphanDependents
	switch {
	case older != nil:
		orphan, foreground = *older, false
	case o.PropagationPolicy != nil:
		orphan = *o.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *o.PropagationPolicy == metav1.DeletePropagationForeground
	case !orphan && !foreground:
		orphan = w.kind.strategy.OrphanDependents
	}
	want := slices.DeleteFunc(slices.Clone(have), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents && !orphan || f == metav1.FinalizerDeleteDependents && !foreground
	})
	if orphan && !slices.Contains(want, metav1.FinalizerOrphanDependents) {
		want = append(want, metav1.FinalizerOrphanDependents)
	}
	if foreground && !slices.Contains(want, metav1.FinalizerDeleteDependents) {
		want = append(want, metav1.FinalizerDeleteDependents)
	}
	return want
}

// deletions is how many objects of a collection are deleted side by side.
const deletions = 16

func (q *request) deleteCollection() error {
	if err := q.negotiate(shaped); err != nil {
		return err
	}
	lo, err := scheme.ParseListOptions(q.query)
	if err != nil {
		return err
	}
	o, err := q.deleteOptions()
	if err != nil {
		return err
	}
	p, err := q.find(&lo)
	if err != nil {
		return err
	}
	q.orphaned(&o)
	var g errgroup.Group
	g.SetLimit(deletions)
	done := make([]*cache.Entry, len(p.entries))
	for i, e := range p.entries {
		w, err := q.write(o.DryRun, &o)
		if err != nil {
			return err
		}
		w.namespace, w.name = e.Meta().GetNamespace(), e.Meta().GetName()
		g.Go(func() error {
			e, _, err := w.delete(&o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			done[i] = e
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.entries = slices.DeleteFunc(done, func(e *cache.Entry) bool { return e == nil })
	return q.page(p)
}
