package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"clipper/internal/admission"
	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/scheme/ownership"
	"clipper/internal/store"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
)

// write is one write on its way from a decoded object to the store. Objects in
// it are of the stored version.
type write struct {
	*Server
	ctx             context.Context
	kind            *kind
	namespace, name string
	subresource     string
	user            user.Info
	dryRun          bool
	options         runtime.Object
	// manager is who is said to own the fields that the write changes; applied
	// tells that an apply has said so already, untracked that nobody is to.
	manager            string
	applied, untracked bool
	// patched tells that what is written was made of what there is.
	patched bool
	// generated tells that the name of a new object is made up by the server.
	generated bool
	warnings  []string
}

func (w *write) warn(texts ...string) { w.warnings = append(w.warnings, texts...) }

func (w *write) key() string { return cache.Key(w.namespace, w.name) }

func (w *write) notFound() error {
	return apierrors.NewNotFound(w.kind.row.GroupResource(), w.name)
}

// admit asks the plugins about an object that is created but not stored, as a
// token is.
func (w *write) admit(obj runtime.Object) (err error) {
	if w.Admission == nil {
		return nil
	}
	a := &admission.Attributes{
		Resource: w.kind.row, Subresource: w.subresource, Namespace: w.namespace, Name: w.name,
		Operation: admission.Create, Object: obj, User: w.user, DryRun: w.dryRun, Options: w.options,
	}
	defer func() { a.Finish(err) }()
	if err := w.Admission.Admit(w.ctx, a); err != nil {
		return err
	}
	if err := w.Admission.Validate(w.ctx, a); err != nil {
		return err
	}
	w.warn(a.Warnings()...)
	return nil
}

// gate is what stands between a complete object and the store: admission,
// preparation, what must be taken, validation.
func (w *write) gate(op admission.Operation, obj, old runtime.Object) (_ func(error), err error) {
	a := &admission.Attributes{
		Resource: w.kind.row, Subresource: w.subresource, Namespace: w.namespace, Name: w.name,
		Operation: op, Object: obj, Old: old, User: w.user, DryRun: w.dryRun, Options: w.options,
	}
	finish := a.Finish
	defer func() {
		if err != nil {
			finish(err)
		}
	}()
	m := obj.(metav1.Object)
	if w.Admission != nil {
		// A name is made up only after plugins have changed the object.
		name := m.GetName()
		if w.generated {
			a.Name = ""
			m.SetName("")
		}
		if err := w.Admission.Admit(w.ctx, a); err != nil {
			return nil, err
		}
		if w.generated {
			a.Name = name
			m.SetName(name)
		}
	}
	// Whose the fields are is no strategy's to say.
	entries := m.GetManagedFields()
	w.prepare(obj, old)
	m.SetManagedFields(entries)
	if w.kind.begin != nil && (w.subresource == "" || old == nil) {
		done, err := w.kind.begin(obj, old, w.dryRun)
		if err != nil {
			return nil, err
		}
		finish = func(err error) { done(err); a.Finish(err) }
	}
	if err := w.validate(obj, old); err != nil {
		return nil, err
	}
	if w.Admission != nil {
		if err := w.Admission.Validate(w.ctx, a); err != nil {
			return nil, err
		}
	}
	w.warn(a.Warnings()...)
	if f := w.kind.strategy.Judged; f != nil {
		f(obj)
	}
	w.kind.row.Stored.Settle(obj)
	return finish, nil
}

func (w *write) prepare(obj, old runtime.Object) {
	s := w.kind.strategy
	switch {
	case old == nil:
		if s.Create != nil {
			s.Create(obj)
		}
	case w.subresource == "" || w.subresource == "scale":
		if s.Update != nil {
			s.Update(obj, old)
		}
	default:
		if f := s.Sub[w.subresource]; f != nil {
			f(obj, old)
		}
	}
	if w.kind.stamp != nil {
		w.kind.stamp(obj, old, w.user, w.now())
	}
}

func (w *write) validate(obj, old runtime.Object) error {
	row := w.kind.row
	var (
		errs, more field.ErrorList
		warnings   []string
	)
	if w.kind.allowed != nil && (old == nil || w.subresource == "status") {
		errs = w.kind.allowed(obj, old, w.cache.Object(schema.GroupResource{Resource: "namespaces"}, "", obj.(metav1.Object).GetNamespace()))
	}
	switch {
	case w.Validator == nil:
	case old == nil:
		more, warnings = w.Validator.Create(row, obj)
	case w.subresource == "" || w.subresource == "scale":
		more, warnings = w.Validator.Update(row, obj, old)
	default:
		more, warnings = w.Validator.UpdateSubresource(row, w.subresource, obj, old)
	}
	errs = append(errs, more...)
	if len(errs) == 0 && old == nil { // no kind's rules let pass what could not be part of a path
		errs = apivalidation.ValidateObjectMetaAccessor(obj.(metav1.Object), row.Namespaced, path.ValidatePathSegmentName, field.NewPath("metadata"))
	}
	if len(errs) == 0 {
		w.warn(warnings...) // of what is refused nobody is warned
		return nil
	}
	return apierrors.NewInvalid(row.Stored.GroupVersionKind().GroupKind(), obj.(metav1.Object).GetName(), errs)
}

// create stores a new object, which it takes over.
func (w *write) create(obj runtime.Object) (*cache.Entry, error) {
	m := obj.(metav1.Object)
	if err := w.begin(m); err != nil {
		return nil, err
	}
	if err := w.track(obj, nil); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		w.generated = m.GetName() == "" && m.GetGenerateName() != ""
		if w.generated {
			m.SetName(w.generate(m.GetGenerateName()))
		}
		e, err := w.tryCreate(obj)
		if !w.generated || !apierrors.IsAlreadyExists(err) {
			return e, err
		}
		if tries == 7 {
			return nil, apierrors.NewGenerateNameConflict(w.kind.row.GroupResource(), m.GetName(), 1)
		}
		// The object was prepared in place, which is the same the next time.
		m.SetName("")
		m.SetResourceVersion("")
	}
}

// begin gives a new object what only the server may.
func (w *write) begin(m metav1.Object) error {
	if err := place(w.kind.row, m, w.namespace); err != nil {
		return err
	}
	if v := m.GetResourceVersion(); v != "" && v != "0" && !w.dryRun {
		return errors.New("resourceVersion should not be set on objects to be created")
	}
	m.SetResourceVersion("")
	m.SetUID(w.uid())
	m.SetCreationTimestamp(w.now())
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetSelfLink("")
	return nil
}

func (w *write) tryCreate(obj runtime.Object) (*cache.Entry, error) {
	m := obj.(metav1.Object)
	w.name = m.GetName()
	finish, err := w.gate(admission.Create, obj, nil)
	if err != nil {
		return nil, err
	}
	w.name = m.GetName() // some kinds' strategies name what nobody named
	if w.dryRun {
		finish(admission.ErrDryRun)
		if w.kind.cache.Get(w.key()) != nil {
			return nil, w.alreadyExists()
		}
		return cache.NewEntry(w.key(), obj, 0), nil
	}
	e, err := w.put(obj, 0)
	if errors.Is(err, store.ErrConflict) {
		err = w.alreadyExists()
	}
	finish(err)
	return e, err
}

func (w *write) alreadyExists() error {
	err := apierrors.NewAlreadyExists(w.kind.row.GroupResource(), w.name)
	if e := w.kind.cache.Get(w.key()); e != nil && e.Meta().GetDeletionTimestamp() != nil {
		err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
	}
	return err
}

// put stores an object whose key is at the expected revision (0: not there).
// The object is shared from here on.
func (w *write) put(obj runtime.Object, expect int64) (*cache.Entry, error) {
	value, err := scheme.EncodeStored(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return w.putValue(obj, value, expect)
}

func (w *write) putValue(obj runtime.Object, value []byte, expect int64) (*cache.Entry, error) {
	row := w.kind.row.Stored
	var ttl time.Duration
	if w.kind.strategy.TTL != nil {
		ttl = w.kind.strategy.TTL(obj)
	}
	rev, err := w.apply(store.Write{
		Key: row.Key(w.namespace, w.name), Value: value, Expect: expect,
		Object: obj.(store.Versioned), Lazy: row.Lazy, TTL: ttl,
	})
	if err != nil {
		return nil, err
	}
	// The cache has it already, unless the store is slow to tell.
	if e := w.kind.cache.Get(w.key()); e != nil && e.Revision == rev {
		return e, nil
	}
	return cache.NewEntry(w.key(), obj, rev), nil
}

// apply makes the write. A client that leaves does not call it off: what the
// write has taken (addresses, quota) must know its fate.
func (w *write) apply(sw store.Write) (int64, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.kind.put(context.WithoutCancel(w.ctx), w.Server, sw)
}

// put asks the store for a write.
func (k *kind) put(ctx context.Context, s *Server, sw store.Write) (int64, error) {
	began := s.Clock.Now()
	revision, err := s.Store.Apply(ctx, sw)
	k.cache.Requests.Count(sw.Operation(), s.Clock.Since(began), err)
	return revision, err
}

// remove deletes an object at the expected revision. last, which is nobody
// else's, becomes the last word on it.
func (w *write) remove(last runtime.Object, expect int64) (*cache.Entry, error) {
	row := w.kind.row.Stored
	rev, err := w.apply(store.Write{
		Key: row.Key(w.namespace, w.name), Expect: expect, Object: last.(store.Versioned), Lazy: row.Lazy,
	})
	if err != nil {
		return nil, err
	}
	if w.kind.release != nil {
		w.kind.release(last)
	}
	return cache.NewEntry(w.key(), last, rev), nil
}

// current returns the newest state, or nil.
func (w *write) current() (*cache.Entry, error) {
	if err := w.cache.WaitFresh(w.ctx); err != nil {
		return nil, err
	}
	return w.kind.cache.Get(w.key()), nil
}

// update changes an object. change returns the new state, which is taken over;
// it is called again, with the newest state, when another write came between
// and the new state does not insist on a revision. old is nil if the object
// does not exist, which change may accept.
func (w *write) update(change func(old *cache.Entry) (runtime.Object, error)) (e *cache.Entry, created bool, err error) {
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
		old, err := w.current()
		if err != nil {
			return nil, false, err
		}
		obj, err := change(old)
		if err != nil {
			return nil, false, err
		}
		if old == nil {
			e, err := w.create(obj)
			if apierrors.IsAlreadyExists(err) {
				continue // it appeared in between
			}
			return e, true, err
		}
		m := obj.(metav1.Object)
		if !w.patched { // a patch's identity is refused by validation
			if err := w.expect(m.GetUID(), "", old.Meta()); err != nil {
				return nil, false, err
			}
		}
		if v := m.GetResourceVersion(); v == "" || v == "0" { // whatever it is now
			if w.kind.strategy.Conditional {
				return nil, false, apierrors.NewInvalid(schema.GroupKind{Group: w.kind.row.Group, Kind: w.kind.row.Name}, w.name, field.ErrorList{
					field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update"),
				})
			}
		} else if v != old.Meta().GetResourceVersion() {
			n, err := strconv.ParseUint(v, 10, 63)
			if err != nil {
				return nil, false, err
			}
			// Another server may have told the client more than this one knows.
			if n := int64(n); n > w.cache.Revision() && w.cache.WaitFor(w.ctx, n) == nil {
				continue
			}
			return nil, false, conflict(w.kind.row.GroupResource(), w.name)
		}
		e, err = w.tryUpdate(obj, old)
		if !errors.Is(err, store.ErrConflict) {
			return e, false, err
		}
		// Another write came between; the next look at the cache shows it.
		if e, err := w.current(); err == nil && e != nil && e.Revision == old.Revision {
			return nil, false, conflict(w.kind.row.GroupResource(), w.name)
		}
	}
}

// expect refuses what is written over another object than the one expected, as
// upstream's store words it.
func (w *write) expect(uid types.UID, version string, was metav1.Object) error {
	err := unmet(uid, version, was)
	if err == nil {
		return nil
	}
	key := w.kind.row.Key(w.namespace, w.name)
	if w.dryRun {
		key = strings.TrimPrefix(key, "/registry")
	}
	return apierrors.NewConflict(w.kind.row.GroupResource(), w.name, fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: %w", key, err))
}

func (w *write) tryUpdate(obj runtime.Object, old *cache.Entry) (*cache.Entry, error) {
	m, was := obj.(metav1.Object), old.Meta()
	if m.GetUID() == "" {
		m.SetUID(was.GetUID())
	}
	keepMeta(m, was)
	if err := w.track(obj, old.Object); err != nil {
		return nil, err
	}
	finish, err := w.gate(admission.Update, obj, old.Object)
	if err != nil {
		return nil, err
	}
	e, err := w.storeUpdate(obj, old)
	finish(err)
	if errors.Is(err, admission.ErrDryRun) {
		err = nil
	}
	return e, err
}

// keepMeta restores what no update changes.
func keepMeta(m, was metav1.Object) {
	m.SetGeneration(was.GetGeneration())
	m.SetResourceVersion(was.GetResourceVersion())
	m.SetCreationTimestamp(was.GetCreationTimestamp())
	// A deletion is neither begun nor called off by an update; what tries to
	// change it is told so by validation.
	if m.GetDeletionTimestamp() == nil {
		m.SetDeletionTimestamp(was.GetDeletionTimestamp())
	}
	if m.GetDeletionGracePeriodSeconds() == nil {
		m.SetDeletionGracePeriodSeconds(was.GetDeletionGracePeriodSeconds())
	}
}

func (w *write) storeUpdate(obj runtime.Object, old *cache.Entry) (*cache.Entry, error) {
	m := obj.(metav1.Object)
	if w.releases(obj) {
		if w.dryRun {
			return cache.NewEntry(w.key(), obj, old.Revision), admission.ErrDryRun
		}
		return w.remove(obj, old.Revision)
	}
	if w.dryRun {
		m.SetResourceVersion(old.Meta().GetResourceVersion())
		return cache.NewEntry(w.key(), obj, old.Revision), admission.ErrDryRun
	}
	value, err := scheme.EncodeStored(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	// A write that changes nothing is none. (The hash is keyed by chance, so
	// nobody can make two values that share it.) A TTL still starts anew.
	if len(value) == old.Size && cache.Sum(value) == old.Sum && w.kind.strategy.TTL == nil {
		return old, nil
	}
	if same, err := w.reverted(obj, old, len(value)); same || err != nil {
		return old, err
	}
	return w.putValue(obj, value, old.Revision)
}

// reverted tells whether admission or the strategy took back all that a write
// changed, so that only the time of its manager is new.
func (w *write) reverted(obj runtime.Object, old *cache.Entry, size int) (bool, error) {
	m, was := obj.(metav1.Object), old.Meta()
	if size != old.Size || w.kind.strategy.TTL != nil {
		return false, nil
	}
	now, before := m.GetManagedFields(), was.GetManagedFields()
	if !ownership.SameButTime(now, before) {
		return false, nil
	}
	m.SetManagedFields(before)
	defer m.SetManagedFields(now)
	value, err := scheme.EncodeStored(obj)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	return cache.Sum(value) == old.Sum, nil
}

// releases tells whether an update of an object that is being deleted took
// away the last that held it.
func (w *write) releases(obj runtime.Object) bool {
	m := obj.(metav1.Object)
	if m.GetDeletionTimestamp() == nil || len(m.GetFinalizers()) > 0 {
		return false
	}
	if g := m.GetDeletionGracePeriodSeconds(); g != nil && *g > 0 {
		return false
	}
	return w.kind.strategy.Held == nil || !w.kind.strategy.Held(obj)
}

// track states in an object who owns what the write changed of old, which is
// nil for a new object. What admission and strategy change afterwards is nobody's.
func (w *write) track(obj, old runtime.Object) error {
	w.warn(onlyOnce(obj.(metav1.Object), w.patched)...)
	if w.applied || w.untracked {
		return nil
	}
	err := w.ownership.Update(ownership.Write{
		Resource: w.kind.row, Subresource: w.subresource, Manager: w.manager, Time: w.now(),
	}, old, obj)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return nil
}

// now is a timestamp as the API writes them: whole seconds of UTC.
func (s *Server) now() metav1.Time {
	return metav1.NewTime(s.Clock.Now().UTC().Truncate(time.Second))
}

const hexDigits = "0123456789abcdef"

// uid returns a random UUID, version 4.
func (s *Server) uid() types.UID {
	a, b := s.Rand.Uint64(), s.Rand.Uint64()
	a = a&^(0xf<<12) | 4<<12
	b = b&^(3<<62) | 2<<62
	var t [36]byte
	n := 0
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			t[n] = '-'
			n++
		}
		v := a
		if i >= 16 {
			v = b
		}
		t[n] = hexDigits[v>>(60-4*(i%16))&0xf]
		n++
	}
	return types.UID(t[:])
}

// Generated names: a base and five letters that make no words.
const (
	nameLetters = "bcdfghjklmnpqrstvwxz2456789"
	nameSuffix  = 5
	nameMost    = 63
)

func (s *Server) generate(base string) string {
	if len(base) > nameMost-nameSuffix {
		base = base[:nameMost-nameSuffix]
	}
	b := make([]byte, 0, nameMost)
	b = append(b, base...)
	for range nameSuffix {
		b = append(b, nameLetters[s.Rand.Uint64()%uint64(len(nameLetters))])
	}
	return string(b)
}
